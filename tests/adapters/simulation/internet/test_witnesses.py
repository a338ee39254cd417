"""Members tell each other as what they see each other, so that no STUN server is needed where a third is in between."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace

import pytest

from adapters.quic.network import QuicNetwork
from adapters.simulation.internet.internet import PacketEvent, PacketFate
from adapters.simulation.internet.machine import NODE_PORT
from adapters.simulation.internet.nat import PORT_RESTRICTED
from adapters.simulation.internet.reproducible import reproducible_transport
from domain.connectivity.address import Address
from domain.connectivity.candidate import CandidateKind
from domain.connectivity.probe import ProbeKey
from domain.limits import HOST_PROBES_BURST, HOST_PROBES_PER_S, WITNESSED_MAX
from node import Document, Node, NodeConfig
from tests.adapters.simulation.internet.nat_lab import LEFT, LISTEN, RIGHT, STUN, NatLab
from tests.node.reconnecting import until_joined

ALONE = NodeConfig(listen=LISTEN)
THIRD = "198.51.100.77"
MET_S_MAX = 20.0  # who has just joined may not be found by the first offer


@pytest.fixture(autouse=True)
async def _reproducible(seed: int) -> AsyncIterator[None]:
    with reproducible_transport(seed, asyncio.get_running_loop().time):
        yield


def two_houses(seed: int, *hubs: str) -> NatLab:
    lab = NatLab(seed)
    lab.house(LEFT, 1, PORT_RESTRICTED)
    lab.house(RIGHT, 2, PORT_RESTRICTED)
    for number, name in enumerate(hubs):
        lab.internet.public_host(name, f"198.51.100.{60 + number}")
    return lab


class Liars:
    """Nodes that answer every probe with addresses of somebody else.

    Args:
        monkeypatch: Undoes it after the test.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._networks: dict[QuicNetwork, int] = {}
        self._told = 0
        pong = ProbeKey.pong

        def lie(key: ProbeKey, nonce: bytes, observed: Address) -> bytes:
            return pong(key, nonce, self._say_of(key) or observed)

        monkeypatch.setattr(ProbeKey, "pong", lie)

    def add(self, node: Node) -> None:
        """Let a node lie from now on."""
        network = node.environment.network
        assert isinstance(network, QuicNetwork)
        self._networks[network] = len(self._networks)

    def _say_of(self, key: ProbeKey) -> Address | None:
        for network, number in self._networks.items():
            prober = network.endpoint.paths._by_key.get(key.key_id)
            entry = prober.table._keys.get(key.key_id) if prober is not None else None
            if entry is not None and entry.key is key:
                self._told += 1
                return Address(THIRD, 1_000 + 100 * number + self._told % 100)
        return None


class Toll:
    """What each host sends to a third party that has nothing to do with any of it."""

    def __init__(self, lab: NatLab) -> None:
        self.packets = Counter[str]()
        lab.internet.public_host("third", THIRD)
        lab.internet.report = self._count

    def _count(self, event: PacketEvent) -> None:
        if event.packet.destination[0] == THIRD and event.fate is PacketFate.SENT:
            self.packets[event.packet.source[0]] += 1


async def join(node: Node, document: Document) -> Document:
    joined = await node.join(await document.invite())
    await joined.synced()
    return joined


def is_direct(one: Node, other: Node) -> bool:
    traversal = one.environment.traversal
    assert traversal is not None
    return traversal.is_relayed(other.peer_id) is False


