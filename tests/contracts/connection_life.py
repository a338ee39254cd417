"""The part of the contract of `NetworkInterface` that is about life cycles, and about what connections count."""

import asyncio
from abc import ABC, abstractmethod

import pytest

from domain.connectivity.lifecycle import ATTEMPT, Lifecycle, State, Step
from domain.errors import AuthenticationError, DialError
from tests.contracts.connected_peers import (
    SHUTTING_DOWN,
    NetworkFactory,
    connect,
    connected,
    device,
    round_trips,
    running,
)


class ConnectionLife(ABC):
    """How every network takes the steps of the life cycle."""

    @pytest.fixture
    @abstractmethod
    def open_network(self) -> NetworkFactory:
        """How to make an interface."""

    async def test_both_ends_have_gone_through_every_phase(
        self, open_network: NetworkFactory
    ) -> None:
        async with connected(open_network) as (dialled, accepted):
            for connection, phases in ((dialled, ATTEMPT), (accepted, ATTEMPT[2:])):
                assert connection.lifecycle.state is State.ENCRYPTED
                steps = [change.new for change in connection.lifecycle.take_changes()]
                assert steps == list(phases)
                took_s = connection.lifecycle.phases_s()
                assert list(took_s) == list(phases[:-1])
                assert all(each >= 0 for each in took_s.values())

    async def test_a_life_cycle_that_is_given_becomes_that_of_the_connection(
        self, open_network: NetworkFactory
    ) -> None:
        alice, bob = open_network(device(1)), open_network(device(2))
        async with running(alice, bob):
            lifecycle = Lifecycle(now=0.0)
            accepted, dialled = await asyncio.gather(
                bob.accept(), alice.dial(device(2).peer, bob.addresses, lifecycle)
            )
            assert dialled.lifecycle is lifecycle
            assert accepted.lifecycle is not lifecycle

    async def test_a_close_ends_both_lives_and_they_can_begin_again(
        self, open_network: NetworkFactory
    ) -> None:
        alice, bob = open_network(device(1)), open_network(device(2))
        async with running(alice, bob):
            dialled, accepted = await connect(alice, bob, device(2))
            for connection in (dialled, accepted):
                connection.lifecycle.take(Step.ACTIVATE, now=connection.lifecycle.since)
                connection.lifecycle.take_changes()
            dialled.close(SHUTTING_DOWN, "enough")
            await accepted.wait_closed()
            closed = [change.new for change in dialled.lifecycle.take_changes()]
            ended = [change.new for change in accepted.lifecycle.take_changes()]
            assert (closed, ended) == ([State.CLOSING, State.CLOSED], [State.CLOSED])
            lifecycle = dialled.lifecycle
            lifecycle.take(Step.WAIT, now=lifecycle.since)
            accepting = asyncio.create_task(bob.accept())
            again = await alice.dial(device(2).peer, bob.addresses, lifecycle)
            await round_trips(again, await accepting)
            assert (again.lifecycle, lifecycle.state) == (lifecycle, State.ENCRYPTED)
            assert list(lifecycle.phases_s()) == list(ATTEMPT[:-1])

    async def test_a_dial_that_fails_can_be_tried_again(self, open_network: NetworkFactory) -> None:
        alice, bob = open_network(device(1)), open_network(device(2))
        async with running(alice, bob):
            lifecycle = Lifecycle(now=0.0)
            for peer, addresses, error in (
                (device(3).peer, bob.addresses, AuthenticationError),
                (device(2).peer, (), DialError),
            ):
                with pytest.raises(error):
                    await alice.dial(peer, addresses, lifecycle)
                assert lifecycle.state in (*ATTEMPT, State.CLOSED)
                lifecycle.take(Step.WAIT, now=lifecycle.since)
            accepting = asyncio.create_task(bob.accept())
            dialled = await alice.dial(device(2).peer, bob.addresses, lifecycle)
            assert dialled.lifecycle is lifecycle
            await round_trips(dialled, await accepting)

    async def test_messages_are_counted_on_both_ends(self, open_network: NetworkFactory) -> None:
        async with connected(open_network) as (dialled, accepted):
            await round_trips(dialled, accepted, 5)
            for connection in (dialled, accepted):
                statistics = connection.statistics()
                assert (statistics.messages_sent, statistics.messages_received) == (5, 5)
