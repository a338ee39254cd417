"""Who closes, leaves or is removed: what it wrote last comes to the others, who then look for it no longer."""

import asyncio

import pytest

from domain.connectivity.lifecycle import State
from domain.errors import NodeClosedError, UnsavedEditsError
from domain.events import NetworkErrorMet
from domain.limits import FAILED_RETRY_S, HAND_OVER_S_MAX
from node.simulation import NodeNetwork
from tests.node.reconnecting import (
    Recorder,
    are_joined,
    state,
    two,
    until_joined,
    words,
    write,
)

HOUR_S = 3_600.0


@pytest.fixture
def network(seed: int) -> NodeNetwork:
    return NodeNetwork(seed, virtual_s_max=86_400.0)


@pytest.mark.parametrize("leaves", [False, True])
def test_what_is_written_right_before_the_end_reaches_who_is_connected(
    network: NodeNetwork, leaves: bool
) -> None:
    async def scenario() -> None:
        async with two(network) as (_, bob, document, copy):
            write(copy, "last")
            if leaves:
                await copy.leave()
            loop = asyncio.get_running_loop()
            began = loop.time()
            await network._now.find("bob").stop()
            assert loop.time() - began < HAND_OVER_S_MAX + 0.5
            assert "last" in words(document)
            assert (bob.peer_id in document.members()) is not leaves

    network.run(scenario)


def test_who_stops_while_nobody_answers_does_not_wait_for_long(network: NodeNetwork) -> None:
    async def scenario() -> None:
        async with two(network) as (_, _, document, copy):
            network.partition("alice", "bob")
            write(copy, "unheard")
            loop = asyncio.get_running_loop()
            began = loop.time()
            await network._now.find("bob").stop()
            assert loop.time() - began < HAND_OVER_S_MAX + 0.5
            network.heal()
            await network.restart("bob")
            await document.wait_until(lambda: "unheard" in words(document))

    network.run(scenario)


def test_a_disk_that_hangs_keeps_no_document_open_for_ever(network: NodeNetwork) -> None:
    async def scenario() -> None:
        async with two(network) as (_, _, _, copy):
            network._now.find("bob").machine.disk.write_s = (HOUR_S, HOUR_S)
            write(copy, "unsaved")
            waiting = asyncio.create_task(copy.wait_until(lambda: False))
            with pytest.raises(UnsavedEditsError):
                await network._now.find("bob").stop()
            with pytest.raises(NodeClosedError):
                await waiting
            with pytest.raises(NodeClosedError):
                write(copy, "late")

    network.run(scenario)


def test_an_edit_that_is_on_disk_is_not_called_unsaved_though_nobody_took_it(
    network: NodeNetwork,
) -> None:
    async def scenario() -> None:
        async with two(network) as (_, _, document, copy):
            network.partition("alice", "bob")
            network._now.find("bob").machine.disk.write_s = (3.7, 3.7)
            write(copy, "slow")
            await network._now.find("bob").stop()
            network._now.find("bob").machine.disk.write_s = (0.001, 0.001)
            network.heal()
            await network.restart("bob")
            await document.wait_until(lambda: "slow" in words(document))

    network.run(scenario)


def test_who_has_left_is_looked_for_no_more(network: NodeNetwork) -> None:
    async def scenario() -> None:
        async with two(network) as (alice, bob, document, copy):
            bob_id = bob.peer_id
            await copy.leave()
            await document.wait_until(lambda: bob_id not in document.members())
            await network.crash("bob")
            recorder = Recorder(alice)
            await asyncio.sleep(HOUR_S)
            assert len(recorder.of(NetworkErrorMet)) <= 1
            assert state(alice, bob) is State.DISCONNECTED
            assert bob_id not in alice.peers.known

    network.run(scenario)


def test_nothing_is_kept_of_who_was_removed_while_being_dialled(network: NodeNetwork) -> None:
    async def scenario() -> None:
        async with two(network) as (alice, bob, document, _):
            network.partition("alice", "bob")
            known = alice.peers.known
            while known[bob.peer_id].dial is None:  # noqa: ASYNC110 - looking is free in virtual time
                await asyncio.sleep(0.1)
            await document.remove(bob.peer_id)
            assert known[bob.peer_id].dial is not None
            await asyncio.sleep(HOUR_S)
            assert bob.peer_id not in known

    network.run(scenario)


def test_who_was_removed_meanwhile_learns_of_it_and_is_looked_for_by_nobody(
    network: NodeNetwork,
) -> None:
    async def scenario() -> None:
        async with two(network) as (alice, bob, document, copy):
            network.partition("alice", "bob")
            await document.remove(bob.peer_id)
            await asyncio.sleep(HOUR_S)
            network.heal()
            async with asyncio.timeout(FAILED_RETRY_S + 60):
                await copy.wait_until(lambda: copy.role is None)
            await asyncio.sleep(HOUR_S)
            assert alice.peers.next_dial(bob.peer_id) is None

    network.run(scenario)


def test_who_leaves_while_nobody_is_there_tells_it_later(network: NodeNetwork) -> None:
    async def scenario() -> None:
        async with two(network) as (_, bob, document, copy):
            network.partition("alice", "bob")
            await asyncio.sleep(60)
            write(copy, "before")
            await copy.leave()
            await asyncio.sleep(60)
            network.heal()
            async with asyncio.timeout(60):
                await document.wait_until(lambda: bob.peer_id not in document.members())
            assert "before" in words(document)

    network.run(scenario)


def test_who_is_let_in_again_is_looked_for_again(network: NodeNetwork) -> None:
    async def scenario() -> None:
        async with two(network) as (alice, bob, document, copy):
            await document.remove(bob.peer_id)
            await copy.wait_until(lambda: copy.role is None)
            await asyncio.sleep(HOUR_S)
            await bob.join(await document.invite())
            await asyncio.sleep(HOUR_S)
            assert are_joined(alice, bob)
            network.partition("alice", "bob")
            await asyncio.sleep(HOUR_S)
            network.heal()
            await until_joined(alice, bob, FAILED_RETRY_S + 60)
            write(document, "again")
            await copy.wait_until(lambda: "again" in words(copy))

    network.run(scenario)
