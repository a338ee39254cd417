"""Members in one local network find each other with no server, and liars there do no harm."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from adapters.simulation.discovery import SimulatedDiscovery, SimulatedLan
from adapters.simulation.internet.internet import PacketEvent
from adapters.simulation.internet.line import LAN
from adapters.simulation.internet.nat import PORT_RESTRICTED
from adapters.simulation.internet.reproducible import reproducible_transport
from domain.events import NetworkErrorMet, SecurityEvent
from domain.limits import PEER_ADDRESSES_MAX
from node import Document, Node, NodeConfig
from node.wiring.simulated import simulated_quic_adapters
from tests.adapters.simulation.internet.datagrams import until
from tests.adapters.simulation.internet.nat_lab import LEFT, RIGHT, NatLab

FOUND_S_MAX = 10.0
MINUTE_S = 60.0
VICTIM = "198.51.100.66"


@pytest.fixture(autouse=True)
async def _reproducible(seed: int) -> AsyncIterator[None]:
    with reproducible_transport(seed, asyncio.get_running_loop().time):
        yield


class House:
    """Two machines in one local network, with no server anywhere.

    Args:
        seed: What chance follows.
    """

    def __init__(self, seed: int) -> None:
        self.lab = NatLab(seed)
        _, inside = self.lab.internet.router("box", "203.0.113.1", nat=PORT_RESTRICTED)
        for number, name in ((2, LEFT), (3, RIGHT)):
            self.lab.internet.host(name).attach(inside, f"10.1.0.{number}", options=LAN)
        self.lan = SimulatedLan(self.lab.loop, seed)

    @asynccontextmanager
    async def node(self, name: str, port: int, *, announces: bool = True) -> AsyncIterator[Node]:
        """Run the node of a machine."""
        machine = self.lab.world.machine(name)
        config = NodeConfig(listen=f"[::]:{port}")
        async with simulated_quic_adapters(machine, config) as environment:
            discovery = SimulatedDiscovery(self.lan, environment.network.addresses)
            neighbor = replace(environment, discovery=discovery, announces=announces)
            async with Node.run(neighbor) as node:
                yield node

    async def share(self) -> str:
        """Let both become members of a document, and stop; returns its id."""
        async with self.node(LEFT, 1_001) as left, self.node(RIGHT, 1_002) as right:
            founded = await left.create("shared")
            founded.text("body").insert(0, "founded ")
            joined = await right.join(await founded.invite())
            await until(lambda: "founded" in str(joined.text("body")))
            return str(founded.id)


async def meets(one: Document, other: Document) -> bool:
    """Whether what one writes comes to the other soon."""
    one.text("body").insert(0, "again ")
    try:
        async with asyncio.timeout(FOUND_S_MAX):
            await until(lambda: "again" in str(other.text("body")))
    except TimeoutError:
        return False
    return True


async def test_members_find_each_other_where_no_address_is_known(seed: int) -> None:
    """Both listen elsewhere than before, so nothing that they remember leads anywhere."""
    house = House(seed)
    document = await house.share()
    async with house.node(LEFT, 2_001) as left, house.node(RIGHT, 2_002) as right:
        assert await meets(await left.document(document), await right.document(document))


async def test_one_who_announces_is_enough(seed: int) -> None:
    house = House(seed)
    document = await house.share()
    async with (
        house.node(LEFT, 2_001, announces=False) as left,
        house.node(RIGHT, 2_002) as right,
    ):
        assert await meets(await left.document(document), await right.document(document))


async def test_nobody_is_found_who_does_not_announce(seed: int) -> None:
    house = House(seed)
    document = await house.share()
    async with (
        house.node(LEFT, 2_001, announces=False) as left,
        house.node(RIGHT, 2_002, announces=False) as right,
    ):
        assert not await meets(await left.document(document), await right.document(document))


async def test_a_liar_has_nothing_sent_elsewhere_and_makes_nobody_forget(seed: int) -> None:
    """It repeats every name that it hears, at ever other addresses: none is dialled often, and the true one counts."""
    sent_to_victim = 0

    def watch(event: PacketEvent) -> None:
        nonlocal sent_to_victim
        sent_to_victim += event.packet.destination[0] == VICTIM

    house = House(seed)
    house.lab.internet.report = watch
    document = await house.share()
    async with house.node(LEFT, 1_001) as left:
        events = left.events()
        assert left._nearby is not None
        await asyncio.sleep(1.0)
        names = list(left._nearby._peers)
        assert names
        lies = (f"{VICTIM}:443", "127.0.0.1:1", "0.0.0.0:1", "224.0.0.1:1", "10.1.0.250:0")
        for number in range(240):
            liar = SimulatedDiscovery(
                house.lan, (*lies[number % 2 :: 2], f"10.1.0.{10 + number % 200}:9")
            )
            liar.announce(names)
            for listener in list(house.lan._there):
                listener.hear(names, liar.addresses)
            await asyncio.sleep(MINUTE_S / 240)
        dials = 0
        right_id = next(iter(left.peers.known))
        while True:
            try:
                async with asyncio.timeout(0.0):
                    event = await anext(events)
            except TimeoutError:
                break
            dials += isinstance(event, NetworkErrorMet)
            assert not isinstance(event, SecurityEvent)
        assert dials <= 30
        assert sent_to_victim == 0
        assert len(left.peers.known[right_id].addresses) <= PEER_ADDRESSES_MAX
        assert any(":1002" in each for each in left.peers.known[right_id].addresses)
        async with house.node(RIGHT, 1_002) as right:
            assert await meets(await left.document(document), await right.document(document))
