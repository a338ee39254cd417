"""The one UDP socket of a node: reads many datagrams at a time, writes runs of them in one call.

Where the system has it, segmentation offload is used in both directions (UDP_SEGMENT, UDP_GRO; Linux), else plain
calls. Nothing is dropped because the socket is full: it waits, up to a bound. `LoopSocket` does the same by the
event loop's own means, for loops that cannot watch a raw socket.
"""

import asyncio
import contextlib
import errno
import socket
import struct
from abc import abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import ip_address
from typing import Any, Final, Protocol, cast

from adapters.quic.source import SocketAddress
from domain.connectivity.address import Address
from domain.errors import NetworkError
from domain.limits import RECEIVE_BATCH_MAX, SEND_BACKLOG_MAX

SOL_UDP: Final = 17
UDP_SEGMENT: Final = 103
UDP_GRO: Final = 104
SEGMENTS_MAX: Final = 64
SEGMENTED_BYTES_MAX: Final = 65_000
DATAGRAM_BYTES_MAX: Final = 65_535
CONTROL_BYTES: Final = 64
KERNEL_BUFFER_BYTES: Final = 4 * 1024 * 1024
"""A burst of 64 datagrams from each of 50 peers; the system may give less."""
_NO_OFFLOAD: Final = frozenset({errno.EIO, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOPROTOOPT})
_FULL: Final = (BlockingIOError, InterruptedError)

Datagram = tuple[bytes, SocketAddress]
Receiver = Callable[[Sequence[Datagram]], None]


class DatagramSocket(Protocol):
    """A bound UDP socket.

    Attributes:
        is_behind: Whether more has arrived than was read last.
    """

    is_behind: bool

    @property
    @abstractmethod
    def local(self) -> SocketAddress:
        """What it is bound to."""

    @property
    @abstractmethod
    def family(self) -> socket.AddressFamily:
        """IPv4, or IPv6 (with IPv4 mapped into it where it is bound to all interfaces)."""

    @abstractmethod
    def send(self, datagrams: Sequence[bytes], to: SocketAddress) -> None:
        """Send them in this order, at once or as soon as the system takes them."""

    @abstractmethod
    def close(self) -> None:
        """Stop receiving and sending."""


SocketOpener = Callable[[Address, Receiver], Awaitable[DatagramSocket]]


async def open_raw_socket(address: Address, receiver: Receiver) -> DatagramSocket:
    """Bind a socket that the event loop watches.

    Raises:
        NetworkError: The address cannot be bound.
    """
    return RawSocket(asyncio.get_running_loop(), _bind(address), receiver)


async def open_loop_socket(address: Address, receiver: Receiver) -> DatagramSocket:
    """Bind a socket by the event loop's own means.

    Raises:
        NetworkError: The address cannot be bound.
    """
    try:
        _, protocol = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: LoopSocket(receiver), local_addr=(address.host, address.port)
        )
    except OSError as error:
        raise _unusable(address, error) from error
    return protocol


