"""The QUIC engine: aioquic's connection, mended where it cannot be left as it is.

This module, `streams` and `shortcut` alone touch what aioquic keeps to itself; every touch has a test in
`tests/adapters/quic/test_engine.py` that fails when aioquic moves it. What differs from aioquic 1.7:

- Receive credit follows consumption. There, it doubles with the highest offset seen, so that ten bytes at the right
  places make a receiver allocate gigabytes.
- The work per packet follows the streams that have something to say (`streams`). There, it visits all open ones.
- Packets that are nothing but the next bytes of a stream take a shorter way (`shortcut`).
- An acknowledgement waits a little for data to travel with, unless packets come thick or out of order.
- The pacer keeps steps that an event loop can keep (`congestion`).
- One TLS key share instead of four; the same random choices always give the same packets.

It does no I/O and reads no clock. The addresses that it sees are all `VIRTUAL_ADDRESS`: a client connection dies when
an address changes under it, and where the peer really is, is the business of `path`.
"""

# ruff: noqa: SLF001 - here, and only here

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from aioquic import tls
from aioquic.buffer import Buffer  # type: ignore[attr-defined] # aioquic re-exports it
from aioquic.quic import events
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.congestion.base import create_congestion_control
from aioquic.quic.connection import (
    MAX_STREAM_DATA_FRAME_CAPACITY,
    QuicConnection,
    QuicConnectionState,
    QuicNetworkPath,
    QuicReceiveContext,
)
from aioquic.quic.packet import QuicErrorCode, QuicFrameType
from aioquic.quic.packet_builder import QuicDeliveryState, QuicPacketBuilder
from aioquic.quic.recovery import K_MICRO_SECOND, QuicPacketSpace
from aioquic.quic.stream import QuicStream, QuicStreamSender
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from adapters.quic.boundary import (
    TIMER_SLACK_S,
    EngineEvent,
    HandshakeDone,
    NameIssued,
    NameRetired,
    ProtocolAgreed,
    StreamCut,
    StreamData,
    Termination,
)
from adapters.quic.congestion import CongestionControl, Pacer
from adapters.quic.credit import ReceiveBudget, ReceiveCredit
from adapters.quic.scheduler import ServiceOrder
from adapters.quic.shortcut import is_readable, one_packet, read_row, write_row
from adapters.quic.streams import StreamTable
from domain.connectivity.bucket import TokenBucket
from domain.limits import (
    IDLE_DATAGRAMS_BURST,
    IDLE_DATAGRAMS_PER_S,
    STREAMS_UNREAD_MAX,
    UNREADABLE_DATAGRAMS_BURST,
    UNREADABLE_DATAGRAMS_PER_S,
    UNSENT_BYTES_MAX,
    UNSENT_BYTES_MIN,
    UNSENT_S,
)
from domain.ports.network import Priority

VIRTUAL_ADDRESS: Final = ("culm", 0)
ACK_DELAY_S: Final = 0.015
"""Shorter than the 25 ms that we announce, by what a busy loop may add."""
ACK_PACKETS_MAX: Final = 2
"""So many packets are acknowledged at once (RFC 9000, 13.2.2)."""
ROW_PACKETS_MIN: Final = 3
"""aioquic writes the first packet of a row, if there is something else to say, and the last."""
_AFTER_HANDSHAKE_BYTES: Final = 1_024
TRANSLATED: Final[dict[type[events.QuicEvent], Callable[[Any], EngineEvent]]] = {
    events.ProtocolNegotiated: lambda _: ProtocolAgreed(),
    events.HandshakeCompleted: lambda _: HandshakeDone(),
    events.ConnectionIdIssued: lambda event: NameIssued(event.connection_id),
    events.ConnectionIdRetired: lambda event: NameRetired(event.connection_id),
    events.StreamReset: lambda event: StreamCut(event.stream_id),
    events.StopSendingReceived: lambda event: StreamCut(event.stream_id),
}
"""All but the bytes of streams, which are joined, and the end, which `termination` tells."""


