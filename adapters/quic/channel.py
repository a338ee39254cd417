"""A channel of a connection, as the rest of the node sees it."""

import asyncio
from collections.abc import Callable

from adapters.quic.multiplexer import Multiplexer
from adapters.quic.stream import Inbox, Outbox
from domain.connectivity.framing import encode_frame
from domain.errors import PeerError
from domain.limits import TURN_MESSAGES_MAX
from domain.ports.network import Channel


class QuicChannel(Channel):
    """One channel, both directions.

    Args:
        multiplexer: Its connection's.
        inbox: What has arrived on it.
        outbox: What is to be sent on it.
        fail: Closes the connection because of something that the peer did.
    """

    def __init__(
        self,
        multiplexer: Multiplexer,
        inbox: Inbox,
        outbox: Outbox,
        fail: Callable[[PeerError], None],
    ) -> None:
        self._multiplexer = multiplexer
        self._inbox = inbox
        self._outbox = outbox
        self._fail = fail
        self._received = 0

    async def send(self, message: bytes) -> None:
        frame = encode_frame(message)
        await self._multiplexer.wait_writable(self._outbox)
        self._multiplexer.messages_sent += 1
        self._multiplexer.write(self._outbox, frame)

    def offer(self, message: bytes) -> bool:
        frame = encode_frame(message)
        if not self._multiplexer.is_writable(self._outbox):
            return False
        self._multiplexer.messages_sent += 1
        self._multiplexer.write(self._outbox, frame)
        return True

    async def receive(self) -> bytes:
        self._received += 1
        if not self._received % TURN_MESSAGES_MAX:
            await asyncio.sleep(
                0
            )  # a reader that always finds something would keep the loop to itself
        while True:
            try:
                message = self._inbox.take()
            except PeerError as error:
                self._fail(error)
                message = None
            if message is not None:
                self._multiplexer.messages_received += 1
                return message
            self._multiplexer.check()
            await self._inbox.wait()
