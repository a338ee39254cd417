"""One UDP socket for everything: tells apart what arrives and hands it on.

By the first byte (RFC 9443) what is not QUIC goes elsewhere: probes to `paths`, STUN to a hook. QUIC goes to
connections by its destination connection id, whatever its source. What belongs to no connection may begin one, within
bounds: a foreign version is answered once, and `Admission` says who has to prove its address first (Retry). The
invariant: what no connection has proven costs no memory beyond `HALF_OPEN_MAX` handshakes.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, cast

from aioquic.buffer import Buffer  # type: ignore[attr-defined] # aioquic re-exports it
from aioquic.quic.configuration import SMALLEST_MAX_DATAGRAM_SIZE
from aioquic.quic.packet import (
    QuicHeader,
    QuicPacketType,
    QuicProtocolVersion,
    encode_quic_retry,
    encode_quic_version_negotiation,
    pull_quic_header,
)
from aioquic.quic.retry import QuicRetryTokenHandler

from adapters.quic.certificate import CONNECTION_ID_BYTES
from adapters.quic.connection import PeerConnection
from adapters.quic.host import ConnectionHost
from adapters.quic.path import Path, PathOwner
from adapters.quic.paths import Paths
from adapters.quic.socket import DatagramSocket
from adapters.quic.source import SocketAddress, Source, is_by_relay
from domain.connectivity.admission import Admission, Verdict, prefix_of
from domain.connectivity.probe import PROBE_FIRST_BYTE, ProbeKey
from domain.limits import HALF_OPEN_RETRY
from domain.ports.environment import Clock, Entropy

_logger: Final = logging.getLogger(__name__)

QUIC_FIRST_BYTE_MIN: Final = 64
LONG_HEADER: Final = 0x80
VERSIONS: Final = (QuicProtocolVersion.VERSION_1,)

AcceptConnection = Callable[[Path, bytes, bytes | None], PeerConnection]
"""Makes a listener's connection: its path, the original destination connection id, the source of our Retry if any."""
OtherReceiver = Callable[[bytes, Source], None]
RelaySender = Callable[[Sequence[bytes], tuple[str, int]], None]