class RawSocket(DatagramSocket):
    """A socket that the event loop watches and that is read and written directly.

    Args:
        loop: The loop of the running thread.
        bound: A bound, non-blocking socket, which becomes ours.
        receiver: Takes each batch that has arrived.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, bound: socket.socket, receiver: Receiver
    ) -> None:
        self._loop = loop
        self._socket = bound
        self._family = socket.AddressFamily(bound.family)
        self._receiver = receiver
        self._buffer = bytearray(DATAGRAM_BYTES_MAX)
        self._view = memoryview(self._buffer)
        self._backlog: deque[tuple[list[bytes], SocketAddress]] = deque()
        self._backlog_count = 0
        self._can_segment = _accepts_option(bound, UDP_SEGMENT, 0)
        _accepts_option(bound, UDP_GRO, 1)
        self._is_closed = False
        self.is_behind = False
        loop.add_reader(bound.fileno(), self._read)

    @property
    def local(self) -> SocketAddress:
        return cast("SocketAddress", self._socket.getsockname())

    @property
    def family(self) -> socket.AddressFamily:
        return self._family

    def send(self, datagrams: Sequence[bytes], to: SocketAddress) -> None:
        if self._is_closed:
            return
        waiting = list(datagrams)
        if not self._backlog:
            waiting = self._write(waiting, to)
        if waiting and self._backlog_count + len(waiting) <= SEND_BACKLOG_MAX:
            if not self._backlog:
                self._loop.add_writer(self._socket.fileno(), self._write_backlog)
            self._backlog.append((waiting, to))
            self._backlog_count += len(waiting)

    def close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        self._loop.remove_reader(self._socket.fileno())
        self._loop.remove_writer(self._socket.fileno())
        self._socket.close()

    def _read(self) -> None:
        batch: list[Datagram] = []
        view = self._view
        for _ in range(RECEIVE_BATCH_MAX):
            try:
                count, controls, _, source = self._socket.recvmsg_into(
                    [self._buffer], CONTROL_BYTES
                )
            except _FULL:
                break
            except OSError:
                continue  # an ICMP error of an earlier datagram; whoever waits for an answer will time out
            segment = _segment_size(controls) or max(count, 1)
            batch.extend(
                (bytes(view[start : min(start + segment, count)]), source)
                for start in range(0, count, segment)
            )
            if len(batch) >= RECEIVE_BATCH_MAX:
                break
        self.is_behind = len(batch) >= RECEIVE_BATCH_MAX
        if batch:
            self._receiver(batch)

    def _write(self, datagrams: list[bytes], to: SocketAddress) -> list[bytes]:
        """Send what the system takes now; what is left."""
        position = 0
        while position < len(datagrams):
            end = _run_end(datagrams, position) if self._can_segment else position + 1
            try:
                if end - position == 1:
                    self._socket.sendto(datagrams[position], to)
                else:
                    size = struct.pack("=H", len(datagrams[position]))
                    self._socket.sendmsg(
                        datagrams[position:end], [(SOL_UDP, UDP_SEGMENT, size)], 0, to
                    )
            except _FULL:
                return datagrams[position:]
            except OSError as error:
                if end - position > 1 and error.errno in _NO_OFFLOAD:
                    self._can_segment = False
                    continue
                # No route, or too large: lost, as on any link. QUIC notices.
            position = end
        return []

    def _write_backlog(self) -> None:
        while self._backlog:
            datagrams, to = self._backlog.popleft()
            waiting = self._write(datagrams, to)
            self._backlog_count -= len(datagrams) - len(waiting)
            if waiting:
                self._backlog.appendleft((waiting, to))
                return
        self._loop.remove_writer(self._socket.fileno())


class LoopSocket(asyncio.DatagramProtocol, DatagramSocket):
    """A socket that the event loop reads and writes.

    Args:
        receiver: Takes each datagram, as a batch of one.
    """

    def __init__(self, receiver: Receiver) -> None:
        self.is_behind = False
        self._receiver = receiver
        self._transport: asyncio.DatagramTransport | None = None

    @property
    def local(self) -> SocketAddress:
        return cast("SocketAddress", self._opened.get_extra_info("sockname"))

    @property
    def family(self) -> socket.AddressFamily:
        return socket.AF_INET6 if ":" in self.local[0] else socket.AF_INET

    @property
    def _opened(self) -> asyncio.DatagramTransport:
        assert self._transport is not None
        return self._transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The loop has bound the socket."""
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: Any) -> None:  # noqa: ANN401 - as in asyncio
        """The loop has read a datagram."""
        self._receiver([(data, addr)])

    def send(self, datagrams: Sequence[bytes], to: SocketAddress) -> None:
        if not self._opened.is_closing():
            for datagram in datagrams:
                self._opened.sendto(datagram, to)

    def close(self) -> None:
        self._opened.close()


def _bind(address: Address) -> socket.socket:
    try:
        version = ip_address(address.host).version
    except ValueError:
        raise NetworkError(
            f"cannot listen on {address}: name an IP address of this machine"
        ) from None
    is_ipv6 = version == 6  # noqa: PLR2004
    try:
        return _bind_family(socket.AF_INET6 if is_ipv6 else socket.AF_INET, address)
    except OSError as error:
        if is_ipv6 and ip_address(address.host).is_unspecified and error.errno != errno.EADDRINUSE:
            return _bind(Address("0.0.0.0", address.port))  # noqa: S104 - no IPv6 here; all interfaces were asked for
        raise _unusable(address, error) from error


def _bind_family(family: socket.AddressFamily, address: Address) -> socket.socket:
    bound = socket.socket(family, socket.SOCK_DGRAM)
    try:
        bound.setblocking(False)  # noqa: FBT003 - it has no other form
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
            with contextlib.suppress(OSError):
                bound.setsockopt(socket.SOL_SOCKET, option, KERNEL_BUFFER_BYTES)
        bound.bind((address.host, address.port))
    except OSError:
        bound.close()
        raise
    return bound


def _unusable(address: Address, error: OSError) -> NetworkError:
    return NetworkError(
        f"cannot listen on {address}: {error.strerror or error}; choose another address or port"
    )


def _accepts_option(bound: socket.socket, option: int, value: int) -> bool:
    try:
        bound.setsockopt(SOL_UDP, option, value)
    except OSError:
        return False
    return True


def _segment_size(controls: list[tuple[int, int, bytes]]) -> int:
    for level, kind, data in controls:
        if (level, kind) == (SOL_UDP, UDP_GRO):
            return int.from_bytes(data[:4], "little" if struct.pack("=H", 1)[0] else "big")
    return 0


def _run_end(datagrams: Sequence[bytes], start: int) -> int:
    """Where a run of datagrams ends that are equally long, but for a shorter last one."""
    size = len(datagrams[start])
    limit = min(len(datagrams), start + min(SEGMENTS_MAX, max(1, SEGMENTED_BYTES_MAX // size)))
    end = start + 1
    while end < limit and len(datagrams[end]) == size:
        end += 1
    return end + 1 if end < limit and len(datagrams[end]) < size else end
