"""A small TCP: reliable and in order over packets that get lost, with slow start and nothing fancy.

It is there for relays, rendezvous servers and the like, whose behaviour behind NAT boxes matters, not their speed.
"""

import asyncio
import errno
from abc import abstractmethod
from enum import Enum
from typing import Final, Protocol

from adapters.simulation.internet.host import Host
from adapters.simulation.internet.packet import Endpoint, Packet, TcpSegment
from adapters.simulation.internet.packet import Protocol as Transport

SEGMENT_BYTES: Final = 1_400
INITIAL_WINDOW_SEGMENTS: Final = 10
WINDOW_SEGMENTS_MAX: Final = 256
RECEIVE_BYTES_MAX: Final = 512 * 1024
TIMEOUT_S_MIN: Final = 0.2
TIMEOUT_S_INITIAL: Final = 1.0
TIMEOUT_S_MAX: Final = 60.0
TRIES_MAX: Final = 15
CONNECT_TRIES_MAX: Final = 6
"""Both as in Linux."""
LINGER_S: Final = 60.0
"""How long a closed connection waits for the peer's last word."""
TIME_WAIT_S: Final = 10.0
"""How long a connection that is over answers a peer that does not know yet."""
DUPLICATES_MAX: Final = 3


class State(Enum):
    """How far a connection has come."""

    NEW = "new"
    SYN_SENT = "syn sent"
    SYN_RECEIVED = "syn received"
    OPEN = "open"
    OVER = "over"


class TcpUser(Protocol):
    """Who talks over a connection."""

    @abstractmethod
    def tcp_opened(self) -> None:
        """The connection is there."""

    @abstractmethod
    def tcp_received(self, data: bytes) -> None:
        """Bytes have come, in order."""

    @abstractmethod
    def tcp_finished(self) -> None:
        """The peer sends nothing more."""

    @abstractmethod
    def tcp_drained(self, waiting_bytes: int) -> None:
        """The peer has acknowledged something; so many bytes still wait."""

    @abstractmethod
    def tcp_lost(self, error: OSError) -> None:
        """The connection is lost, or never came to be."""

    @abstractmethod
    def tcp_died(self) -> None:
        """The host has crashed: nothing will be told any more."""


