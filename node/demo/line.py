"""How the demonstration and its worker processes talk: one JSON object in a line, over standard input and output.

A request is `{"do": name, ...}`; for each there is one answer, `{"done": {...}}` or `{"failed": text}`, and before it
any number of `{"progress": number}`. A line has a bound on both sides.
"""

import json
from typing import Any, Final

from domain import limits
from domain.errors import CulmError

LINE_BYTES_MAX: Final = 8 * limits.MIB  # all samples of one worker, with room

Message = dict[str, Any]


class DemoError(CulmError):
    """The demonstration could not be given: a worker process failed or does not answer."""


def encode_line(message: Message) -> bytes:
    """Encode a message.

    Raises:
        DemoError: It is too long.
    """
    line = json.dumps(message, separators=(",", ":")).encode() + b"\n"
    if len(line) > LINE_BYTES_MAX:
        raise DemoError(f"a message of {len(line)} bytes, of at most {LINE_BYTES_MAX}")
    return line


class LineReader:
    """Cuts what arrives into messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Message]:
        """Take bytes, and give the messages that they complete.

        Raises:
            DemoError: A line is too long, or no JSON object.
        """
        self._buffer += data
        *lines, rest = self._buffer.split(b"\n")
        self._buffer = bytearray(rest)
        if any(len(line) >= LINE_BYTES_MAX for line in (*lines, rest)):
            raise DemoError(f"a line of more than {LINE_BYTES_MAX} bytes")
        return [_decode(bytes(line)) for line in lines if line.strip()]


def _decode(line: bytes) -> Message:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise DemoError(f"a line that is no message: {line[:80]!r}")
    return value
