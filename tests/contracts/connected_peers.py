"""Two connected interfaces, and how to let time pass between them without sleeping."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

from domain.identity import DeviceKey
from domain.limits import CHANNEL_NAME_BYTES
from domain.ports.network import Channel, Connection, NetworkInterface

TEST_S_MAX = 30.0
SHUTTING_DOWN = 16
"""The code of an orderly end, in the public registry (`domain.connectivity.close_codes`)."""


class NetworkFactory(Protocol):
    """Makes an interface that is not started."""

    def __call__(self, key: DeviceKey, *, network_id: str = "contract") -> NetworkInterface:
        """Make one for the device with that key."""


def device(number: int) -> DeviceKey:
    """Make a key, the same for the same number."""
    return DeviceKey(number.to_bytes(32, "big"))


def channel_name(number: int) -> bytes:
    """Make a channel name, the same for the same number."""
    return number.to_bytes(CHANNEL_NAME_BYTES, "big")


@asynccontextmanager
async def running(*interfaces: NetworkInterface) -> AsyncIterator[None]:
    """Start the interfaces, and close them at the end."""
    try:
        async with asyncio.timeout(TEST_S_MAX):
            for interface in interfaces:
                await interface.start()
            yield
    finally:
        async with asyncio.timeout(TEST_S_MAX):
            for interface in interfaces:
                await interface.close(SHUTTING_DOWN, "the test is over")


async def connect(
    dialler: NetworkInterface, listener: NetworkInterface, key: DeviceKey
) -> tuple[Connection, Connection]:
    """Connect two interfaces: the dialler's end and the listener's."""
    accepted, dialled = await asyncio.gather(
        listener.accept(), dialler.dial(key.peer, listener.addresses)
    )
    return dialled, accepted


@asynccontextmanager
async def connected(open_network: NetworkFactory) -> AsyncIterator[tuple[Connection, Connection]]:
    """Give both ends of a fresh connection: the dialler's first."""
    alice, bob = open_network(device(1)), open_network(device(2))
    async with running(alice, bob):
        yield await connect(alice, bob, device(2))


async def round_trips(near: Connection, far: Connection, count: int = 4) -> None:
    """Let time pass: messages to and fro on the control channel."""
    for number in range(count):
        await near.control.send(b"ping %d" % number)
        assert await far.control.receive() == b"ping %d" % number
        await far.control.send(b"pong %d" % number)
        assert await near.control.receive() == b"pong %d" % number


async def send_all(channel: Channel, messages: list[bytes]) -> None:
    """Send the messages one after the other."""
    for message in messages:
        await channel.send(message)


async def receive_count(channel: Channel, count: int) -> list[bytes]:
    """Receive so many messages."""
    return [await channel.receive() for _ in range(count)]


class StoppedReader:
    """A channel whose writer goes on until it is held up, because nobody reads."""

    def __init__(self, near: Connection, far: Connection, message: bytes, count: int) -> None:
        self._near, self._far = near, far
        self._message, self._count = message, count
        self.sent = 0

    async def write(self, channel: Channel) -> None:
        """Send everything, counting."""
        for _ in range(self._count):
            await channel.send(self._message)
            self.sent += 1

    async def until_held_up(self) -> None:
        """Pass time until nothing more gets away."""
        before = -1
        while before != self.sent:
            before = self.sent
            await round_trips(self._near, self._far, 50)


async def round_trips_one_way(sender: Connection, receiver: Connection) -> None:
    """Let time pass while somebody else waits for the sender's control channel."""
    for number in range(8):
        await sender.control.send(b"on %d" % number)
        await receiver.control.receive()
