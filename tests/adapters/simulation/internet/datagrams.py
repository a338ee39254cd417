"""Sockets for the tests: what arrives is kept, and can be waited for."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import cast

from adapters.simulation.internet.datagram import SocketName
from adapters.simulation.internet.host import Host
from adapters.simulation.internet.internet import Internet
from adapters.simulation.internet.packet import Endpoint
from adapters.simulation.loop import VirtualTimeLoop


class Inbox(asyncio.DatagramProtocol):
    """A UDP socket."""

    def __init__(self) -> None:
        self.received: deque[tuple[bytes, SocketName]] = deque()
        self.is_lost = False
        self._arrived = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)  # aioice's looks like one

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_lost = True

    def datagram_received(self, data: bytes, addr: SocketName) -> None:
        self.received.append((data, addr))
        self._arrived.set()

    @property
    def name(self) -> SocketName:
        return cast("SocketName", self.transport.get_extra_info("sockname"))

    def send(self, data: bytes, to: SocketName | None = None) -> None:
        self.transport.sendto(data, to)

    async def receive(self, within_s: float = 1.0) -> tuple[bytes, SocketName] | None:
        """The next datagram with its source; None if none comes in time."""
        try:
            async with asyncio.timeout(within_s):
                while not self.received:
                    self._arrived.clear()
                    await self._arrived.wait()
        except TimeoutError:
            return None
        return self.received.popleft()


async def open_inbox(
    host: Host,
    local: Endpoint | None = ("0.0.0.0", 0),
    *,
    remote: Endpoint | None = None,
) -> Inbox:
    """Open a UDP socket on a host."""
    with host.entered():
        _, inbox = await asyncio.get_running_loop().create_datagram_endpoint(
            Inbox, local_addr=local, remote_addr=remote
        )
    return inbox


def new_internet(seed: int) -> Internet:
    """An internet on the loop of the test."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    return Internet(loop, seed)


async def until(condition: Callable[[], bool], *, step_s: float = 0.1) -> None:
    """Wait until something is so, and look every so many seconds."""
    while not condition():  # noqa: ASYNC110 - in virtual time it wastes nothing
        await asyncio.sleep(step_s)
