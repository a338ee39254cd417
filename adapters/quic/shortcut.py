"""Bulk data on a single stream, past the parts of aioquic that look after everything else, in half the time.

A row of packets that are nothing but the next bytes of a stream is read and written here, with the same effect, to the
byte, as if aioquic did it. Whatever is in any way special is left to aioquic: other frames, gaps, ends of streams,
limits that are passed, key updates, packets that came before. So is the last packet that may go, in which aioquic says
what else there is to say; a ping, for instance, goes out with the row, but not in its first packet.
"""

# ruff: noqa: SLF001 - like `engine`, it touches what aioquic keeps to itself

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from aioquic import tls
from aioquic._crypto import CryptoError
from aioquic.buffer import encode_uint_var
from aioquic.quic.connection import QuicConnection, QuicConnectionState
from aioquic.quic.crypto import CryptoPair
from aioquic.quic.events import StreamDataReceived
from aioquic.quic.packet import QuicFrameType, QuicPacketType, decode_packet_number
from aioquic.quic.packet_builder import QuicPacketBuilder, QuicPacketBuilderStop, QuicSentPacket
from aioquic.quic.recovery import MAX_ACK_RANGES, QuicPacketPacer
from aioquic.quic.stream import QuicStream

LookUp = Callable[[int], QuicStream | None]

DATAGRAM_BYTES_MIN: Final = 1_000
"""Smaller ones are hardly bulk; most carry other frames too, and would be decrypted twice."""
_TAG_BYTES: Final = 16
_SAMPLE_END: Final = 4 + 16
"""How far from the packet number on header protection looks (RFC 9001, 5.4.2)."""
_NUMBER_BYTES: Final = 2
_FORM: Final = 0xC0
_SHORT_HEADER: Final = 0x40
_SPIN_BIT: Final = 0x20
_RESERVED_BITS: Final = 0x18
_KEY_PHASE: Final = 0x04
_HAS_OFFSET: Final = 0x04
_HAS_LENGTH: Final = 0x02
_VARINT_MASKS: Final = (0x3F, 0x3FFF, 0x3FFF_FFFF, 0x3FFF_FFFF_FFFF_FFFF)


def read_row(
    connection: QuicConnection, look_up: LookUp, datagrams: Iterable[bytes], now: float
) -> int:
    """Take datagrams as long as each is nothing but the next bytes of one stream.

    Args:
        connection: The connection, whose handshake is confirmed.
        look_up: Finds one of its open streams, without any effect.
        datagrams: What came in a row.
        now: When it came.

    Returns:
        How many were taken; the next one is for aioquic to look at.
    """
    count = 0
    if _is_steady(connection):
        row = _Row(connection, look_up, connection.host_cid)
        for data in datagrams:
            if not row.take(data):
                break
            count += 1
        if count:
            row.finish(count, now)
    return count


def is_readable(connection: QuicConnection, data: bytes) -> bool:
    """Whether a datagram is a packet under the present keys that is new; without any effect.

    A tenth of what aioquic does to refuse one: that makes keys for each that might begin a new phase of them.
    """
    name = data[1 : 1 + len(connection.host_cid)]
    return (
        connection._cryptos[tls.Epoch.ONE_RTT].recv.is_valid()
        and len(data) >= 1 + len(name) + _SAMPLE_END
        and data[0] & _FORM == _SHORT_HEADER
        and any(each.cid == name for each in connection._host_cids)
        and _Row(connection, lambda _: None, name).open(data) is not None
    )


def _is_steady(connection: QuicConnection) -> bool:
    paths = connection._network_paths
    return (
        connection._state is QuicConnectionState.CONNECTED
        and not connection._close_pending
        and len(paths) == 1
        and paths[0].is_validated
        and connection._quic_logger is None
        and any(each.cid == connection.host_cid for each in connection._host_cids)
        and not connection._cryptos[tls.Epoch.ZERO_RTT].recv.is_valid()
    )


