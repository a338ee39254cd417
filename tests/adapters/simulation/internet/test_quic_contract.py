"""The production transport on the simulated internet keeps the contract of networks."""

import asyncio
from collections.abc import AsyncIterator
from itertools import count

import pytest

from adapters.quic.network import QuicNetwork
from adapters.quic.socket import DatagramSocket, Receiver, SocketOpener, open_loop_socket
from adapters.simulation.environment import SimulatedClock, SimulatedEntropy
from adapters.simulation.internet.host import Host
from adapters.simulation.internet.line import LineOptions
from adapters.simulation.internet.reproducible import reproducible_transport
from domain.connectivity.address import Address
from domain.identity import DeviceKey
from domain.ports.network import NetworkInterface
from tests.adapters.simulation.internet.datagrams import new_internet
from tests.contracts.network_interface import NetworkFactory, NetworkInterfaceContract

LINES = {
    "IPv6": ("2001:db8::{}", LineOptions(delay_s=0.001)),
    "rough": (
        "198.51.100.{}",
        LineOptions(
            delay_s=0.001,
            jitter_s=0.000_5,
            loss=0.002,
            duplication=0.01,
            reordering=0.002,
            reordering_s=0.000_5,
        ),
    ),
}


def opener(host: Host) -> SocketOpener:
    """Open sockets on a host."""

    async def open_socket(address: Address, receiver: Receiver) -> DatagramSocket:
        with host.entered():
            return await open_loop_socket(address, receiver)

    return open_socket


class TestQuicInVirtualTime(NetworkInterfaceContract):
    @pytest.fixture(params=["IPv6", pytest.param("rough", marks=pytest.mark.slow)])
    async def open_network(
        self, request: pytest.FixtureRequest, seed: int
    ) -> AsyncIterator[NetworkFactory]:
        pattern, options = LINES[request.param]
        loop, internet, numbers = asyncio.get_running_loop(), new_internet(seed), count(1)

        def make(key: DeviceKey, *, network_id: str = "contract") -> NetworkInterface:
            number = next(numbers)
            address = pattern.format(number)
            host = internet.public_host(f"host-{number}", address, options=options)
            return QuicNetwork(
                key=key,
                listen=str(Address.from_host(address, 4_433)),
                network_id=network_id,
                clock=SimulatedClock(loop),
                entropy=SimulatedEntropy(seed, host.name),
                open_socket=opener(host),
            )

        with reproducible_transport(seed, loop.time):
            yield make
