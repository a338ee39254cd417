"""Two attempts to reach one peer at once, in virtual time: neither gets into the way of the other."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial

import pytest

from domain.connectivity.close_codes import CloseCode
from domain.connectivity.lifecycle import Lifecycle
from domain.identifiers import PeerId
from domain.limits import BACK_OFF_S_MAX, DIAL_S_MAX
from domain.ports.network import Connection
from node.simulation import NodeNetwork
from tests.node.reconnecting import pass_turns, until_joined

HOUR_S = 3_600.0
TRY_S_MAX = DIAL_S_MAX + 0.1
TURNS = 20  # of the event loop; to connect without any delay takes fewer


@pytest.fixture
def network(seed: int) -> NodeNetwork:
    return NodeNetwork(seed, virtual_s_max=HOUR_S)


@pytest.mark.parametrize("is_wanted_first", [True, False])
def test_a_dial_and_a_connect_do_not_share_an_attempt_in_whichever_turn_they_meet(
    network: NodeNetwork, is_wanted_first: bool
) -> None:
    """Seeds 112 and 263 of the simulation: a join came after a dial was started, before that had its first turn."""

    async def scenario(turns: int) -> None:
        async with network.node("alice") as alice, network.node("bob") as bob:
            network.set_link("alice", "bob", delay_s=0.0, jitter_s=0.0)
            if is_wanted_first:
                bob.peers.want(alice.peer_id, alice.addresses)
                await pass_turns(turns)
                await bob.peers.connect(alice.peer_id, alice.addresses)
            else:
                async with asyncio.TaskGroup() as group:
                    group.create_task(bob.peers.connect(alice.peer_id, alice.addresses))
                    await pass_turns(turns)
                    bob.peers.want(alice.peer_id, alice.addresses)
            await asyncio.sleep(1)
            await until_joined(alice, bob, 5)

    for turns in range(TURNS):
        network.run(partial(scenario, turns))


def test_a_dial_that_fails_leaves_the_attempt_of_a_connect_alone(network: NodeNetwork) -> None:
    async def scenario(turns: int) -> None:
        async with AsyncExitStack() as stack:
            alice, bob, carol = [
                await stack.enter_async_context(network.node(name))
                for name in ("alice", "bob", "carol")
            ]
            network.set_link("alice", "bob", delay_s=0.5)  # carol refuses long before
            bob.peers.want(alice.peer_id, carol.addresses)
            await pass_turns(turns)
            await bob.peers.connect(alice.peer_id, alice.addresses)
            await until_joined(alice, bob, 5)

    for turns in range(TURNS):
        network.run(partial(scenario, turns))


def test_a_link_that_ends_before_the_dial_that_it_cancelled_has_is_made_again(
    network: NodeNetwork,
) -> None:
    async def scenario(lingers_s: float) -> None:
        async with AsyncExitStack() as stack:
            nodes = [
                await stack.enter_async_context(network.node(name)) for name in ("alice", "bob")
            ]
            low, high = sorted(nodes, key=lambda node: node.peer_id)  # the dial of `high` gives way
            dial = high.peers._network.dial

            async def dial_and_linger(
                peer: PeerId, addresses: Sequence[str], lifecycle: Lifecycle | None = None
            ) -> Connection:
                try:
                    return await dial(peer, addresses, lifecycle)
                finally:
                    await asyncio.sleep(lingers_s)  # what a relay is given back in, for instance

            high.peers._network.dial = dial_and_linger  # type: ignore[method-assign]
            high.peers.want(low.peer_id, ("nowhere:1",))
            await asyncio.sleep(0.1)
            await low.peers.connect(high.peer_id, high.addresses)
            while not high.peers.links():  # noqa: ASYNC110 - looking is free in virtual time
                await asyncio.sleep(0.001)
            for link in high.peers.links():
                link.connection.close(CloseCode.INTERNAL_ERROR, "a test")
            await asyncio.sleep(1)
            await until_joined(low, high, BACK_OFF_S_MAX + TRY_S_MAX)

    for lingers_s in (0.0, 0.5, 3.0):
        network.run(partial(scenario, lingers_s))