class _Row:
    """Packets with successive numbers and successive bytes of one stream, which have an effect in the end, at once."""

    __slots__ = (
        "_connection", "_decrypt", "_first_byte", "_key_phase", "_limit", "_look_up", "_name", "_next_number",
        "_offset", "_parts", "_space", "_stream", "_stream_id", "_unmask",
    )  # fmt: skip

    def __init__(self, connection: QuicConnection, look_up: LookUp, name: bytes) -> None:
        self._connection = connection
        self._look_up = look_up
        self._name = name
        keys = connection._cryptos[tls.Epoch.ONE_RTT].recv
        assert keys.hp is not None
        assert keys.aead is not None
        self._unmask, self._decrypt = keys.hp._mask, keys.aead.decrypt
        self._key_phase = keys.key_phase
        self._space = connection._spaces[tls.Epoch.ONE_RTT]
        self._next_number: int | None = None
        self._first_byte = 0
        self._stream: QuicStream | None = None
        self._stream_id = 0
        self._offset = self._limit = 0
        self._parts: list[bytes] = []

    def take(self, data: bytes) -> bool:
        """Add a datagram; False, and no effect, where it does not belong here."""
        name = self._name
        if (
            len(data) < DATAGRAM_BYTES_MIN
            or data[0] & _FORM != _SHORT_HEADER
            or not data.startswith(name, 1)
        ):
            return False
        opened = self.open(data)
        if opened is None:
            return False
        first, number, payload = opened
        if not self._take_frame(payload):
            return False
        self._next_number, self._first_byte = number + 1, first
        return True

    def open(self, data: bytes) -> tuple[int, int, bytes] | None:
        """Decrypt a datagram: its first byte, its number and its payload; None where it is not the next packet."""
        name = self._name
        # Header protection: RFC 9001, 5.4.
        at = 1 + len(name)
        mask = self._unmask(data[at + 4 : at + 20])
        first = data[0] ^ (mask[0] & 0x1F)
        if first & _RESERVED_BITS or (first & _KEY_PHASE) >> 2 != self._key_phase:
            return None
        length = (first & 0x03) + 1
        end = at + length
        sent = int.from_bytes(data[at:end], "big") ^ int.from_bytes(mask[1 : 1 + length], "big")
        expected = self._next_number
        number = decode_packet_number(
            sent, length * 8, self._space.expected_packet_number if expected is None else expected
        )
        is_next = expected is None or number == expected
        if not is_next or number in self._space.received_packets:
            return None
        header = b"%c%b%b" % (first, name, sent.to_bytes(length, "big"))
        try:
            return first, number, self._decrypt(data[end:], header, number)
        except CryptoError:
            return None

    def _take_frame(self, payload: bytes) -> bool:
        """Add a payload, if it is one STREAM frame (RFC 9000, 19.8) with the next bytes."""
        kind = payload[0]
        if kind & ~(_HAS_OFFSET | _HAS_LENGTH) != QuicFrameType.STREAM_BASE.value:
            return False
        stream_id, position = _read_number(payload, 1)
        offset, position = _read_number(payload, position) if kind & _HAS_OFFSET else (0, position)
        if kind & _HAS_LENGTH:
            length, position = _read_number(payload, position)
            if position + length != len(payload):
                return False
        if self._stream is None and not self._begin(stream_id):
            return False
        data = payload[position:]
        end = offset + len(data)
        if stream_id != self._stream_id or offset != self._offset or end > self._limit:
            return False
        self._parts.append(data)
        self._offset = end
        return True

    def _begin(self, stream_id: int) -> bool:
        """Find the stream; False where the next bytes of it are not simply those that come next."""
        stream = self._look_up(stream_id)
        if stream is None:
            return False
        receiver, whole = stream.receiver, self._connection._local_max_data
        if receiver.is_finished or receiver._final_size is not None or receiver._buffer:
            return False
        self._stream, self._stream_id, self._offset = stream, stream_id, receiver._buffer_start
        self._limit = min(stream.max_stream_data_local, self._offset + whole.value - whole.used)
        return True

    def finish(self, count: int, now: float) -> None:
        """Let so many packets that were taken have the effect that they have in aioquic, too."""
        connection, space, stream = self._connection, self._space, self._stream
        assert stream is not None
        assert self._next_number is not None
        receiver, last = stream.receiver, self._next_number - 1
        connection._streams.get(self._stream_id)  # it may have something to say
        connection._local_max_data.used += self._offset - receiver._buffer_start
        receiver._buffer_start = receiver.highest_offset = self._offset
        connection._events.append(
            StreamDataReceived(
                data=b"".join(self._parts), end_stream=False, stream_id=self._stream_id
            )
        )
        space.expected_packet_number = max(space.expected_packet_number, self._next_number)
        if last > connection._spin_highest_pn:
            spin_bit = bool(self._first_byte & _SPIN_BIT)
            connection._spin_bit = spin_bit != connection._is_client
            connection._spin_highest_pn = last
        connection._close_at = now + connection._idle_timeout()
        connection._ack_eliciting_sent_since_receipt = False
        if last > space.largest_received_packet:
            space.largest_received_packet = last
            space.largest_received_time = now
        space.ack_queue.add(last + 1 - count, last + 1)
        for number in range(last + 1 - count, last + 1):
            space.received_packets.add(number)
        if len(space.ack_queue) > MAX_ACK_RANGES:
            space.ack_queue.shift()
        if space.ack_at is None:
            space.ack_at = now + connection._ack_delay


