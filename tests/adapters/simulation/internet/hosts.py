"""The production transport on hosts of the simulated internet."""

import asyncio

from adapters.quic.network import QuicNetwork
from adapters.quic.socket import DatagramSocket, Receiver, SocketOpener, open_loop_socket
from adapters.simulation.environment import SimulatedClock, SimulatedEntropy
from adapters.simulation.internet.host import Host
from domain.connectivity.address import Address
from tests.contracts.connected_peers import device

PORT = 4_433


def opener(host: Host) -> SocketOpener:
    """Open sockets on a host."""

    async def open_socket(address: Address, receiver: Receiver) -> DatagramSocket:
        with host.entered():
            return await open_loop_socket(address, receiver)

    return open_socket


def addresses_of(host: Host, port: int, *, with_ipv6: bool) -> tuple[Address, ...]:
    """Where a host can be reached."""
    up = [each for interface in host.interfaces if interface.is_up for each in interface.addresses]
    return tuple(Address.from_host(each, port) for each in up if with_ipv6 or ":" not in each)


def network_on(host: Host, number: int, seed: int) -> QuicNetwork:
    """The network of a device on a host, listening on all its interfaces."""
    loop = asyncio.get_running_loop()
    return QuicNetwork(
        key=device(number),
        listen=f"[::]:{PORT}",
        network_id="hosts",
        clock=SimulatedClock(loop),
        entropy=SimulatedEntropy(seed, host.name),
        open_socket=opener(host),
        local_addresses=lambda port, *, with_ipv6: addresses_of(host, port, with_ipv6=with_ipv6),
    )
