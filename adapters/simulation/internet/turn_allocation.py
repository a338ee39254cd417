"""One allocation of a TURN server: a relayed address, who may send to it, and until when (RFC 8656)."""

import asyncio
from collections.abc import Callable
from typing import Any, Final

from adapters.simulation.internet.packet import Endpoint
from adapters.simulation.internet.stun_codec import Class, Message, Method, endpoint

PERMISSION_S: Final = 300.0
CHANNEL_S: Final = 600.0
CHANNEL_MIN: Final = 0x4000
CHANNEL_MAX: Final = 0x4FFF
PERMISSIONS_MAX: Final = 256
CHANNEL_HEADER_BYTES: Final = 4


class Allocation(asyncio.DatagramProtocol):
    """What one client has on the server.

    Args:
        loop: Whose time it uses.
        username: Whose it is; only its owner may use it.
        transaction_id: Of the request that made it, so that a repeated one is answered alike.
        send: Sends bytes to the client.
        expire: Ends it when its time is over.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        username: str,
        transaction_id: bytes,
        send: Callable[[bytes], None],
        expire: Callable[[], None],
    ) -> None:
        self.username = username
        self.transaction_id = transaction_id
        self.send = send
        self.relayed_packets = 0
        self._loop = loop
        self._expire = expire
        self._timer: asyncio.TimerHandle | None = None
        self._expires_at = 0.0
        self._transport: asyncio.DatagramTransport | None = None
        self._permissions: dict[str, float] = {}
        self._channels: dict[int, tuple[Endpoint, float]] = {}

    @property
    def relayed(self) -> Endpoint:
        """Its relayed address."""
        assert self._transport is not None
        return endpoint(self._transport.get_extra_info("sockname"))

    @property
    def lifetime_s(self) -> int:
        """How long it lasts still."""
        return max(0, round(self._expires_at - self._loop.time()))

    def prolong(self, lifetime_s: float) -> None:
        """Let it last so long from now."""
        if self._timer is not None:
            self._timer.cancel()
        self._expires_at = self._loop.time() + lifetime_s
        self._timer = self._loop.call_at(self._expires_at, self._expire)

    def end(self) -> None:
        """Give the relayed address back."""
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            self._transport.close()

    # --- Who may send ---

    def permit(self, address: str) -> bool:
        """Let an address send to us; whether there was room."""
        if address not in self._permissions and len(self._permissions) >= PERMISSIONS_MAX:
            return False
        self._permissions[address] = self._loop.time() + PERMISSION_S
        return True

    def is_permitted(self, address: str) -> bool:
        """Whether an address may send to us now."""
        return self._permissions.get(address, 0.0) > self._loop.time()

    def bind_channel(self, number: int, peer: Endpoint) -> bool:
        """Bind a channel, or bind it for longer; whether neither it nor the peer is bound otherwise."""
        bound, bound_number = self._peer_of(number), self._channel_of(peer)
        if (bound is not None and bound != peer) or bound_number not in (None, number):
            return False
        if not self.permit(peer[0]):
            return False
        self._channels[number] = (peer, self._loop.time() + CHANNEL_S)
        return True

    def _peer_of(self, number: int) -> Endpoint | None:
        peer, expires_at = self._channels.get(number, (None, 0.0))
        return peer if expires_at > self._loop.time() else None

    def _channel_of(self, peer: Endpoint) -> int | None:
        now = self._loop.time()
        return next(
            (
                number
                for number, (bound, expires_at) in self._channels.items()
                if bound == peer and expires_at > now
            ),
            None,
        )

    # --- Data ---

    def relay(self, data: bytes, peer: Endpoint) -> None:
        """Send something of the client's from the relayed address."""
        if self.is_permitted(peer[0]) and self._transport is not None:
            self.relayed_packets += 1
            self._transport.sendto(data, peer)

    def relay_channel(self, number: int, data: bytes) -> None:
        """Send something that the client has sent on a channel."""
        peer = self._peer_of(number)
        if peer is not None:
            self.relay(data, peer)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The relayed address is there."""
        assert isinstance(transport, asyncio.DatagramTransport)
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:  # noqa: ANN401 - as in asyncio
        """Something has come for the client."""
        peer = endpoint(addr)
        if not self.is_permitted(peer[0]):
            return
        self.relayed_packets += 1
        number = self._channel_of(peer)
        if number is not None:
            self.send(number.to_bytes(2, "big") + len(data).to_bytes(2, "big") + data)
            return
        indication = Message(
            Method.DATA,
            Class.INDICATION,
            attributes={"XOR-PEER-ADDRESS": peer, "DATA": data},
        )
        self.send(bytes(indication))
