"""The channels of one connection on the streams of one engine.

At most `CHANNELS_OPEN_MAX` streams are open each way; the one that was used least recently gives way, and one that was
not used for `STREAM_UNUSED_S` ends. A channel goes on with another stream when it is used again. No stream is ever
opened past the peer's limit: frames wait here instead. The invariant: every queue is bounded, by the watermarks on the
way out and by receive credit on the way in.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable

from adapters.quic.boundary import CONTROL_STREAM, QuicEngine
from adapters.quic.stream import Inbox, Incoming, Outbox
from domain.connectivity.bucket import TokenBucket
from domain.connectivity.close_codes import CloseCode
from domain.connectivity.framing import StreamHeader, encode_stream_header, take_stream_header
from domain.errors import ConnectionLostError, PeerError
from domain.limits import (
    CHANNELS_OPEN_MAX,
    CHANNELS_UNASKED_MAX,
    CONNECTION_UNACKNOWLEDGED_BYTES_MAX,
    HELLO_BYTES_MAX,
    STREAM_UNUSED_S,
    STREAMS_BURST,
    STREAMS_PER_S,
)
from domain.ports.network import Priority

_UNIDIRECTIONAL = 2
RELEASE_S = 0.1
"""Streams that a peer has to wait for come to it in portions."""


class Multiplexer:
    """Distributes what arrives to the channels, and what they send to streams.

    Args:
        engine: The connection's engine.
        schedule: Called whenever the engine has something to send.
        loop: Whose time says which streams are unused.
    """

    def __init__(
        self, engine: QuicEngine, schedule: Callable[[], None], loop: asyncio.AbstractEventLoop
    ) -> None:
        self._engine = engine
        self._schedule = schedule
        self._loop = loop
        self._sweep: asyncio.TimerHandle | None = None
        self._incoming: dict[int, Incoming] = {}
        self._inboxes: dict[bytes, Inbox] = {}
        self._outboxes: dict[bytes, Outbox] = {}
        self._open: OrderedDict[bytes, Outbox] = OrderedDict()
        self._parked: dict[bytes, Outbox] = {}
        self._waiting: dict[bytes, Outbox] = {}
        self._unasked_count = 0
        self._streams_bucket = TokenBucket(rate=STREAMS_PER_S, burst=STREAMS_BURST, now=loop.time())
        self._to_release: deque[int] = deque()
        self._release_timer: asyncio.TimerHandle | None = None
        self._unreleased: list[tuple[Inbox, int]] = []
        self.messages_sent = 0
        """Messages that were handed over on its channels."""
        self.messages_received = 0
        """Messages that were taken from them."""
        self._lost: ConnectionLostError | None = None
        self.control_inbox = Inbox(self._consume, HELLO_BYTES_MAX)
        self.control_inbox.is_asked = True
        self.control_outbox = Outbox(b"", CONTROL_STREAM)

    # --- Arriving ---

    def receive(self, stream_id: int, data: bytes, *, is_end: bool) -> None:
        """Take what has arrived on a stream.

        Raises:
            PeerError: It breaks the protocol.
        """
        if stream_id == CONTROL_STREAM:
            if is_end:
                raise PeerError(CloseCode.PROTOCOL_ERROR, "the control stream was ended")
            self.control_inbox.feed(stream_id, data)
            return
        if not stream_id & _UNIDIRECTIONAL:
            raise PeerError(CloseCode.PROTOCOL_ERROR, "a second bidirectional stream")
        stream = self._incoming.get(stream_id)
        if stream is None:
            stream = self._incoming[stream_id] = Incoming(stream_id)
        stream.is_ended |= is_end
        inbox = stream.inbox
        if inbox is None:
            stream.buffer += data
            inbox = self._read_header(stream)
        elif data:
            inbox.receive(stream, data)
        if inbox is not None:
            self._advance(inbox)
        if is_end:
            del self._incoming[stream_id]

    def _read_header(self, stream: Incoming) -> Inbox | None:
        size = len(stream.buffer)
        header = take_stream_header(stream.buffer)
        if header is None:
            if stream.is_ended:
                raise PeerError(CloseCode.PROTOCOL_ERROR, "a stream ended within its header")
            return None
        self._consume(stream.stream_id, size - len(stream.buffer))
        inbox = self._inboxes.get(header.channel)
        if inbox is None:
            inbox = self._inboxes[header.channel] = Inbox(self._consume)
            self._unasked_count += 1
        inbox.join(stream, header.epoch)
        return inbox

    def _advance(self, inbox: Inbox) -> None:
        # A channel that nobody has asked for costs memory, however little it holds: past a bound the peer may not
        # open streams in place of those that it has ended, until somebody asks.
        for stream_id in inbox.advance():
            if inbox.is_asked or self._unasked_count <= CHANNELS_UNASKED_MAX:
                self._release(stream_id)
            else:
                self._unreleased.append((inbox, stream_id))

    def _release(self, stream_id: int) -> None:
        """Let the peer open another stream in place of that one, at once or when it has not opened so many of late."""
        self._to_release.append(stream_id)
        if self._release_timer is None:
            self._release_due()

    def _release_due(self) -> None:
        self._release_timer = None
        while self._to_release and self._streams_bucket.take(self._loop.time()):
            self._engine.release_stream(self._to_release.popleft())
            self._schedule()
        if self._to_release:
            self._release_timer = self._loop.call_later(RELEASE_S, self._release_due)

    def inbox(self, name: bytes) -> Inbox:
        """What has arrived on a channel, which is hereby asked for."""
        inbox = self._inboxes.get(name)
        if inbox is None:
            inbox = self._inboxes[name] = Inbox(self._consume)
        elif not inbox.is_asked:
            self._unasked_count -= 1
            self._release_streams(inbox)
        inbox.is_asked = True
        return inbox

    def _release_streams(self, asked: Inbox) -> None:
        held, self._unreleased = self._unreleased, []
        for inbox, stream_id in held:
            if inbox is asked:
                self._release(stream_id)
            else:
                self._unreleased.append((inbox, stream_id))

    def _consume(self, stream_id: int, count: int) -> None:
        if self._engine.consume(stream_id, count):
            self._schedule()

    # --- Leaving ---

    def outbox(self, name: bytes, priority: Priority) -> Outbox:
        """What is to be sent on a channel, and how urgent it is from now on."""
        outbox = self._outboxes.get(name)
        if outbox is None:
            outbox = self._outboxes[name] = Outbox(name)
        outbox.priority = priority
        if outbox.stream_id is not None:
            self._engine.prioritize(outbox.stream_id, priority)
        return outbox

    def is_writable(self, outbox: Outbox) -> bool:
        """Whether a channel is below its watermark.

        Raises:
            ConnectionLostError: The connection has ended.
        """
        self.check()
        if outbox is not self.control_outbox:
            if self._engine.unacknowledged >= CONNECTION_UNACKNOWLEDGED_BYTES_MAX:
                return False
            if outbox.draining:
                outbox.draining = [
                    stream for stream in outbox.draining if self._engine.unsent(stream)
                ]
        unsent = outbox.parked_bytes + sum(map(self._engine.unsent, outbox.draining))
        if outbox.stream_id is not None:
            unsent += self._engine.unsent(outbox.stream_id)
        return unsent < self._engine.unsent_bytes_max

    def write(self, outbox: Outbox, frame: bytes) -> None:
        """Queue a frame; it leaves in this turn of the event loop, as far as the network lets it."""
        self._schedule()
        if outbox.parked:
            outbox.park(frame)
        elif outbox.stream_id is not None:
            self._engine.write(outbox.stream_id, frame)
            if outbox.name:
                self._open.move_to_end(outbox.name)
                outbox.used_at = self._loop.time()
        elif self._engine.streams_openable > 0:
            self._open_stream(outbox, frame)
        else:
            outbox.park(frame)
            self._parked[outbox.name] = outbox

    async def wait_writable(self, outbox: Outbox) -> None:
        """Wait until a channel is below its watermark.

        Raises:
            ConnectionLostError: The connection has ended.
        """
        while not self.is_writable(outbox):
            self._waiting[outbox.name] = outbox
            await outbox.wait()

    def after_flush(self) -> None:
        """Something may have left: use new streams, wake those who wait."""
        while self._parked and self._engine.streams_openable > 0:
            name, outbox = next(iter(self._parked.items()))
            del self._parked[name]
            self._open_stream(outbox, outbox.unpark())
            self._schedule()
        for name, outbox in list(self._waiting.items()):
            if not outbox.has_writers:
                del self._waiting[name]
            elif self.is_writable(outbox):
                del self._waiting[name]
                outbox.wake()

    def _open_stream(self, outbox: Outbox, frames: bytes) -> None:
        if len(self._open) >= CHANNELS_OPEN_MAX:
            self._end_stream(self._open.popitem(last=False)[1])
        header = encode_stream_header(StreamHeader(outbox.name, outbox.epoch))
        outbox.stream_id = self._engine.open_stream(header + frames, outbox.priority)
        outbox.epoch += 1
        outbox.used_at = self._loop.time()
        self._open[outbox.name] = outbox
        if self._sweep is None:
            self._sweep = self._loop.call_later(STREAM_UNUSED_S, self._end_unused)

    def _end_unused(self) -> None:
        self._sweep = None
        while self._open:
            outbox = next(iter(self._open.values()))
            due = outbox.used_at + STREAM_UNUSED_S
            if due > self._loop.time():
                self._sweep = self._loop.call_at(due, self._end_unused)
                return
            del self._open[outbox.name]
            self._end_stream(outbox)
            self._schedule()

    def _end_stream(self, outbox: Outbox) -> None:
        if outbox.stream_id is not None:
            self._engine.write(outbox.stream_id, b"", end=True)
            outbox.draining.append(outbox.stream_id)
            outbox.stream_id = None

    # --- The end ---

    def check(self) -> None:
        """Raise if the connection has ended.

        Raises:
            ConnectionLostError: It has.
        """
        if self._lost is not None:
            raise ConnectionLostError(self._lost.code, str(self._lost), by_peer=self._lost.by_peer)

    def end(self, lost: ConnectionLostError) -> None:
        """The connection has ended: wake everybody."""
        self._lost = lost
        for timer in (self._sweep, self._release_timer):
            if timer is not None:
                timer.cancel()
        for inbox in (self.control_inbox, *self._inboxes.values()):
            inbox.wake()
        for outbox in self._waiting.values():
            outbox.wake()