class Engine(QuicConnection):
    """One QUIC connection, without I/O.

    Args:
        configuration: For a server or a client.
        budget: What all connections of the node may have outstanding.
        original_destination_connection_id: For a server: what the client sent its first Initial to.
        retry_source_connection_id: For a server, after a Retry: what the Retry came from.
    """

    def __init__(
        self,
        *,
        configuration: QuicConfiguration,
        budget: ReceiveBudget,
        original_destination_connection_id: bytes | None = None,
        retry_source_connection_id: bytes | None = None,
    ) -> None:
        self.credit = ReceiveCredit(budget)
        self._now = 0.0
        self._delivered = 0
        self._consumed: dict[int, int] = {}
        self._streams_released = 0
        self._streams_allowed = 0
        self._packets_unacknowledged = 0
        self._are_limits_written = False
        self._is_live = False
        self._idle_datagrams = TokenBucket(
            rate=IDLE_DATAGRAMS_PER_S, burst=IDLE_DATAGRAMS_BURST, now=0.0
        )
        self._unreadable_datagrams = TokenBucket(
            rate=UNREADABLE_DATAGRAMS_PER_S, burst=UNREADABLE_DATAGRAMS_BURST, now=0.0
        )
        self._packets_read = 0
        self._stream_table = StreamTable()
        super().__init__(
            configuration=configuration,
            original_destination_connection_id=original_destination_connection_id,
            retry_source_connection_id=retry_source_connection_id,
        )
        self._streams = self._stream_table
        self._ack_delay = ACK_DELAY_S
        self._loss._pacer = Pacer(max_datagram_size=configuration.max_datagram_size)
        self._local_max_data.value = self._local_max_data.sent = self.credit.window
        bidirectional, unidirectional = self._local_max_streams_bidi, self._local_max_streams_uni
        bidirectional.value = bidirectional.sent = 1 if self._is_client else 0
        unidirectional.value = unidirectional.sent = 0

    # --- What the adapter asks ---

    @property
    def has_heard(self) -> bool:
        """Whether the peer has sent anything that we could read."""
        return self._state is not QuicConnectionState.FIRSTFLIGHT

    @property
    def is_over(self) -> bool:
        """Whether it sends and receives no more."""
        return self._state is QuicConnectionState.TERMINATED

    @property
    def round_trip_s(self) -> float | None:
        """The smoothed round trip, once measured."""
        return self._loss._rtt_smoothed if self._loss._rtt_initialized else None

    @property
    def is_waiting(self) -> bool:
        """Whether something was sent that the peer has to acknowledge and has not."""
        return self._loss.bytes_in_flight > 0

    @property
    def unacknowledged(self) -> int:
        """How many bytes were written on all streams and are not acknowledged."""
        return self._stream_table.unacknowledged

    @property
    def streams_openable(self) -> int:
        """How many unidirectional streams the peer lets us open now; opening more would end the connection."""
        return self._remote_max_streams_uni - self._local_next_stream_id_uni // 4

    def termination(self) -> Termination | None:
        """How it ended; None while it lives. Known as soon as the end is decided, not only after the last timer."""
        event: events.ConnectionTerminated | None = self._close_event
        if event is None:
            return None
        return Termination(
            error_code=event.error_code,
            reason=event.reason_phrase,
            by_application=event.frame_type is None,
            by_peer=self._state is QuicConnectionState.DRAINING,
            # aioquic says so in words only
            is_idle=self._state is not QuicConnectionState.DRAINING
            and event.frame_type is not None
            and event.error_code == QuicErrorCode.INTERNAL_ERROR
            and event.reason_phrase == "Idle timeout",
        )

    def peer_key(self) -> bytes | None:
        """The 32 bytes of the Ed25519 key in the peer's certificate, proven by TLS; None if there is no such key."""
        certificate = self.tls._peer_certificate
        key = certificate.public_key() if certificate is not None else None
        return key.public_bytes_raw() if isinstance(key, Ed25519PublicKey) else None

    @property
    def unsent_bytes_max(self) -> int:
        """How many unsent bytes of a stream are enough, so that it never runs dry: `UNSENT_S` at the present rate."""
        rate = self._loss.congestion_window / max(self._loss._rtt_smoothed, K_MICRO_SECOND)
        return max(UNSENT_BYTES_MIN, min(int(UNSENT_S * rate), UNSENT_BYTES_MAX))

    def unsent(self, stream_id: int) -> int:
        """How many bytes of a stream were written and never sent."""
        sender = self._sender(stream_id)
        return sender._buffer_stop - sender.highest_offset if sender is not None else 0

    # --- What the adapter does ---

    def open_windows(self) -> None:
        """The hello is done: let the peer open streams and send more."""
        self.credit.open()
        self._streams_allowed = STREAMS_UNREAD_MAX
        # The TLS buffers are needed no more, but for messages of at most a few bytes; they are a fifth of the memory.
        self._crypto_buffers = {
            epoch: Buffer(capacity=_AFTER_HANDSHAKE_BYTES) for epoch in self._crypto_buffers
        }

    def consume(self, stream_id: int, count: int) -> bool:
        """Note that bytes of a stream have left our buffers; whether the peer should be told soon."""
        self.credit.consumed += count
        stream = self._stream_table.look_up(stream_id)
        due = self.credit.is_due(self._local_max_data.value, self._delivered)
        if stream is None or stream.receiver.is_finished:
            self._consumed.pop(stream_id, None)
            return due
        consumed = self._consumed[stream_id] = self._consumed.get(stream_id, 0) + count
        if consumed + self.credit.window - stream.max_stream_data_local < self.credit.window // 2:
            return due
        self._stream_table.touched[stream] = None
        return True

    def release_stream(self, stream_id: int) -> None:
        """Note that one of the peer's streams was read to its end, so that it may open another."""
        self._streams_released += 1
        self._consumed.pop(stream_id, None)

    def write(self, stream_id: int, data: bytes, *, end: bool = False) -> None:
        """Queue bytes on a stream."""
        self.send_stream_data(stream_id, data, end)
        self._stream_table.unacknowledged += len(data)
        self._is_live |= self._stream_table.active.priorities.get(stream_id) == Priority.HIGH

    def open_stream(self, data: bytes, priority: Priority = Priority.NORMAL) -> int:
        """Open the next unidirectional stream with its first bytes; only while `streams_openable`."""
        stream_id = self.get_next_available_stream_id(is_unidirectional=True)
        self.prioritize(stream_id, priority)
        self.write(stream_id, data)
        return stream_id

    def prioritize(self, stream_id: int, priority: Priority) -> None:
        """Say how urgent what is sent on a stream is; without that, nothing is more urgent."""
        self._stream_table.active.priorities[stream_id] = priority

    def dial(self, now: float) -> None:
        """Begin the handshake, as a client."""
        self.connect(VIRTUAL_ADDRESS, now)

    def ping(self) -> None:
        """Ask for a sign of life."""
        self.send_ping(0)

    def end(self, error_code: int, reason: str) -> None:
        """Close the connection with an application's code; `datagrams` then has what tells the peer."""
        self.close(error_code=error_code, reason_phrase=reason)

    def free(self) -> None:
        """Give back what it holds of the node's receive budget."""
        self.credit.close()

    def forget_path(self) -> None:
        """Packets go another way from now on: what was learnt of the old one is worth nothing (RFC 9000, 9.4)."""
        recovery = self._loss
        control = create_congestion_control(
            self._configuration.congestion_control_algorithm,
            max_datagram_size=self._max_datagram_size,
        )
        control.bytes_in_flight = recovery._cc.bytes_in_flight
        recovery._cc = control
        recovery._pto_count = 0
        recovery._rtt_initialized = False
        recovery._rtt_min = math.inf

    def retry(self) -> None:
        """The way works again: what has not been acknowledged is tried again soon, however often it failed."""
        self._loss._pto_count = 0
        self.ping()

    def receive(self, datagrams: Sequence[bytes], now: float) -> int:
        """Take datagrams that came in a row; of those that bring nothing, only so many.

        Anybody can send what we cannot read, so that costs the peer nothing: beyond a bound we glance before we read.
        """
        self._now = now
        position = read_bytes = 0  # one that is not looked at is lost, as on any link
        while position < len(datagrams) and self._idle_datagrams.refill(now) >= 1:
            is_flooded = self._unreadable_datagrams.refill(now) < 1
            if is_flooded and not is_readable(self, datagrams[position]):
                position += 1
                continue
            packets_read, progress = self._packets_read, self._progress()
            count = self._receive(datagrams[position:], now)
            if self._packets_read == packets_read:
                self._unreadable_datagrams.take(now)
            else:
                read_bytes += sum(map(len, datagrams[position : position + count]))
                if self._progress() == progress:
                    self._idle_datagrams.take(now)
            position += count
        return read_bytes

    def _progress(self) -> tuple[int, int, int]:
        """Changes with whatever a datagram is good for: events, data, or that something of ours has arrived."""
        return len(self._events), self._local_max_data.used, self._loss.bytes_in_flight

    def _receive(self, datagrams: Sequence[bytes], now: float) -> int:
        """Take the first, and those after it that are nothing but the next bytes of a stream as well; give how many."""
        if not self._handshake_confirmed:
            self.receive_datagram(datagrams[0], VIRTUAL_ADDRESS, now)
            return 1
        space = self._spaces[tls.Epoch.ONE_RTT]
        due, space.ack_at = space.ack_at, None
        largest = space.largest_received_packet
        count = read_row(self, self._stream_table.look_up, datagrams, now)
        if not count:
            self.receive_datagram(datagrams[0], VIRTUAL_ADDRESS, now)
            count = 1
        else:
            self._packets_read += count
        if space.ack_at is None:
            space.ack_at = due
            return count
        self._packets_unacknowledged += count
        in_order = space.largest_received_packet == largest + count
        if self._packets_unacknowledged >= ACK_PACKETS_MAX or not in_order:
            space.ack_at = now - TIMER_SLACK_S
        elif due is not None:
            space.ack_at = min(due, space.ack_at)
        return count

    def datagrams(self, now: float) -> list[bytes]:
        """Take what is to be sent now."""
        self._now = now
        self._are_limits_written = False
        if self._is_live:
            self._is_live = False
            if isinstance(self._loss._cc, CongestionControl):
                self._loss._cc.note_live(now)
        if not self._network_paths:
            return []
        if self._handshake_confirmed and not self._close_pending:
            space = self._spaces[tls.Epoch.ONE_RTT]
            if space.ack_at is not None and self._stream_table.waiting():
                space.ack_at = now - TIMER_SLACK_S  # data goes out: this travels with it
        return [data for data, _ in self.datagrams_to_send(now)]

    def take_event(self) -> EngineEvent | None:
        """Take what has happened next; what has arrived on a stream in a row comes in one piece."""
        while (event := self.next_event()) is not None:
            if isinstance(event, events.StreamDataReceived):
                return self._join(event)
            translate = TRANSLATED.get(type(event))
            if translate is not None:
                return translate(event)
        return None

    def _join(self, event: events.StreamDataReceived) -> StreamData:
        parts, is_end = [event.data], event.end_stream
        while not is_end and self._events:
            following = self._events[0]
            if (
                not isinstance(following, events.StreamDataReceived)
                or following.stream_id != event.stream_id
            ):
                break
            self._events.popleft()
            parts.append(following.data)
            is_end = following.end_stream
        data = b"".join(parts)
        self._delivered += len(data)
        return StreamData(event.stream_id, data, is_end)

    def timer(self) -> float | None:
        """When `fire` is due."""
        return self.get_timer() if self._network_paths else None

    def fire(self, now: float) -> None:
        """Do what is due; `now` is past it, not exactly it (`TIMER_SLACK_S`)."""
        self.handle_timer(now)

    # --- What aioquic calls ---

    def _initialize(self, peer_cid: bytes) -> None:
        super()._initialize(peer_cid)
        self.tls._supported_groups = [tls.Group.X25519]

    @property  # type: ignore[override] # it has all that aioquic uses of a list
    def _streams_queue(self) -> ServiceOrder:
        return self._stream_table.active

    @_streams_queue.setter
    def _streams_queue(self, streams: Iterable[QuicStream]) -> None:
        self._stream_table.keep_active(streams)

    def _payload_received(
        self,
        context: QuicReceiveContext,
        plain: bytes,
        crypto_frame_required: bool = False,  # noqa: FBT001, FBT002 - aioquic's signature
    ) -> tuple[bool, bool]:
        self._packets_read += 1
        return super()._payload_received(context, plain, crypto_frame_required)

    def _on_max_stream_data_delivery(self, delivery: QuicDeliveryState, stream: QuicStream) -> None:
        super()._on_max_stream_data_delivery(delivery, stream)
        self._stream_table.rouse(stream)

    def _write_application(
        self, builder: QuicPacketBuilder, network_path: QuicNetworkPath, now: float
    ) -> None:
        if self._handshake_confirmed and network_path.is_validated and self._has_bulk:
            if not self._has_only_data:
                with one_packet(builder):
                    super()._write_application(builder, network_path, now)
            if self._has_only_data:
                write_row(self, self._stream_table.waiting()[0], builder, now)
        super()._write_application(builder, network_path, now)

    def _write_ack_frame(
        self, builder: QuicPacketBuilder, space: QuicPacketSpace, now: float
    ) -> None:
        super()._write_ack_frame(builder=builder, space=space, now=now)
        self._packets_unacknowledged = 0

    def _write_stream_limits(
        self,
        builder: QuicPacketBuilder,
        space: QuicPacketSpace,  # noqa: ARG002 - aioquic's signature
        stream: QuicStream,
    ) -> None:
        if self._raise_limit(stream):
            buffer = builder.start_frame(
                QuicFrameType.MAX_STREAM_DATA,
                capacity=MAX_STREAM_DATA_FRAME_CAPACITY,
                handler=self._on_max_stream_data_delivery,
                handler_args=(stream,),
            )
            buffer.push_uint_var(stream.stream_id or 0)
            buffer.push_uint_var(stream.max_stream_data_local)
            stream.max_stream_data_local_sent = stream.max_stream_data_local

    def _raise_limit(self, stream: QuicStream) -> bool:
        """Let the limit of a stream follow what is consumed; whether the peer has to be told."""
        if not stream.max_stream_data_local or stream.receiver.is_finished:
            return False
        window = self.credit.window
        limit = self._consumed.get(stream.stream_id or 0, 0) + window
        if limit - stream.max_stream_data_local >= window // 2:
            stream.max_stream_data_local = limit
        return stream.max_stream_data_local_sent != stream.max_stream_data_local

    def _write_connection_limits(self, builder: QuicPacketBuilder, space: QuicPacketSpace) -> None:
        if self._are_limits_written:
            return
        limit = self._local_max_data
        limit.value = self.credit.next_limit(
            limit.value,
            delivered=self._delivered,
            now=self._now,
            round_trip_s=self._loss._rtt_smoothed,
        )
        self._local_max_streams_uni.value = self._streams_released + self._streams_allowed
        self._local_max_streams_bidi.value = self._local_max_streams_bidi.sent
        received, limit.used = limit.used, 0  # aioquic would double the limit otherwise
        try:
            super()._write_connection_limits(builder=builder, space=space)
            self._are_limits_written = True
        finally:
            limit.used = received

    @property
    def _has_bulk(self) -> bool:
        """Whether some stream has enough to send for a row of packets; else looking for one is not worth it."""
        row_bytes = ROW_PACKETS_MIN * self._max_datagram_size
        return any(
            each.sender._buffer_stop - each.sender.highest_offset >= row_bytes
            for each in self._stream_table.waiting()
        )

    @property
    def _has_only_data(self) -> bool:
        """Whether there is nothing to send but what waits on one stream."""
        whole = self._local_max_data
        return (
            len(self._stream_table.waiting()) == 1
            and self._spaces[tls.Epoch.ONE_RTT].ack_at is None
            and whole.value == whole.sent
            and not self.credit.is_due(whole.value, self._delivered)
            and not any(map(self._raise_limit, self._stream_table.touched))
        )

    def _sender(self, stream_id: int) -> QuicStreamSender | None:
        stream = self._stream_table.look_up(stream_id)
        return stream.sender if stream is not None else None