def _read_number(data: bytes, position: int) -> tuple[int, int]:
    """Read a variable-length integer (RFC 9000, 16); a bulk payload is longer than all that begin it."""
    size = data[position] >> 6
    end = position + (1 << size)
    return int.from_bytes(data[position:end], "big") & _VARINT_MASKS[size], end


class _EnoughError(QuicPacketBuilderStop):
    """The one packet is written; what else stops aioquic stops it for now."""


@contextmanager
def one_packet(builder: QuicPacketBuilder) -> Iterator[None]:
    """Let aioquic write one packet and no more: with that it has said what there is to say besides bulk."""
    start_packet, is_begun = builder.start_packet, False

    def start_first(packet_type: QuicPacketType, crypto: CryptoPair) -> None:
        nonlocal is_begun
        if is_begun:
            raise _EnoughError
        is_begun = True
        start_packet(packet_type, crypto)

    builder.start_packet = start_first  # type: ignore[method-assign]
    try:
        with suppress(_EnoughError):
            yield
    finally:
        del builder.start_packet
        if builder._packet is not None:
            builder._end_packet()


def write_row(
    connection: QuicConnection, stream: QuicStream, builder: QuicPacketBuilder, now: float
) -> None:
    """Write whole packets with what is next on a stream, as many as may go now but for the last.

    Args:
        connection: The connection, whose handshake is confirmed and whose path is validated.
        stream: The one stream that has something to send.
        builder: Where to; no packet in it is begun.
        now: The present time.
    """
    sender, pacer = stream.sender, connection._loss._pacer
    if stream.is_blocked or not len(sender._pending):
        return
    pending = sender._pending[0]
    start, highest, size = pending.start, sender.highest_offset, connection._max_datagram_size
    limit = min(
        highest + connection._remote_max_data - connection._remote_max_data_used,
        stream.max_stream_data_remote,
        pending.stop,
    )
    flight = (builder.max_flight_bytes or 0) - builder._flight_bytes
    packets = min(limit - start, flight) // size
    crypto, stop = connection._cryptos[tls.Epoch.ONE_RTT], start
    for _ in range(packets - 1):
        if not _has_room_for_two(pacer, now):
            break
        stop = _write_packet(builder, crypto, stream, stop, size, connection._spin_bit)
        pacer.update_after_send(now)
    if stop > start:
        builder._datagram_init = True  # what may still go is less now
        sender._pending.subtract(start, stop)
        sender.highest_offset = max(highest, stop)
        connection._remote_max_data_used += sender.highest_offset - highest


def _has_room_for_two(pacer: QuicPacketPacer, now: float) -> bool:
    """Whether one packet may go now, and another after it."""
    if pacer.packet_time is None:
        return True
    pacer.update_bucket(now=now)
    return pacer.bucket_time > pacer.packet_time


def _write_packet(
    builder: QuicPacketBuilder,
    crypto: CryptoPair,
    stream: QuicStream,
    start: int,
    size: int,
    spin_bit: bool,  # noqa: FBT001 - as in the packet
) -> int:
    """Write a packet of a size with the bytes of a stream from an offset on; give where they end."""
    sender, number = stream.sender, builder._packet_number
    first = _SHORT_HEADER | spin_bit << 5 | crypto.key_phase << 2 | (_NUMBER_BYTES - 1)
    shown = (number & 0xFFFF).to_bytes(_NUMBER_BYTES, "big")
    header = b"%c%b%b" % (first, builder._peer_cid, shown)
    kind = QuicFrameType.STREAM_BASE | _HAS_LENGTH | (_HAS_OFFSET if start else 0)
    place = encode_uint_var(stream.stream_id or 0) + (encode_uint_var(start) if start else b"")
    length = size - len(header) - 1 - len(place) - 2 - _TAG_BYTES
    stop, at = start + length, start - sender._buffer_start
    head = b"%c%b%b" % (kind, place, (length | 0x4000).to_bytes(2, "big"))
    payload = b"".join((head, sender._buffer[at : at + length]))
    datagram = crypto.encrypt_packet(header, payload, number)
    packet = QuicSentPacket(
        epoch=tls.Epoch.ONE_RTT,
        in_flight=True,
        is_ack_eliciting=True,
        is_crypto_packet=False,
        packet_number=number,
        packet_type=QuicPacketType.ONE_RTT,
        sent_bytes=len(datagram),
        delivery_handlers=[(sender.on_data_delivery, (start, stop, False))],
    )
    builder._datagrams.append(datagram)
    builder._packets.append(packet)
    builder._packet_number += 1
    builder._flight_bytes += len(datagram)
    builder._total_bytes += len(datagram)
    return stop
