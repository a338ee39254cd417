"""The two directions of a channel: what has arrived for it, and what is to be sent on it.

In each direction a channel lives on one stream at a time; a stream is closed when others need its place, and the
next one goes on where it ended (`epoch`). A reader finishes one stream before the next, whatever the network does to
their order. Credit is given back only for what a reader has taken, so that a reader that stops holds up its writer.
"""

import asyncio
from collections import deque
from collections.abc import Callable

from domain.connectivity.close_codes import CloseCode
from domain.connectivity.framing import FrameDecoder
from domain.errors import PeerError
from domain.limits import MESSAGE_BYTES_MAX, STREAMS_UNREAD_MAX
from domain.ports.network import Priority

Consume = Callable[[int, int], None]


class Incoming:
    """One stream of the peer, from its first byte to its last.

    Args:
        stream_id: Its number.
    """

    __slots__ = ("buffer", "inbox", "is_ended", "stream_id")

    def __init__(self, stream_id: int) -> None:
        self.stream_id = stream_id
        self.buffer = bytearray()
        self.inbox: Inbox | None = None
        self.is_ended = False


class Inbox:
    """What has arrived on one channel.

    Args:
        consume: Told the stream and the number of bytes whenever bytes have left our buffers.
        message_bytes_max: A longer message is the peer's error.
    """

    __slots__ = (
        "_consume", "_credited", "_epoch", "_later", "_reader", "_segments", "decoder", "is_asked",
    )  # fmt: skip

    def __init__(self, consume: Consume, message_bytes_max: int = MESSAGE_BYTES_MAX) -> None:
        self.decoder = FrameDecoder(message_bytes_max)
        self.is_asked = False
        self._consume = consume
        self._credited = 0
        self._epoch = 0
        self._later: dict[int, Incoming] = {}
        self._reader: asyncio.Future[None] | None = None
        self._segments: deque[tuple[int, int]] = deque()

    def join(self, stream: Incoming, epoch: int) -> None:
        """Take a stream of this channel, whose header has been read.

        Raises:
            PeerError: There was such a stream already, or it is far ahead.
        """
        if not 0 <= epoch - self._epoch <= STREAMS_UNREAD_MAX or epoch in self._later:
            raise PeerError(
                CloseCode.PROTOCOL_ERROR, f"epoch {epoch} of a channel after {self._epoch - 1}"
            )
        self._later[epoch] = stream
        stream.inbox = self

    def receive(self, stream: Incoming, data: bytes) -> None:
        """Take bytes of one of its streams; they wait until the stream's turn comes.

        Raises:
            PeerError: A frame is malformed.
        """
        if self._later.get(self._epoch) is stream:
            self.feed(stream.stream_id, data)
        else:
            stream.buffer += data

    def advance(self) -> list[int]:
        """Take over what the stream whose turn it is has received; the streams that are finished.

        Raises:
            PeerError: A frame is malformed.
        """
        finished = []
        while (stream := self._later.get(self._epoch)) is not None:
            if stream.buffer:
                self.feed(stream.stream_id, bytes(stream.buffer))
                stream.buffer.clear()
            if not stream.is_ended:
                break
            self.decoder.finish()
            del self._later[self._epoch]
            self._epoch += 1
            finished.append(stream.stream_id)
        return finished

    def feed(self, stream_id: int, data: bytes) -> None:
        """Add bytes at the end.

        Raises:
            PeerError: A frame is malformed.
        """
        self._segments.append((stream_id, len(data)))
        self.decoder.feed(data)
        self.wake()

    def take(self) -> bytes | None:
        """Take the next message; None if it is not there as a whole.

        Raises:
            PeerError: A frame is malformed.
        """
        message = self.decoder.next()
        if message is not None:
            self._credit(self.decoder.taken)
        return message

    async def wait(self) -> None:
        """Wait until there is more, or the connection ends. Cancelled, nothing is lost."""
        self._credit_all()  # the rest of a message that is longer than the window can come only then
        self._reader = asyncio.get_running_loop().create_future()
        try:
            await self._reader
        finally:
            self._reader = None

    def wake(self) -> None:
        """Wake the reader."""
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    def _credit_all(self) -> None:
        self._credit(self.decoder.taken + self.decoder.buffered)

    def _credit(self, position: int) -> None:
        count = position - self._credited
        self._credited = max(position, self._credited)
        while count > 0:
            stream_id, size = self._segments.popleft()
            if size > count:
                self._segments.appendleft((stream_id, size - count))
            self._consume(stream_id, min(size, count))
            count -= size


class Outbox:
    """What is to be sent on one channel.

    Args:
        name: The channel; empty for the control channel.
    """

    __slots__ = (
        "_writers", "draining", "epoch", "name", "parked", "parked_bytes", "priority", "stream_id", "used_at",
    )  # fmt: skip

    def __init__(self, name: bytes, stream_id: int | None = None) -> None:
        self.name = name
        self.stream_id = stream_id
        self.priority = Priority.CRITICAL
        self.used_at = 0.0
        self.epoch = 0
        self.draining: list[int] = []
        self.parked: list[bytes] = []
        self.parked_bytes = 0
        self._writers: list[asyncio.Future[None]] = []

    @property
    def has_writers(self) -> bool:
        """Whether somebody waits to write."""
        return bool(self._writers)

    def park(self, frame: bytes) -> None:
        """Keep a frame until a stream may be opened."""
        self.parked.append(frame)
        self.parked_bytes += len(frame)

    def unpark(self) -> bytes:
        """Take all frames that were kept."""
        frames = b"".join(self.parked)
        self.parked.clear()
        self.parked_bytes = 0
        return frames

    async def wait(self) -> None:
        """Wait until it may be written to, or the connection ends."""
        writer = asyncio.get_running_loop().create_future()
        self._writers.append(writer)
        try:
            await writer
        finally:
            self._writers.remove(writer)

    def wake(self) -> None:
        """Wake the writers."""
        for writer in self._writers:
            if not writer.done():
                writer.set_result(None)
