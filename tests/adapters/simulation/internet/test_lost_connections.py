"""A connection that one side has lost, without the other hearing of it, is not in the way of the next one."""

import asyncio
from random import Random

import pytest

from adapters.simulation.internet.reproducible import reproducible_transport
from domain.connectivity.close_codes import CloseCode
from node import Node
from tests.adapters.simulation.internet.whole_nodes import LOSSY, PUBLIC, Situation
from tests.node.reconnecting import until_joined

OTHER = "other"
ROUNDS = 12
WAIT_S = 60.0
CUT_S = 0.4
"""Longer than who closes a connection answers what still comes for it, which would tell the other side."""


@pytest.mark.parametrize("lasted_s", [0.0, 0.3, 0.6, 2.5])
@pytest.mark.parametrize("turn", range(3))
async def test_what_was_soon_lost_is_had_again_by_the_next_try(
    lasted_s: float, turn: int, seed: int
) -> None:
    """Lost once and again, by one side or both, when tries have failed before."""
    await lose_again_and_again(seed, turn, lasted_s)


@pytest.mark.parametrize(("seed", "turn"), [(859879735, 0), (4051565700, 2)])
async def test_a_dial_that_the_peer_has_lost_is_not_waited_for(seed: int, turn: int) -> None:
    """The other side served it for a moment; another connection came meanwhile, and is lost, too."""
    await lose_again_and_again(seed, turn, 0.3)


@pytest.mark.parametrize(("seed", "turn"), [(696355746, 0), (1212779432, 1)])
async def test_who_is_told_during_the_hello_that_another_connection_stays_dials_again(
    seed: int, turn: int
) -> None:
    """It has lost that one, and the other's hello was lost on the way: it has been let in all the same."""
    await lose_again_and_again(seed, turn, 0.0)


async def lose_again_and_again(seed: int, turn: int, lasted_s: float) -> None:
    random = Random(f"{seed} {turn}")
    loop = asyncio.get_running_loop()
    situation = Situation(random.getrandbits(32), LOSSY)
    situation.internet.public_host(OTHER, "198.51.100.2", options=LOSSY)
    with reproducible_transport(seed, loop.time):
        async with situation.group(PUBLIC, OTHER) as group:
            one, other = group.nodes
            await until_joined(one, other, WAIT_S)
            for _ in range(ROUNDS):
                situation.internet.partition([OTHER])
                planned_at = [
                    await lose(node, peer)
                    for node, peer in ((one, other), (other, one))
                    if random.random() < 0.6
                ]
                await asyncio.sleep(CUT_S)
                situation.internet.heal()
                now = loop.time()
                took_s = await until_joined(one, other, WAIT_S)
                # Of the flights of one handshake several may be lost, each for twice as long as the one before.
                assert took_s <= max([now, *planned_at]) - now + 3.0
                await asyncio.sleep(lasted_s)


async def lose(node: Node, peer: Node) -> float:
    """Let a node lose its connection, what it says at that being lost, too, and say when it dials again."""
    for link in node.peers.links():  # or none, while another takes its place
        link.connection.close(CloseCode.TIMED_OUT, "lost")
    await asyncio.sleep(0.01)
    return node.peers.next_dial(peer.peer_id) or 0.0