class TcpConnection:
    """One end of a connection. Sequence numbers: 0 is the SYN, bytes follow from 1, the FIN comes after the last.

    Args:
        host: Whose it is.
        user: Who talks over it.
        bound: Our address and port; port 0 takes a free one.
        remote: The other end.
    """

    def __init__(self, host: Host, user: TcpUser, *, bound: Endpoint, remote: Endpoint) -> None:
        self.local = bound
        self.remote = remote
        self.is_paused = False
        self._host = host
        self._loop = host.internet.loop
        self._user = user
        self._state = State.NEW
        self._owns_port = False
        self._linger: asyncio.TimerHandle | None = None
        self._is_closed = False
        # What we send: from `_acknowledged` on, of which what is before `_next` is on its way.
        self._unacknowledged = bytearray()
        self._written_bytes = 0
        self._acknowledged = 0
        self._next = 0
        self._is_finishing = False
        self._window = float(INITIAL_WINDOW_SEGMENTS)
        self._duplicates = 0
        self._recovered_at = 0
        self._timer: asyncio.TimerHandle | None = None
        self._timeout_s = TIMEOUT_S_INITIAL
        self._round_trip_s: float | None = None
        self._timed: tuple[int, float] | None = None
        self._tries = 0
        # What we receive: up to `_expected` it has been put into `_ready`.
        self._expected = 0
        self._early: dict[int, bytes] = {}
        self._ready = bytearray()
        self._end: int | None = None
        self._is_end_told = False

    # --- What its user does ---

    def connect(self) -> None:
        """Send the SYN."""
        address, port = self.local
        self.local = (address, self._host.bind(Transport.TCP, address, port, self))
        self._owns_port = True
        self._start(State.SYN_SENT)

    def accept(self) -> None:
        """Answer a SYN."""
        self._expected = 1
        self._start(State.SYN_RECEIVED)

    def _start(self, state: State) -> None:
        self._host.add_stream(self.local, self.remote, self)
        self._state = state
        self._next = 1
        self._send_syn()
        self._set_timer()

    @property
    def waiting_bytes(self) -> int:
        """How many bytes have been written and not been acknowledged."""
        return len(self._unacknowledged)

    def write(self, data: bytes) -> None:
        """Send bytes."""
        if not self._is_finishing:
            self._unacknowledged += data
            self._written_bytes += len(data)
            self._push()

    def finish(self) -> None:
        """Send nothing more after what has been written."""
        if not self._is_finishing:
            self._is_finishing = True
            self._push()

    def close(self) -> None:
        """Send what has been written, then nothing more, and take nothing more."""
        self._is_closed = True
        self.finish()
        if self._state is not State.OVER:
            self._linger = self._loop.call_later(LINGER_S, self._finish)
        self._end_if_done()

    def reset(self) -> None:
        """End it at once; the peer is told."""
        if self._state in (State.SYN_RECEIVED, State.OPEN):
            self._send(TcpSegment(sequence=self._next, is_reset=True))
        self._finish()

    def pause(self) -> None:
        """Keep what comes, up to a bound."""
        self.is_paused = True

    def resume(self) -> None:
        """Give what has come."""
        if self.is_paused:
            self.is_paused = False
            self._loop.call_soon(self._hand_over)

    def die(self) -> None:
        """The host has crashed."""
        self._stop()
        self._user.tcp_died()

    # --- What arrives ---

    def receive(self, packet: Packet) -> None:
        """Take a packet."""
        segment = packet.segment
        if segment is None:
            return
        if self._state is State.OVER:
            if segment.is_fin and not segment.is_reset:
                self._acknowledge()  # our last acknowledgement was lost
            return
        if segment.is_reset:
            self._take_reset()
            return
        if segment.is_syn:
            self._take_syn(segment)
        if segment.acknowledgement is not None:
            self._take_acknowledgement(segment.acknowledgement, carries=bool(packet.payload))
        if self._state is State.OPEN and (packet.payload or segment.is_fin):
            self._take_data(segment, packet.payload)

    def _take_reset(self) -> None:
        was_refused = self._state is State.SYN_SENT
        self._lose(
            ConnectionRefusedError(errno.ECONNREFUSED, f"nobody listens at {self.remote}")
            if was_refused
            else ConnectionResetError(errno.ECONNRESET, "the peer has reset the connection")
        )

    def _take_syn(self, segment: TcpSegment) -> None:
        if self._state is State.SYN_SENT and segment.acknowledgement is not None:
            self._expected = 1
        elif self._state is State.SYN_RECEIVED:
            self._send_syn()
        elif self._state is State.OPEN:
            self._acknowledge()

    def _take_acknowledgement(self, number: int, *, carries: bool) -> None:
        self._tries = 0
        if number > self._acknowledged:
            self._advance(number)
        elif number == self._acknowledged < self._next and not carries:
            self._duplicates += 1
            if self._duplicates == DUPLICATES_MAX and number >= self._recovered_at:
                self._shrink(self._window / 2)
                self._resend_first()
        self._push()
        self._end_if_done()

    def _advance(self, number: int) -> None:
        self._duplicates = 0
        is_opening = self._acknowledged == 0
        first = max(self._acknowledged, 1)
        del self._unacknowledged[: max(0, number - first)]
        self._acknowledged = number
        self._next = max(self._next, number)
        self._window = min(self._window + 1, WINDOW_SEGMENTS_MAX)
        self._measure(number)
        if self._acknowledged < self._recovered_at:
            self._resend_first()  # several were lost at once: the next hole
        self._set_timer()
        if is_opening and self._state in (State.SYN_SENT, State.SYN_RECEIVED):
            if self._state is State.SYN_SENT:
                self._acknowledge()
            self._state = State.OPEN
            self._user.tcp_opened()
        self._user.tcp_drained(self.waiting_bytes)

    def _measure(self, number: int) -> None:
        if self._timed is not None and number >= self._timed[0]:
            sample = self._loop.time() - self._timed[1]
            smoothed = self._round_trip_s
            self._round_trip_s = sample if smoothed is None else smoothed + (sample - smoothed) / 8
            self._timed = None
        known = self._round_trip_s
        # What has come through ends the back-off, though no round trip could be measured yet (RFC 6298, 5).
        self._timeout_s = TIMEOUT_S_INITIAL if known is None else max(TIMEOUT_S_MIN, 2 * known)

    def _take_data(self, segment: TcpSegment, data: bytes) -> None:
        if self._is_closed and segment.sequence + len(data) > self._expected and data:
            self.reset()
            return
        if segment.is_fin:
            self._end = segment.sequence + len(data)
        is_room = len(self._ready) + len(data) <= RECEIVE_BYTES_MAX
        if data and segment.sequence >= self._expected and is_room:
            self._early[segment.sequence] = data
        while (piece := self._early.pop(self._expected, None)) is not None:
            self._ready += piece
            self._expected += len(piece)
        self._early = {at: piece for at, piece in self._early.items() if at > self._expected}
        if self._expected == self._end:
            self._expected += 1
        self._acknowledge()
        self._hand_over()

    def _hand_over(self) -> None:
        if self.is_paused or self._is_closed or self._state is State.OVER:
            self._end_if_done()
            return
        if self._ready:
            data, self._ready = bytes(self._ready), bytearray()
            self._user.tcp_received(data)
        has_ended = self._end is not None and self._expected > self._end
        if has_ended and not self._is_end_told and not self._ready:
            self._is_end_told = True
            self._user.tcp_finished()
        self._end_if_done()

    # --- What is sent ---

    @property
    def _last(self) -> int:
        """The number after the last byte that was written, where the FIN stands."""
        return 1 + self._written_bytes

    def _push(self) -> None:
        """Send what the window lets."""
        if self._state is not State.OPEN:
            return
        limit = self._acknowledged + int(self._window) * SEGMENT_BYTES
        while self._next < min(self._last, limit):
            self._next += self._send_data(self._next)
        if self._is_finishing and self._next == self._last:
            self._send_fin()
            self._next += 1
        if self._timer is None:
            self._set_timer()

    def _send_data(self, sequence: int) -> int:
        start = sequence - max(self._acknowledged, 1)
        data = bytes(self._unacknowledged[start : start + SEGMENT_BYTES])
        if self._timed is None:
            self._timed = (sequence + len(data), self._loop.time())
        self._send(TcpSegment(sequence=sequence, acknowledgement=self._expected), data)
        return len(data)

    def _send_fin(self) -> None:
        self._send(TcpSegment(sequence=self._last, acknowledgement=self._expected, is_fin=True))

    def _send_syn(self) -> None:
        is_answer = self._state is State.SYN_RECEIVED
        self._send(TcpSegment(sequence=0, acknowledgement=1 if is_answer else None, is_syn=True))

    def _acknowledge(self) -> None:
        self._send(TcpSegment(sequence=self._next, acknowledgement=self._expected))

    def _send(self, segment: TcpSegment, data: bytes = b"") -> None:
        self._host.send(
            Packet(
                protocol=Transport.TCP,
                source=self.local,
                destination=self.remote,
                payload=data,
                origin=self._host.name,
                segment=segment,
            )
        )

    # --- Loss ---

    def _shrink(self, window: float) -> None:
        self._window = max(window, 2.0)
        self._recovered_at = self._next
        self._timed = None  # what is sent twice says nothing about the round trip

    def _resend_first(self) -> None:
        if self._acknowledged == 0:
            self._send_syn()
        elif self._unacknowledged:
            self._send_data(self._acknowledged)
            self._timed = None
        elif self._is_finishing:
            self._send_fin()

    def _set_timer(self) -> None:
        self._stop_timer()
        if self._acknowledged < self._next and self._state is not State.OVER:
            self._timer = self._loop.call_later(self._timeout_s, self._time_out)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _time_out(self) -> None:
        self._timer = None
        self._tries += 1
        if self._tries > (TRIES_MAX if self._state is State.OPEN else CONNECT_TRIES_MAX):
            self._lose(TimeoutError(errno.ETIMEDOUT, f"{self.remote} does not answer"))
            return
        self._timeout_s = min(2 * self._timeout_s, TIMEOUT_S_MAX)
        self._shrink(1.0)
        self._resend_first()
        self._set_timer()

    # --- The end ---

    def _lose(self, error: OSError) -> None:
        self._finish()
        self._user.tcp_lost(error)

    def _end_if_done(self) -> None:
        """Forget the connection once both sides have said everything, and know it."""
        is_all_sent = self._is_finishing and self._acknowledged > self._last
        has_ended = self._end is not None and self._expected > self._end
        if is_all_sent and has_ended and self._state is not State.OVER:
            self._stop()
            self._linger = self._loop.call_later(TIME_WAIT_S, self._finish)

    def _finish(self) -> None:
        self._stop()
        self._host.remove_stream(self.local, self.remote)
        if self._owns_port:
            self._host.release(Transport.TCP, self.local, self)

    def _stop(self) -> None:
        self._stop_timer()
        if self._linger is not None:
            self._linger.cancel()
        self._state = State.OVER
