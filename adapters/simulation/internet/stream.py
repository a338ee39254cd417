"""TCP on the simulated internet: connecting, listening, and the transport that asyncio gives for a connection."""

import asyncio
import errno
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from adapters.simulation.internet.datagram import SocketName
from adapters.simulation.internet.host import Host
from adapters.simulation.internet.packet import Endpoint, Packet, Protocol, is_ipv6
from adapters.simulation.internet.tcp import TcpConnection, TcpUser

WRITE_HIGH_BYTES: Final = 64 * 1024
WRITE_LOW_BYTES: Final = 16 * 1024
BACKLOG_MAX: Final = 100

MakeProtocol = Callable[[], asyncio.BaseProtocol]


class SimulatedStreamTransport(asyncio.Transport, TcpUser):
    """One end of a TCP connection, as asyncio shows it.

    Args:
        host: Whose it is.
        make_protocol: Makes what talks over it, once the connection is there.
    """

    def __init__(self, host: Host, make_protocol: MakeProtocol) -> None:
        super().__init__()
        self._host = host
        self._make_protocol = make_protocol
        self._protocol: asyncio.BaseProtocol | None = None
        self._connection: TcpConnection | None = None
        self._is_closing = False
        self._is_paused = False
        self._high, self._low = WRITE_HIGH_BYTES, WRITE_LOW_BYTES
        self.opened: asyncio.Future[asyncio.BaseProtocol] = host.internet.loop.create_future()

    def use(self, connection: TcpConnection) -> None:
        """Say which connection this is the transport of."""
        self._connection = connection

    @property
    def _tcp(self) -> TcpConnection:
        assert self._connection is not None
        return self._connection

    # --- What TCP tells ---

    def tcp_opened(self) -> None:
        self._protocol = self._make_protocol()
        self._protocol.connection_made(self)
        if not self.opened.done():
            self.opened.set_result(self._protocol)

    def tcp_received(self, data: bytes) -> None:
        if isinstance(self._protocol, asyncio.BufferedProtocol):
            view = memoryview(data)
            while view:
                buffer = memoryview(self._protocol.get_buffer(len(view))).cast("B")
                count = min(len(buffer), len(view))
                buffer[:count] = view[:count]
                self._protocol.buffer_updated(count)
                view = view[count:]
        else:
            assert isinstance(self._protocol, asyncio.Protocol)
            self._protocol.data_received(data)

    def tcp_finished(self) -> None:
        assert isinstance(self._protocol, asyncio.Protocol | asyncio.BufferedProtocol)
        if not self._protocol.eof_received():
            self.close()

    def tcp_drained(self, waiting_bytes: int) -> None:
        if self._is_paused and waiting_bytes <= self._low and self._protocol is not None:
            self._is_paused = False
            self._protocol.resume_writing()

    def tcp_lost(self, error: OSError) -> None:
        if self._protocol is None:
            if not self.opened.done():
                self.opened.set_exception(error)
            return
        self._end(error)

    def tcp_died(self) -> None:
        self._is_closing = True

    def _end(self, error: OSError | None) -> None:
        if not self._is_closing:
            self._is_closing = True
            assert self._protocol is not None
            self._host.internet.loop.call_soon(self._protocol.connection_lost, error)

    # --- asyncio.Transport ---

    def get_extra_info(self, name: str, default: Any = None) -> Any:  # noqa: ANN401 - as in asyncio
        """Give `sockname` or `peername`; there is no `socket`."""
        endpoint = {"sockname": self._tcp.local, "peername": self._tcp.remote}.get(name)
        return default if endpoint is None else _to_name(endpoint)

    def write(self, data: Any) -> None:  # noqa: ANN401 - as in asyncio
        """Send bytes."""
        if self._is_closing:
            return
        self._tcp.write(bytes(data))
        if not self._is_paused and self._tcp.waiting_bytes > self._high:
            self._is_paused = True
            assert self._protocol is not None
            self._protocol.pause_writing()

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        """Send bytes in pieces."""
        self.write(b"".join(list_of_data))

    def can_write_eof(self) -> bool:
        """Say that one direction can be closed alone."""
        return True

    def write_eof(self) -> None:
        """Send nothing more."""
        self._tcp.finish()

    def get_write_buffer_size(self) -> int:
        """How many bytes wait to be acknowledged."""
        return self._tcp.waiting_bytes

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """When writing is to pause and to go on."""
        return (self._low, self._high)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set when writing is to pause and to go on."""
        if high is None:
            high = WRITE_HIGH_BYTES if low is None else 4 * low
        self._high, self._low = high, high // 4 if low is None else low

    def pause_reading(self) -> None:
        """Take nothing for now."""
        self._tcp.pause()

    def resume_reading(self) -> None:
        """Take what comes."""
        self._tcp.resume()

    def is_reading(self) -> bool:
        """Whether we take what comes."""
        return not self._tcp.is_paused

    def is_closing(self) -> bool:
        """Whether it is closed, or being closed."""
        return self._is_closing

    def close(self) -> None:
        """Close; what was written still goes out, as the system would send it."""
        if not self._is_closing:
            self._end(None)
            self._tcp.close()

    def abort(self) -> None:
        """Close at once; the peer sees a reset."""
        if not self._is_closing:
            self._end(None)
        self._tcp.reset()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Let another protocol talk."""
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Who talks."""
        assert self._protocol is not None
        return self._protocol


async def connect_stream(
    host: Host, make_protocol: MakeProtocol, bound: Endpoint, remote: Endpoint
) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
    """Open a TCP connection from a host.

    Raises:
        OSError: Nothing leads there, nobody answers, or nobody listens.
    """
    source = host.source_for(remote[0], bound[0])
    if source is None:
        raise OSError(errno.ENETUNREACH, f"no way leads to {remote[0]}")
    transport = SimulatedStreamTransport(host, make_protocol)
    connection = TcpConnection(host, transport, bound=(source, bound[1]), remote=remote)
    transport.use(connection)
    connection.connect()
    try:
        protocol = await transport.opened
    except BaseException:
        connection.reset()
        raise
    return transport, protocol


class StreamListener(asyncio.AbstractServer):
    """Listens for TCP connections.

    Args:
        host: Whose it is.
        make_protocol: Makes what talks over each connection.
        addresses: Where to listen.

    Raises:
        OSError: A port is taken, or an address is not one of the host.
    """

    def __init__(
        self, host: Host, make_protocol: MakeProtocol, addresses: Sequence[Endpoint]
    ) -> None:
        self._host = host
        self._make_protocol = make_protocol
        self._bound: list[Endpoint] = []
        self._half_open = 0
        self._closed: asyncio.Future[None] = host.internet.loop.create_future()
        for address, port in addresses:
            self._bound.append((address, host.bind(Protocol.TCP, address, port, self)))

    @property
    def sockets(self) -> tuple["ListeningSocket", ...]:
        """What it listens on."""
        return tuple(map(ListeningSocket, self._bound))

    def receive(self, packet: Packet) -> None:
        """Take a packet of no connection: only a SYN means anything."""
        segment = packet.segment
        if segment is None or not segment.is_syn or segment.acknowledgement is not None:
            return
        if self._half_open >= BACKLOG_MAX:
            return
        transport = SimulatedStreamTransport(self._host, self._make_protocol)
        connection = TcpConnection(
            self._host, transport, bound=packet.destination, remote=packet.source
        )
        transport.use(connection)
        self._half_open += 1
        transport.opened.add_done_callback(self._settle)
        connection.accept()

    def _settle(self, opened: asyncio.Future[asyncio.BaseProtocol]) -> None:
        self._half_open -= 1
        opened.exception()  # nobody waits for it

    def die(self) -> None:
        """The host has crashed."""
        self._bound.clear()
        self._settle_closed()

    def close(self) -> None:
        """Listen no more; connections go on."""
        for endpoint in self._bound:
            self._host.release(Protocol.TCP, endpoint, self)
        self._bound.clear()
        self._settle_closed()

    def _settle_closed(self) -> None:
        if not self._closed.done():
            self._closed.set_result(None)

    async def wait_closed(self) -> None:
        """Wait until it listens no more."""
        await asyncio.shield(self._closed)

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """Whose time it uses."""
        return self._host.internet.loop

    def is_serving(self) -> bool:
        """Whether it listens."""
        return bool(self._bound)

    async def start_serving(self) -> None:
        """Listen; it always does."""

    async def serve_forever(self) -> None:
        """Listen until cancelled."""
        try:
            await self.wait_closed()
        finally:
            self.close()


class ListeningSocket:
    """What `StreamListener.sockets` shows."""

    def __init__(self, bound: Endpoint) -> None:
        self._bound = bound

    def getsockname(self) -> SocketName:
        """Where it listens."""
        return _to_name(self._bound)


def _to_name(endpoint: Endpoint) -> SocketName:
    return (*endpoint, 0, 0) if is_ipv6(endpoint[0]) else endpoint