class Endpoint(ConnectionHost[PeerConnection]):
    """Routes datagrams between one socket and its connections.

    Args:
        loop: The event loop that everything runs in.
        clock: The time for all engines.
        entropy: For the connection ids of Retry packets.
        accept: Makes a connection for somebody who knocks.
        established: Told of each connection whose hello is done.
        receive_other: Takes what is not QUIC.
        half_open_retry: From so many unfinished handshakes on, strangers have to prove their address.
    """

    def __init__(  # noqa: PLR0913 - each is another door to the outside
        self,
        *,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        entropy: Entropy,
        accept: AcceptConnection,
        established: Callable[[PeerConnection], None],
        receive_other: OtherReceiver | None = None,
        half_open_retry: int = HALF_OPEN_RETRY,
    ) -> None:
        self._loop = loop
        self._clock = clock
        self._entropy = entropy
        self._accept = accept
        self._on_established = established
        self._receive_other = receive_other
        self._retry = QuicRetryTokenHandler()
        self._socket: DatagramSocket | None = None
        self.send_by_relay: RelaySender | None = None
        self.paths = Paths(
            loop=loop,
            clock=clock,
            entropy=entropy,
            carry=self.carry,
            family=lambda: self.socket.family,
        )
        self._routes: dict[bytes, PeerConnection] = {}
        self._connections: dict[PeerConnection, set[bytes]] = {}
        self.is_admitting = True  # until the node closes
        self._half_open: dict[PeerConnection, bytes] = {}
        self._admission = Admission(clock.now(), half_open_retry)

    def attach(self, socket: DatagramSocket) -> None:
        """Use a socket, whose receiver is `receive`."""
        self._socket = socket

    @property
    def is_behind(self) -> bool:
        return self._socket is not None and self._socket.is_behind

    @property
    def socket(self) -> DatagramSocket:
        """The socket in use."""
        assert self._socket is not None
        return self._socket

    @property
    def half_open_count(self) -> int:
        """How many strangers are in the middle of a handshake."""
        return len(self._half_open)

    def connections(self) -> Iterator[PeerConnection]:
        """All connections that have not been forgotten."""
        return iter(list(self._connections))

    def close(self) -> None:
        """Stop everything at once."""
        self.paths.close()
        for connection in self._connections:
            connection.abandon()
        self._connections.clear()
        self._routes.clear()
        self._half_open.clear()
        if self._socket is not None:
            self._socket.close()

    # --- What arrives ---

    def receive(self, batch: Sequence[tuple[bytes, Source]]) -> None:
        """Take a batch of datagrams; each connection that got some acts on them once."""
        touched: dict[PeerConnection, None] = {}
        for connection, source, datagrams in self._runs(batch):
            if connection.take(datagrams, source):
                touched[connection] = None
        for connection in touched:
            connection.flush()
            if connection in self._half_open and not connection.has_heard:
                self.forget(connection)  # its first packet made no sense

    def _runs(
        self, batch: Iterable[tuple[bytes, Source]]
    ) -> Iterator[tuple[PeerConnection, Source, list[bytes]]]:
        """Give what came in a row for one connection from one place; the rest goes where it belongs on the way."""
        run: tuple[PeerConnection, Source, list[bytes]] | None = None
        for data, source in batch:
            connection = self._find(data, source)
            if run is not None and (run[0] is not connection or run[1] != source):
                yield run
                run = None
            if connection is None:
                self._receive_stray(data, source)
            elif run is None:
                run = connection, source, [data]
            else:
                run[2].append(data)
        if run is not None:
            yield run

    def _find(self, data: bytes, source: Source) -> PeerConnection | None:
        if not data or data[0] < QUIC_FIRST_BYTE_MIN:
            return None
        if data[0] & LONG_HEADER:
            return self._find_by_long_header(data, source)
        return self._routes.get(data[1 : 1 + CONNECTION_ID_BYTES])

    def _receive_stray(self, data: bytes, source: Source) -> None:
        """Take a datagram that is not for a connection."""
        if not data or data[0] >= QUIC_FIRST_BYTE_MIN:
            return
        if data[0] == PROBE_FIRST_BYTE:
            self.paths.receive(data, source)
        elif self._receive_other is not None:
            self._receive_other(data, source)

    def _find_by_long_header(self, data: bytes, source: Source) -> PeerConnection | None:
        try:
            header = pull_quic_header(Buffer(data=data), host_cid_length=CONNECTION_ID_BYTES)
        except ValueError:
            return None
        connection = self._routes.get(header.destination_cid)
        if connection is not None:
            return connection
        is_answer = header.packet_type == QuicPacketType.VERSION_NEGOTIATION
        if is_answer or len(data) < SMALLEST_MAX_DATAGRAM_SIZE:
            return None  # answered, it could go to and fro between two nodes for ever
        if header.version not in VERSIONS:
            self._negotiate_version(header, source)
        elif header.packet_type == QuicPacketType.INITIAL:
            return self._admit(header, source)
        return None

    def _negotiate_version(self, header: QuicHeader, source: Source) -> None:
        answer = encode_quic_version_negotiation(
            source_cid=header.destination_cid,
            destination_cid=header.source_cid,
            supported_versions=list(VERSIONS),
        )
        self.carry([answer], source)

    def _admit(self, header: QuicHeader, source: Source) -> PeerConnection | None:
        if not self.is_admitting:
            return None
        original, retried = header.destination_cid, None
        if header.token:
            try:
                original = self._retry.validate_token(
                    address=source,
                    destination_cid=header.destination_cid,
                    token=header.token,
                    now=self.now(),
                )
            except ValueError:
                return None
            retried = header.destination_cid
        prefix = prefix_of(source[0])
        verdict = self._admission.judge(prefix, is_proven=retried is not None, now=self.now())
        if verdict is Verdict.RETRY:
            self._send_retry(header, source)
        if verdict is not Verdict.ADMIT:
            _logger.info("quic.handshake.not_yet", extra={"verdict": verdict.value})
            return None
        connection = self._accept(Path(source), original, retried)
        self._half_open[connection] = prefix
        self._admission.begun(prefix)
        self.add_route(header.destination_cid, connection)
        return connection

    def _settle(self, connection: PeerConnection) -> None:
        prefix = self._half_open.pop(connection, None)
        if prefix is not None:
            self._admission.ended(prefix)

    def _send_retry(self, header: QuicHeader, source: Source) -> None:
        source_cid = self._entropy.draw(CONNECTION_ID_BYTES)
        token = self._retry.create_token(
            address=source,
            original_destination_connection_id=header.destination_cid,
            retry_source_connection_id=source_cid,
            now=self.now(),
        )
        assert header.version is not None
        answer = encode_quic_retry(
            version=header.version,
            source_cid=source_cid,
            destination_cid=header.source_cid,
            original_destination_cid=header.destination_cid,
            retry_token=token,
        )
        self.carry([answer], source)

    # --- What connections need ---

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        return self._loop

    def now(self) -> float:
        return self._clock.now()

    def send(self, datagrams: Sequence[bytes], path: Path) -> None:
        if path.can_send:
            self.carry(datagrams, path.remote)

    def carry(self, datagrams: Sequence[bytes], to: Source) -> None:
        """Send datagrams, by the socket or by the relay."""
        if not is_by_relay(to):
            self.socket.send(datagrams, cast("SocketAddress", to))
        elif self.send_by_relay is not None:
            self.send_by_relay(datagrams, (to[0], to[1]))

    def unlock(self, path: Path, key: ProbeKey, owner: PathOwner) -> None:
        self.paths.unlock(path, key, owner)

    def add_route(self, connection_id: bytes, connection: PeerConnection) -> None:
        self._routes[connection_id] = connection
        self._connections.setdefault(connection, set()).add(connection_id)

    def remove_route(self, connection_id: bytes, connection: PeerConnection) -> None:
        if self._routes.get(connection_id) is connection:
            del self._routes[connection_id]
        self._connections.get(connection, set()).discard(connection_id)

    def established(self, connection: PeerConnection) -> None:
        self._settle(connection)
        if not connection.is_dialler:
            self._on_established(connection)

    def ended(self, connection: PeerConnection) -> None:
        self._settle(connection)
        self.paths.end(connection.path)

    def forget(self, connection: PeerConnection) -> None:
        self._settle(connection)
        for connection_id in self._connections.pop(connection, set()):
            if self._routes.get(connection_id) is connection:
                del self._routes[connection_id]
        connection.abandon()
