"""The production traversal on the simulated internet keeps the contract: in public, and behind boxes."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from adapters.quic.traversal import QuicTraversal
from adapters.simulation.environment import SimulatedClock, SimulatedEntropy
from adapters.simulation.internet.host import Host
from adapters.simulation.internet.line import LAN
from adapters.simulation.internet.nat import PORT_RESTRICTED
from adapters.simulation.internet.reproducible import reproducible_transport
from adapters.simulation.internet.stun_server import StunServer
from domain.connectivity.address import Address
from tests.adapters.simulation.internet.datagrams import new_internet
from tests.adapters.simulation.internet.hosts import network_on
from tests.contracts.connected_peers import device
from tests.contracts.traversal import Party, TraversalContract

STUN = Address("198.51.100.10", 3_478)


def party(host: Host, number: int, seed: int, *stun: Address) -> Party:
    loop = asyncio.get_running_loop()
    network = network_on(host, number, seed)
    traversal = QuicTraversal(
        network,
        stun=stun,
        turn=(),
        clock=SimulatedClock(loop),
        entropy=SimulatedEntropy(seed, f"{host.name} traversal"),
        entered=host.entered,
    )

    def set_up(*, is_up: bool) -> None:
        for interface in host.interfaces:
            interface.set_up(is_up=is_up)

    return Party(
        key=device(number),
        network=network,
        traversal=traversal,
        workers=traversal.workers(),
        cut=lambda: set_up(is_up=False),
        mend=lambda: set_up(is_up=True),
    )


@pytest.fixture(autouse=True)
async def _reproducible(seed: int) -> AsyncIterator[None]:
    with reproducible_transport(seed, asyncio.get_running_loop().time):
        yield


class TestQuicTraversalInPublic(TraversalContract):
    @pytest.fixture
    async def parties(self, seed: int) -> tuple[Party, Party]:
        internet = new_internet(seed)
        left = internet.public_host("left", "198.51.100.1", "2001:db8::1")
        right = internet.public_host("right", "198.51.100.2", "2001:db8::2")
        return party(left, 1, seed), party(right, 2, seed)


class TestQuicTraversalBehindBoxes(TraversalContract):
    @pytest.fixture
    async def parties(self, seed: int) -> AsyncIterator[tuple[Party, Party]]:
        internet = new_internet(seed)
        server = StunServer(internet.public_host("stun", STUN.host, "198.51.100.11"), STUN.host)
        await server.start()
        parties = []
        for number, name in enumerate(("left", "right"), 1):
            _, inside = internet.router(f"{name} box", f"203.0.113.{number}", nat=PORT_RESTRICTED)
            host = internet.host(name)
            host.attach(inside, f"10.{number}.0.2", options=LAN)
            parties.append(party(host, number, seed, STUN))
        yield parties[0], parties[1]
        server.close()
