"""A STUN client (RFC 8489) on a socket that belongs to somebody else, so that it learns the mapping of that socket.

aiostun has the messages; what goes around them is here. An answer counts only if it bears the id of a request that is
under way, 96 random bits, and comes from where that request expects it; a second one, a late one and one that cannot
be read are nothing. Each datagram gets a codec of its own, since aiostun's keeps what it could not read, and what
aiostun does not know is taken out before, since it would print it.
"""

import asyncio
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from aiostun import CLASS_REQUEST, METHOD_BINDING, AttrChangeRequest, Codec, Message, constants
from aiostun.attribute import (
    AttrErrorCode,
    Attribute,
    AttrMappedAddr,
    AttrOtherAddress,
    AttrXorMappedAddr,
)

from domain.connectivity.address import Address, AddressError
from domain.errors import NetworkError
from domain.ports.environment import Clock, Entropy

STUN_FIRST_BYTE_MAX: Final = 3
HEADER_BYTES: Final = 20
COOKIE: Final = constants.MAGIC_COOKIE.to_bytes(4, "big")
TRANSACTION_ID_BYTES: Final = 12
RETRANSMIT_S: Final = (0.25, 0.5, 1.0, 1.0)
"""Waits after each transmission; RFC 8489 starts at 0.5 s and lets who knows better start earlier."""
REQUESTS_MAX: Final = 64
"""Under way at once."""
ANSWER_BYTES_MAX: Final = 1_500
_READ: Final = frozenset(
    {
        constants.ATTR_MAPPED_ADDRESS,
        constants.ATTR_XOR_MAPPED_ADDRESS,
        constants.ATTR_OTHER_ADDRESS,
        constants.ATTR_ERROR_CODE,
    }
)


