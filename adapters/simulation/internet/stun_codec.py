"""STUN messages (RFC 8489) as the simulated servers read and write them: aioice's codec, made safe for any bytes."""

import struct
from typing import Final

from aioice import stun
from aioice.stun import Class, Message, Method

from adapters.simulation.internet.packet import Endpoint, normalize

__all__ = ["Class", "Message", "Method"]

HEADER_BYTES: Final = 20
COOKIE: Final = stun.COOKIE.to_bytes(4, "big")
STUN_FIRST_BYTE_MAX: Final = 3
COMPREHENSION_OPTIONAL: Final = 0x8000
UNKNOWN_ATTRIBUTE: Final = 420

REQUESTED_ADDRESS_FAMILY: Final = 0x0017
RESPONSE_PORT: Final = 0x0027
READ_BY_US: Final = frozenset({REQUESTED_ADDRESS_FAMILY, RESPONSE_PORT})
"""What aioice does not know and the servers take from the raw attributes."""


def is_stun(data: bytes) -> bool:
    """Whether bytes look like a whole STUN message."""
    return (
        len(data) >= HEADER_BYTES
        and data[0] <= STUN_FIRST_BYTE_MAX
        and data[4:8] == COOKIE
        and len(data) == message_bytes(data)
    )


def message_bytes(header: bytes) -> int:
    """How long the message is that begins so."""
    return HEADER_BYTES + int.from_bytes(header[2:4], "big")


def decode(data: bytes) -> Message | None:
    """Read a message; None if it is none."""
    if not is_stun(data):
        return None
    try:
        return stun.parse_message(data)
    except (ValueError, struct.error, LookupError):
        return None


def raw_attributes(data: bytes) -> dict[int, bytes]:
    """The attributes of a message that `decode` could read, by number; the first of each."""
    found: dict[int, bytes] = {}
    position = HEADER_BYTES
    while position + 4 <= len(data):
        number, length = struct.unpack_from("!HH", data, position)
        found.setdefault(number, data[position + 4 : position + 4 + length])
        position += 4 + (length + 3) // 4 * 4
    return found


def unknown_attributes(raw: dict[int, bytes]) -> list[int]:
    """The attributes that have to be understood and are not."""
    return [
        number
        for number in raw
        if number < COMPREHENSION_OPTIONAL
        and number not in stun.ATTRIBUTES_BY_TYPE
        and number not in READ_BY_US
    ]


def success(request: Message) -> Message:
    """Begin the answer to a request."""
    return Message(request.message_method, Class.RESPONSE, request.transaction_id)


def failure(request: Message, code: int, reason: str) -> Message:
    """Begin the refusal of a request."""
    answer = Message(request.message_method, Class.ERROR, request.transaction_id)
    answer.attributes["ERROR-CODE"] = (code, reason)
    return answer


def endpoint(name: tuple[str, int] | tuple[str, int, int, int]) -> Endpoint:
    """What asyncio calls a socket address, as an endpoint."""
    return (normalize(name[0]), name[1])
