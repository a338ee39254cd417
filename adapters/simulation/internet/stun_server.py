"""A STUN server (RFC 8489) that lets clients find out how their NAT behaves (RFC 5780).

For the latter it needs two addresses of its host, and listens at two ports of each.
"""

import asyncio
from functools import partial
from typing import Any, Final

from adapters.simulation.internet.host import Host
from adapters.simulation.internet.packet import Endpoint
from adapters.simulation.internet.stun_codec import (
    RESPONSE_PORT,
    UNKNOWN_ATTRIBUTE,
    Class,
    Message,
    Method,
    decode,
    endpoint,
    failure,
    raw_attributes,
    success,
    unknown_attributes,
)

STUN_PORT: Final = 3_478
OTHER_PORT: Final = 3_479
CHANGE_ADDRESS: Final = 0x04
CHANGE_PORT: Final = 0x02

_Place = tuple[int, int]
"""Which of the addresses, which of the ports."""


class StunServer:
    """The server of a host.

    Args:
        host: Where it runs.
        address: Its first address.
        other_address: Its second one, if it is to answer from there.
        port: The port that clients know.
        other_port: The second port.
        answers_elsewhere: Whether it knows RESPONSE-PORT, which is optional (RFC 5780, 7.5).
    """

    def __init__(
        self,
        host: Host,
        address: str,
        other_address: str | None = None,
        *,
        port: int = STUN_PORT,
        other_port: int = OTHER_PORT,
        answers_elsewhere: bool = True,
    ) -> None:
        self.address: Endpoint = (address, port)
        self._host = host
        self._answers_elsewhere = answers_elsewhere
        self._addresses = (address,) if other_address is None else (address, other_address)
        self._ports = (port,) if other_address is None else (port, other_port)
        self._sockets: dict[_Place, asyncio.DatagramTransport] = {}
        self.answered = 0

    async def start(self) -> None:
        """Listen.

        Raises:
            OSError: A port is taken, or an address is not one of the host.
        """
        loop = asyncio.get_running_loop()
        with self._host.entered():
            for place in self._places:
                transport, _ = await loop.create_datagram_endpoint(
                    partial(_Listener, self, place), local_addr=self._name(place)
                )
                self._sockets[place] = transport

    def close(self) -> None:
        """Listen no more."""
        for transport in self._sockets.values():
            transport.close()
        self._sockets.clear()

    @property
    def _places(self) -> list[_Place]:
        return [(i, j) for i in range(len(self._addresses)) for j in range(len(self._ports))]

    def _name(self, place: _Place) -> Endpoint:
        return (self._addresses[place[0]], self._ports[place[1]])

    def take(self, data: bytes, source: Endpoint, place: _Place) -> None:
        """Answer a datagram that came to one of our sockets."""
        request = decode(data)
        if (
            request is None
            or request.message_class is not Class.REQUEST
            or request.message_method is not Method.BINDING
        ):
            return
        raw = raw_attributes(data)
        change = request.attributes.get("CHANGE-REQUEST", 0)
        origin = (
            place[0] ^ bool(change & CHANGE_ADDRESS),
            place[1] ^ bool(change & CHANGE_PORT),
        )
        is_refused = RESPONSE_PORT in raw and not self._answers_elsewhere
        if unknown_attributes(raw) or origin not in self._sockets or is_refused:
            answer, origin = failure(request, UNKNOWN_ATTRIBUTE, "Unknown Attribute"), place
        else:
            answer = self._answer(request, source, place, origin)
        if RESPONSE_PORT in raw and not is_refused:
            source = (source[0], int.from_bytes(raw[RESPONSE_PORT][:2], "big"))
        self.answered += 1
        self._sockets[origin].sendto(bytes(answer), source)

    def _answer(self, request: Message, source: Endpoint, place: _Place, origin: _Place) -> Message:
        answer = success(request)
        answer.attributes["XOR-MAPPED-ADDRESS"] = source
        answer.attributes["MAPPED-ADDRESS"] = source
        answer.attributes["RESPONSE-ORIGIN"] = self._name(origin)
        if len(self._sockets) > 1:
            answer.attributes["OTHER-ADDRESS"] = self._name((1 - place[0], 1 - place[1]))
        answer.add_fingerprint()
        return answer


class _Listener(asyncio.DatagramProtocol):
    def __init__(self, server: StunServer, place: _Place) -> None:
        self._server = server
        self._place = place

    def datagram_received(self, data: bytes, addr: Any) -> None:  # noqa: ANN401 - as in asyncio
        self._server.take(data, endpoint(addr), self._place)
