"""Messages on a stream of bytes, and the header with which a channel's stream starts.

A frame is the length of a message as a QUIC variable-length integer (RFC 9000, section 16) in its shortest form,
then the message: 1 to `MESSAGE_BYTES_MAX` bytes. It does not matter how the stream is cut into chunks. The length
is checked before the message is waited for, so what a decoder holds is bounded by what it was fed.
"""

from collections import deque
from typing import Final, NamedTuple

from domain.connectivity.close_codes import CloseCode
from domain.errors import PeerError
from domain.limits import CHANNEL_EPOCH_MAX, CHANNEL_NAME_BYTES, MESSAGE_BYTES_MAX

VARINT_MAX: Final = 2**62 - 1
STREAM_HEADER_BYTES_MAX: Final = CHANNEL_NAME_BYTES + 8
_WIDTHS: Final = (
    (2**6, 1, 0x00),
    (2**14, 2, 0x4000),
    (2**30, 4, 0x8000_0000),
    (2**62, 8, 0xC000_0000_0000_0000),
)


class StreamHeader(NamedTuple):
    """What a channel's stream starts with: whose it is, and how many streams of that channel came before it."""

    channel: bytes
    epoch: int


class Varint(NamedTuple):
    """A number read from a stream, and how many bytes it took."""

    value: int
    width: int


def encode_varint(value: int) -> bytes:
    """Encode 0 to 2**62 - 1 in as few bytes as there are: 1, 2, 4 or 8."""
    for limit, width, mark in _WIDTHS:
        if 0 <= value < limit:
            return (value | mark).to_bytes(width, "big")
    raise ValueError(f"a variable-length integer is 0 to {VARINT_MAX}, not {value}")


def read_varint(data: bytes | bytearray, offset: int = 0) -> Varint | None:
    """Read a number at an offset; None while bytes of it are missing.

    Raises:
        PeerError: It is not in its shortest form.
    """
    if offset >= len(data):
        return None
    width = 1 << (data[offset] >> 6)
    if offset + width > len(data):
        return None
    value = int.from_bytes(data[offset : offset + width], "big") & ((1 << (8 * width - 2)) - 1)
    if width > 1 and value < 1 << (4 * width - 2):
        raise PeerError(
            CloseCode.PROTOCOL_ERROR, "a variable-length integer is not in its shortest form"
        )
    return Varint(value, width)


def check_message(message: bytes) -> None:
    """Check the size of a message that is to be sent.

    Raises:
        ValueError: It is empty or too large.
    """
    if not 1 <= len(message) <= MESSAGE_BYTES_MAX:
        raise ValueError(f"a message has 1 to {MESSAGE_BYTES_MAX} bytes, not {len(message)}")


def encode_frame(message: bytes) -> bytes:
    """Frame a message.

    Raises:
        ValueError: It is empty or too large.
    """
    check_message(message)
    return encode_varint(len(message)) + message


def encode_stream_header(header: StreamHeader) -> bytes:
    """Encode what a channel's stream starts with: the name, then the epoch as a variable-length integer."""
    return header.channel + encode_varint(header.epoch)


def take_stream_header(data: bytearray) -> StreamHeader | None:
    """Take the header off the front of a stream; None while bytes of it are missing.

    Raises:
        PeerError: It is malformed.
    """
    epoch = read_varint(data, CHANNEL_NAME_BYTES)
    if epoch is None:
        return None
    if epoch.value > CHANNEL_EPOCH_MAX:
        raise PeerError(
            CloseCode.PROTOCOL_ERROR,
            f"epoch {epoch.value} of a channel, of at most {CHANNEL_EPOCH_MAX}",
        )
    header = StreamHeader(bytes(data[:CHANNEL_NAME_BYTES]), epoch.value)
    del data[: CHANNEL_NAME_BYTES + epoch.width]
    return header


class FrameDecoder:
    """Cuts a stream into messages, one at a time and only when asked.

    Args:
        message_bytes_max: A longer message is an error as soon as its length is known; may be raised later.
    """

    __slots__ = ("_boundaries", "_buffer", "_taken", "message_bytes_max")

    def __init__(self, message_bytes_max: int = MESSAGE_BYTES_MAX) -> None:
        self.message_bytes_max = message_bytes_max
        self._buffer = bytearray()
        self._taken = 0
        self._boundaries: deque[int] = deque()

    @property
    def buffered(self) -> int:
        """How many bytes were fed that no taken message has used."""
        return len(self._buffer)

    @property
    def taken(self) -> int:
        """How many bytes the messages taken so far have used, lengths included."""
        return self._taken

    def feed(self, data: bytes) -> None:
        """Add a chunk of the stream.

        Raises:
            PeerError: The message at the front declares a size that is not allowed.
        """
        self._buffer += data
        self._front()

    def finish(self) -> None:
        """Note that a stream ends here, and that another one goes on: no message may lie across.

        Raises:
            PeerError: The message at the front does.
        """
        self._boundaries.append(self._taken + len(self._buffer))
        self._front()

    def next(self) -> bytes | None:
        """Take the next message; None until the rest of it is fed.

        Raises:
            PeerError: Its size is not allowed, or it lies across the end of a stream.
        """
        front = self._front()
        if front is None:
            return None
        end = front.width + front.value
        if end > len(self._buffer):
            return None
        message = bytes(self._buffer[front.width : end])
        del self._buffer[:end]
        self._taken += end
        return message

    def _front(self) -> Varint | None:
        while self._boundaries and self._boundaries[0] == self._taken:
            self._boundaries.popleft()
        length = read_varint(self._buffer)
        if length is None:
            if self._boundaries and self._buffer:
                raise PeerError(
                    CloseCode.PROTOCOL_ERROR, "a stream ends within the length of a message"
                )
            return None
        if not 1 <= length.value <= self.message_bytes_max:
            raise PeerError(
                CloseCode.PROTOCOL_ERROR,
                f"a message of {length.value} bytes is declared, 1 to {self.message_bytes_max} are allowed",
            )
        if self._boundaries and self._taken + length.width + length.value > self._boundaries[0]:
            raise PeerError(CloseCode.PROTOCOL_ERROR, "a stream ends within a message")
        return length