@asynccontextmanager
async def hubs(lab: NatLab, *names: str) -> AsyncIterator[list[Node]]:
    """Run nodes in public that are told of no server, and are none."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(lab.node(each, ALONE)) for each in names]


async def test_two_behind_boxes_meet_by_what_a_member_in_public_sees(seed: int) -> None:
    """Nobody is told of any server, and both boxes let in nobody unasked."""
    lab = two_houses(seed, "hub")
    async with hubs(lab, "hub") as (hub,), lab.node(LEFT, ALONE) as left:
        shared = await hub.create("shared")
        await join(left, shared)
        async with lab.node(RIGHT, ALONE) as right:
            await join(right, shared)
            await until_joined(left, right, MET_S_MAX)
            assert is_direct(left, right)


async def test_they_meet_again_after_a_start(seed: int) -> None:
    lab = two_houses(seed, "hub")
    async with hubs(lab, "hub") as (hub,):
        shared = await hub.create("shared")
        for name in (LEFT, RIGHT, LEFT):
            async with lab.node(name, ALONE) as node:
                if hub.peer_id not in node.peers.known:
                    await join(node, shared)
                await asyncio.sleep(30.0)
        async with lab.node(LEFT, ALONE) as left, lab.node(RIGHT, ALONE) as right:
            await until_joined(left, right, MET_S_MAX)
            assert is_direct(left, right)


async def test_members_that_lie_keep_nobody_apart_and_flood_nobody(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More liars than there are places, all of one mind, against one who tells the truth."""
    liars = Liars(monkeypatch)
    names = [f"liar {each}" for each in range(2 * WITNESSED_MAX)]
    lab = two_houses(seed, "hub", *names)
    toll = Toll(lab)
    async with hubs(lab, *names) as lying, hubs(lab, "hub") as (hub,):
        for node in lying:
            liars.add(node)
        shared = await lying[0].create("shared")
        for node in (*lying[1:], hub):
            await join(node, shared)
        async with lab.node(LEFT, ALONE) as left:
            await join(left, shared)
            await asyncio.sleep(10.0)  # all others have been met
            async with lab.node(RIGHT, ALONE) as right:
                await join(right, shared)
                await until_joined(left, right, 60.0)
                assert is_direct(left, right)
                await asyncio.sleep(60.0)
    limit = HOST_PROBES_BURST + HOST_PROBES_PER_S * lab.loop.time()
    assert 0 < max(toll.packets.values()) <= limit


async def test_what_a_stun_server_says_is_offered_whatever_members_say(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    liars = Liars(monkeypatch)
    lab = two_houses(seed, "liar")
    await lab.stun.start()
    async with hubs(lab, "liar") as (liar,):
        liars.add(liar)
        shared = await liar.create("shared")
        config = NodeConfig(listen=LISTEN, stun=(STUN,))
        async with lab.node(LEFT, config) as left, lab.node(RIGHT, config) as right:
            await join(left, shared)
            await join(right, shared)
            await until_joined(left, right, MET_S_MAX)
            assert is_direct(left, right)
    lab.stun.close()


async def test_no_invite_leads_where_a_member_says_that_we_are(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A joiner dials there, which is more than a probe."""
    liars = Liars(monkeypatch)
    lab = two_houses(seed, "liar")
    async with hubs(lab, "liar") as (liar,), lab.node(LEFT, ALONE) as left:
        liars.add(liar)
        await join(left, await liar.create("shared"))
        await asyncio.sleep(10.0)
        assert not [each for each in await left._find_addresses() if THIRD in each]


async def test_servers_that_lie_get_no_more_places_and_not_that_of_an_honest_one(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever invites us names servers, too."""
    liars = Liars(monkeypatch)
    names = [f"liar {each}" for each in range(WITNESSED_MAX + 1)]
    lab = two_houses(seed, "honest", *names)
    serving = NodeConfig(listen=LISTEN, is_rendezvous=True)
    async with AsyncExitStack() as stack:
        via = []
        for number, name in enumerate(("honest", *names)):
            server = await stack.enter_async_context(lab.node(name, serving))
            via.append(f"{server.peer_id}@198.51.100.{60 + number}:{NODE_PORT}")
            if name != "honest":
                liars.add(server)
        left = await stack.enter_async_context(lab.node(LEFT, replace(ALONE, via=tuple(via))))
        await asyncio.sleep(10.0)
        traversal = left.environment.traversal
        assert traversal is not None
        told = [
            [
                each.address.host
                for each in await traversal.candidates(with_relay=False, is_fresh=False)
                if each.kind is CandidateKind.SERVER_REFLEXIVE
            ]
            for _ in range(len(via))
        ]
        assert all(len(each) == WITNESSED_MAX for each in told)
        assert any("203.0.113.1" in each for each in told)