class StunError(NetworkError):
    """A server that did not answer, or refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StunAnswer:
    """What a server said.

    Args:
        mapped: Where it saw us.
        other: Its second address and port, if it has them (RFC 5780).
        round_trip_s: How long the answer took, counted from the last transmission.
    """

    mapped: Address
    other: Address | None
    round_trip_s: float


class _Request:
    """One request that is under way: sends it again until it is answered."""

    def __init__(self, loop: asyncio.AbstractEventLoop, expected: Address) -> None:
        self.expected = expected
        self.answer: asyncio.Future[StunAnswer] = loop.create_future()
        self.sent_at = 0.0
        self.transmissions = 0
        self.timer: asyncio.TimerHandle | None = None


class StunClient:
    """Asks STUN servers.

    Args:
        clock: The time.
        entropy: For the ids of requests.
        send: Sends a datagram from the socket.
    """

    def __init__(
        self, *, clock: Clock, entropy: Entropy, send: Callable[[bytes, Address], None]
    ) -> None:
        self._clock = clock
        self._entropy = entropy
        self._send = send
        self._requests: dict[bytes, _Request] = {}

    def ask(
        self,
        server: Address,
        *,
        change: tuple[bool, bool] = (False, False),
        answered_from: Address | None = None,
        response_port: int | None = None,
    ) -> asyncio.Future[StunAnswer]:
        """Ask a server where it sees us; repeated until it answers. Cancelled, the request is forgotten.

        Args:
            server: Its IP address and port.
            change: Whether it is to answer from its other address, and from its other port.
            answered_from: From where the answer comes; None for where the request goes.
            response_port: To which port of our address outside it goes (RFC 5780, 7.5); None for that which asks.

        Returns:
            The answer to come; it fails with `StunError` if there is none in 2.75 s, or a refusal.
        """
        loop = asyncio.get_running_loop()
        request = _Request(loop, answered_from or server)
        if len(self._requests) >= REQUESTS_MAX:
            request.answer.set_exception(StunError("too many STUN requests are under way"))
            return request.answer
        attributes: list[Attribute] = [AttrChangeRequest(*change)] if any(change) else []
        if response_port is not None:
            attributes.append(_response_port(response_port))
        message = Message(CLASS_REQUEST, METHOD_BINDING, attributes)
        message.transaction_id = self._entropy.draw(TRANSACTION_ID_BYTES)
        data = Codec().encode(message)
        self._requests[message.transaction_id] = request

        def transmit() -> None:
            if request.transmissions == len(RETRANSMIT_S):
                request.answer.set_exception(StunError(f"no answer from {server}"))
                return
            request.timer = loop.call_later(RETRANSMIT_S[request.transmissions], transmit)
            request.transmissions += 1
            request.sent_at = self._clock.now()
            self._send(data, server)

        def forget(_: asyncio.Future[StunAnswer]) -> None:
            del self._requests[message.transaction_id]
            if request.timer is not None:
                request.timer.cancel()

        request.answer.add_done_callback(forget)
        transmit()
        return request.answer

    def is_ours(self, data: bytes) -> bool:
        """Whether a message bears the id of a request of ours that is under way."""
        return data[8:HEADER_BYTES] in self._requests

    def close(self) -> None:
        """Give up what is under way."""
        for request in list(self._requests.values()):
            request.answer.cancel()

    def receive(self, data: bytes, source: Address) -> None:
        """Take a datagram that may be an answer."""
        if len(data) > ANSWER_BYTES_MAX or not is_stun(data):
            return
        request = self._requests.get(data[8:HEADER_BYTES])
        if request is None or request.expected != source or request.answer.done():
            return
        message = decode(data)
        if message is None:
            return
        if message.msgclass == constants.CLASS_ERROR:
            error = message.get_attribute(AttrErrorCode)
            code = error.params.get("code") if error is not None else None
            request.answer.set_exception(StunError(f"{source} refuses the request (code {code})"))
            return
        mapped = _address(message.get_attribute(AttrXorMappedAddr)) or _address(
            message.get_attribute(AttrMappedAddr)
        )
        if message.msgclass == constants.CLASS_SUCCESS and mapped is not None:
            request.answer.set_result(
                StunAnswer(
                    mapped=mapped,
                    other=_address(message.get_attribute(AttrOtherAddress)),
                    round_trip_s=self._clock.now() - request.sent_at,
                )
            )


def is_stun(data: bytes) -> bool:
    """Whether bytes look like a whole STUN message."""
    return (
        len(data) >= HEADER_BYTES
        and data[0] <= STUN_FIRST_BYTE_MAX
        and data[4:8] == COOKIE
        and len(data) == HEADER_BYTES + int.from_bytes(data[2:4], "big")
    )


def decode(data: bytes) -> Any | None:  # noqa: ANN401 - aiostun has no types
    """Read a message; None if that cannot be done."""
    attributes = bytearray()
    position = HEADER_BYTES
    while position + 4 <= len(data):
        kind, length = struct.unpack_from("!HH", data, position)
        end = position + 4 + (length + 3) // 4 * 4
        if end > len(data):
            return None
        if kind in _READ:
            attributes += data[position:end]
        position = end
    codec = Codec()
    codec.buf = data[:2] + len(attributes).to_bytes(2, "big") + data[4:HEADER_BYTES] + attributes
    try:
        return codec.decode()
    except (ValueError, KeyError, IndexError, UnboundLocalError, struct.error):
        return None  # what aiostun raises for attributes that are too short or of no known family


def _response_port(port: int) -> Attribute:
    attribute = Attribute(constants.ATTR_RESPONSE_PORT)
    attribute.params["value"] = port.to_bytes(2, "big") + bytes(2)
    return attribute


def _address(attribute: Any | None) -> Address | None:  # noqa: ANN401 - aiostun has no types
    if attribute is None or "ip" not in attribute.params:
        return None
    try:
        return Address.from_host(str(attribute.params["ip"]), int(attribute.params["port"]))
    except AddressError:
        return None
