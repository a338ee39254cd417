"""STUN servers are asked whatever happens: where their names are not found at first, or many want to know at once."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from adapters.nat.stun import REQUESTS_MAX
from adapters.simulation.internet.line import LAN
from adapters.simulation.internet.nat import PORT_RESTRICTED
from adapters.simulation.internet.reproducible import reproducible_transport
from adapters.simulation.internet.stun_server import StunServer
from domain.connectivity.candidate import CandidateKind
from node import Node, NodeConfig
from tests.adapters.simulation.internet.nat_lab import LEFT, LISTEN, STUN, NatLab

NAMED = NodeConfig(listen=LISTEN, stun=("late",))
AT, SOON_S = "198.51.100.12", 30.0


@pytest.fixture(autouse=True)
async def _reproducible(seed: int) -> AsyncIterator[None]:
    with reproducible_transport(seed, asyncio.get_running_loop().time):
        yield


async def seen_outside(node: Node, *, is_fresh: bool = False) -> set[str]:
    traversal = node.environment.traversal
    assert traversal is not None
    listed = await traversal.candidates(with_relay=False, is_fresh=is_fresh)
    return {each.address.host for each in listed if each.kind is CandidateKind.SERVER_REFLEXIVE}


async def test_a_name_that_was_not_found_at_the_start_is_looked_up_again(seed: int) -> None:
    """As where a node starts before the network is there."""
    lab = NatLab(seed)
    lab.house(LEFT, 1, PORT_RESTRICTED)
    async with lab.node(LEFT, NAMED) as node:
        await asyncio.sleep(SOON_S)
        assert not await seen_outside(node)
        server = StunServer(lab.internet.public_host("late", AT), AT)
        await server.start()
        await asyncio.sleep(SOON_S)
        assert await seen_outside(node) == {"203.0.113.1"}
        server.close()


async def test_where_a_name_led_before_is_asked_while_it_cannot_be_looked_up(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in the first seconds in another network."""
    lab = NatLab(seed)
    lab.house(LEFT, 1, PORT_RESTRICTED)
    _, elsewhere = lab.internet.router("another box", "203.0.113.9", nat=PORT_RESTRICTED)
    server = StunServer(lab.internet.public_host("late", AT), AT)
    await server.start()
    async with lab.node(LEFT, NAMED) as node:
        await asyncio.sleep(SOON_S)
        assert await seen_outside(node) == {"203.0.113.1"}

        def fail(host: str, *, family: int) -> list[str]:
            raise OSError(f"{host} cannot be looked up ({family})")

        monkeypatch.setattr(lab.loop.sockets, "resolve", fail)
        host = lab.internet.host(LEFT)
        host.detach(host.interfaces[0])
        host.attach(elsewhere, "10.9.0.2", options=LAN)
        await asyncio.sleep(SOON_S)
        assert await seen_outside(node) == {"203.0.113.9"}
        answered = server.answered
        await asyncio.sleep(3 * SOON_S)
        assert server.answered > answered
    server.close()


async def test_many_offers_at_once_all_say_where_the_node_is_outside(seed: int) -> None:
    """As after an outage, when many peers are looked for for the second time."""
    lab = NatLab(seed)
    lab.house(LEFT, 1, PORT_RESTRICTED)
    await lab.stun.start()
    async with lab.node(LEFT, NodeConfig(listen=LISTEN, stun=(STUN,))) as node:
        await asyncio.sleep(SOON_S)
        answered = lab.stun.answered
        found = await asyncio.gather(
            *(seen_outside(node, is_fresh=True) for _ in range(2 * REQUESTS_MAX))
        )
        assert all(each == {"203.0.113.1"} for each in found)
        assert lab.stun.answered - answered < 10
    lab.stun.close()
