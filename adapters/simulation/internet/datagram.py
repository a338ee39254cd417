"""A UDP socket on a simulated host, as the transport that asyncio gives for one."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from adapters.simulation.internet.host import Host
from adapters.simulation.internet.packet import (
    Endpoint,
    Packet,
    Protocol,
    is_ipv6,
    normalize,
)

SocketName = tuple[str, int] | tuple[str, int, int, int]
DATAGRAM_BYTES_MAX: Final = 65_507
MAPPED_PREFIX: Final = "::ffff:"


class SimulatedDatagramTransport(asyncio.DatagramTransport):
    """A socket bound to a port of a host; like a real one it takes everything and promises nothing.

    Args:
        host: Whose it is.
        protocol: Takes what arrives.
        local: Where it is bound; port 0 takes a free one.
        remote: The only one that it talks with, if it is connected.

    Raises:
        OSError: The port is taken, or the address is not one of the host.
    """

    def __init__(
        self,
        host: Host,
        protocol: asyncio.DatagramProtocol,
        local: Endpoint,
        remote: Endpoint | None,
    ) -> None:
        super().__init__()
        address, port = local
        self._host = host
        self._protocol = protocol
        self._remote = remote
        self._is_ipv6 = is_ipv6(address)
        self._local = (address, host.bind(Protocol.UDP, address, port, self))
        self._is_closing = False

    # --- asyncio.DatagramTransport ---

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # noqa: ANN401 - as in asyncio
        """Give `sockname` or `peername`; there is no `socket`."""
        names: Mapping[str, Endpoint | None] = {"sockname": self._local, "peername": self._remote}
        endpoint = names.get(name)
        return default if endpoint is None else self._to_name(endpoint)

    def sendto(self, data: Any, addr: Any = None) -> None:  # noqa: ANN401 - as in asyncio
        """Send a datagram; where it cannot go it is lost, as on any network."""
        if self._is_closing:
            return
        if addr is None:
            if self._remote is None:
                raise ValueError("say where to: the socket is not connected")
            destination = self._remote
        else:
            destination = (normalize(addr[0]), int(addr[1]))
            if self._remote not in (None, destination):
                raise ValueError(f"the socket is connected to {self._remote}")
        if len(data) > DATAGRAM_BYTES_MAX:
            self._protocol.error_received(OSError("the datagram is too long"))
            return
        source = self._host.source_for(destination[0], self._local[0])
        if source is not None:
            self._host.send(
                Packet(
                    protocol=Protocol.UDP,
                    source=(source, self._local[1]),
                    destination=destination,
                    payload=bytes(data),
                    origin=self._host.name,
                )
            )

    def is_closing(self) -> bool:
        """Whether it is closed."""
        return self._is_closing

    def close(self) -> None:
        """Give the port back."""
        if not self._is_closing:
            self._is_closing = True
            self._host.release(Protocol.UDP, self._local, self)
            self._host.internet.loop.call_soon(self._protocol.connection_lost, None)

    def abort(self) -> None:
        """Close; nothing ever waits."""
        self.close()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Let another protocol take what arrives."""
        assert isinstance(protocol, asyncio.DatagramProtocol)
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Who takes what arrives."""
        return self._protocol

    # --- The host ---

    def receive(self, packet: Packet) -> None:
        """Take a datagram."""
        if self._remote in (None, packet.source):
            self._protocol.datagram_received(packet.payload, self._to_name(packet.source))

    def die(self) -> None:
        """The host has crashed."""
        self._is_closing = True

    def _to_name(self, endpoint: Endpoint) -> SocketName:
        """Write an address as a socket of our family does."""
        address, port = endpoint
        if not self._is_ipv6:
            return (address, port)
        return (address if is_ipv6(address) else MAPPED_PREFIX + address, port, 0, 0)
