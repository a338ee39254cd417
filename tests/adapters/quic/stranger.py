"""A peer made by hand: speaks QUIC, and beyond that only what a test tells it to."""

import asyncio
from collections.abc import Callable
from typing import cast

from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import ConnectionTerminated, QuicEvent, StreamDataReceived

from adapters.quic.certificate import make_configuration
from domain.connectivity.framing import FrameDecoder, encode_frame
from domain.connectivity.hello import DiallerHello, HelloOffer
from domain.identifiers import PeerId
from domain.identity import DeviceKey

ADDRESS = ("peer", 0)


class Stranger(asyncio.DatagramProtocol):
    """A dialling peer without manners."""

    def __init__(self, key: DeviceKey, *, network_id: str = "contract") -> None:
        self.quic = QuicConnection(
            configuration=make_configuration(key, network_id, is_client=True)
        )
        self.events: list[QuicEvent] = []
        self.control = FrameDecoder()
        self._key = key
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._changed = asyncio.Event()
        self._transport: asyncio.DatagramTransport

    @classmethod
    async def dial(
        cls, address: str, key: DeviceKey, *, network_id: str = "contract"
    ) -> "Stranger":
        host, _, port = address.rpartition(":")
        _, stranger = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: cls(key, network_id=network_id), remote_addr=(host, int(port))
        )
        stranger.quic.connect(ADDRESS, stranger._loop.time())
        stranger.flush()
        return stranger

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: object) -> None:
        self.quic.receive_datagram(data, ADDRESS, self._loop.time())
        self.flush()

    def flush(self) -> None:
        while (event := self.quic.next_event()) is not None:
            self.events.append(event)
            if isinstance(event, StreamDataReceived) and event.stream_id == 1:
                self.control.feed(event.data)
        for data, _ in self.quic.datagrams_to_send(self._loop.time()):
            if not self._transport.is_closing():
                self._transport.sendto(data)
        if self._timer is not None:
            self._timer.cancel()
        at = self.quic.get_timer()
        self._timer = self._loop.call_at(at, self._fire) if at is not None else None
        self._changed.set()

    def _fire(self) -> None:
        self.quic.handle_timer(self._loop.time() + 1e-6)
        self.flush()

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until something is so."""
        while not condition():
            self._changed.clear()
            await self._changed.wait()

    async def say_hello(self, server: PeerId) -> None:
        """Go through the hello as it should be."""
        hello = DiallerHello(
            self._key,
            server,
            HelloOffer(
                network_id="contract", instance=bytes(16), nonce=bytes(32), probe_secret=bytes(16)
            ),
        )
        while hello.agreement is None:
            await self.until(lambda: self.control.buffered)
            message = self.control.next()
            assert message is not None
            answer = hello.receive(message)
            if answer is not None:
                self.send(1, encode_frame(answer))

    def send(self, stream_id: int, data: bytes, *, end: bool = False) -> None:
        self.quic.send_stream_data(stream_id, data, end)
        self.flush()

    async def ending(self) -> ConnectionTerminated:
        """How the other side ended it."""
        await self.until(lambda: self.quic._close_event)
        assert isinstance(self.quic._close_event, ConnectionTerminated)
        return self.quic._close_event

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._transport.abort()
