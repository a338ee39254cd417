"""One end of a connection of ours, in a process of its own, which does what standard input asks for."""

import asyncio
import itertools
import os
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Final

from adapters.quic.network import QuicNetwork
from adapters.system.environment import SystemClock, SystemEntropy
from domain.errors import ConnectionLostError, DialError
from domain.identifiers import PeerId
from domain.identity import DeviceKey
from domain.limits import CHANNEL_NAME_BYTES, KIB
from domain.ports.network import Channel, Connection, Priority
from node.demo.line import Message
from node.demo.stage import percentile_ms
from node.demo.worker import RequestPipe, resident_bytes, send

BULK_MESSAGE: Final = bytes(64 * KIB)
SMALL_MESSAGE: Final = bytes(200)
LIVE_PACE_S: Final = 0.010
SETTLE_S: Final = 0.5
DIALS_MAX: Final = 3
DIALS_AT_ONCE: Final = 8  # each of them has 3 s for the first answer


def channel_name(number: int) -> bytes:
    """Name a channel."""
    return number.to_bytes(CHANNEL_NAME_BYTES, "big")


def spread(times_s: list[float], unit: float) -> dict[str, float]:
    """Give p50 and p99 in parts of a second."""
    return {f"p{p}": (percentile_ms(sorted(times_s), p) or 0.0) / 1e3 * unit for p in (50, 99)}


class TransportWorker:
    """Does what is asked.

    Args:
        group: Where its tasks run.
    """

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self._group = group
        self._key = DeviceKey(os.urandom(32))
        self._network = QuicNetwork(
            key=self._key,
            listen="127.0.0.1:0",
            network_id="benchmark",
            clock=SystemClock(),
            entropy=SystemEntropy(),
        )
        self._connections: list[Connection] = []
        self._channels = itertools.count()
        self._target = PeerId(bytes(32))
        self._addresses: list[str] = []
        self.actions: dict[str, Callable[[Message], Awaitable[Message]]] = {
            "listen": self._listen,
            "aim": self._aim,
            "handshakes": self._handshakes,
            "dial": self._dial,
            "echo": self._echo,
            "sink": self._sink,
            "soak": self._soak,
            "blast": self._blast,
            "ping": self._ping,
            "open_streams": self._open_streams,
            "live": self._live,
            "crowd": self._crowd,
            "count_process": self._count_process,
        }

    # -- Both ends --

    async def _listen(self, _request: Message) -> Message:
        await self._network.start()
        self._group.create_task(self._accept())
        return {"address": self._network.addresses[0], "peer": self._key.peer.hex()}

    async def _accept(self) -> None:
        while True:
            connection = await self._network.accept()
            self._connections.append(connection)
            self._group.create_task(self._answer(connection.control))

    async def _answer(self, channel: Channel) -> None:
        """Send everything back, until the connection ends."""
        try:
            while True:
                await channel.send(await channel.receive())
        except ConnectionLostError:
            return

    async def _count_process(self, _request: Message) -> Message:
        return {"memory_bytes": resident_bytes(), "processor_s": time.process_time()}

    # -- The end that takes --

    async def _echo(self, request: Message) -> Message:
        """Send back what comes on so many channels of the newest connection."""
        for number in range(request["first"], request["first"] + request["count"]):
            channel = self._connections[-1].channel(channel_name(number), Priority.HIGH)
            self._group.create_task(self._answer(channel))
        return {}

    async def _sink(self, request: Message) -> Message:
        """Take so many messages from each of the channels; say when the last one was there."""
        channels = [
            self._connections[-1].channel(channel_name(number)) for number in request["channels"]
        ]
        async with asyncio.TaskGroup() as group:
            for channel in channels:
                group.create_task(self._take(channel, request["messages"]))
        return {"ended": time.monotonic()}

    async def _soak(self, request: Message) -> Message:
        """Take whatever comes on a channel, for ever."""
        channel = self._connections[-1].channel(channel_name(request["channel"]))
        self._group.create_task(self._take(channel, sys.maxsize))
        return {}

    async def _take(self, channel: Channel, messages: int) -> None:
        try:
            for _ in range(messages):
                await channel.receive()
        except ConnectionLostError:
            return

    # -- The end that sends --

    async def _aim(self, request: Message) -> Message:
        await self._network.start()
        self._target = PeerId(bytes.fromhex(request["peer"]))
        self._addresses = [request["address"]]
        return {}

    async def _dial(self, _request: Message) -> Message:
        self._connections.append(await self._network.dial(self._target, self._addresses))
        return {}

    async def _dial_until_answered(self) -> Connection:
        """Dial again, as a node does, where a busy machine has kept the answer back for longer than a dial waits."""
        for _ in range(DIALS_MAX):
            try:
                return await self._network.dial(self._target, self._addresses)
            except DialError:
                continue
        return await self._network.dial(self._target, self._addresses)

    async def _handshakes(self, request: Message) -> Message:
        times = []
        for _ in range(request["count"]):
            began = time.perf_counter()
            connection = await self._network.dial(self._target, self._addresses)
            times.append(time.perf_counter() - began)
            connection.close(0, "measured")
        return spread(times, 1e3)

    async def _blast(self, request: Message) -> Message:
        """Send so many messages on each of the channels; say when that began."""
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for number in request["channels"]:
                channel = self._connections[-1].channel(channel_name(number), Priority.LOW)
                group.create_task(self._send(channel, request["messages"]))
        return {"began": began}

    async def _send(self, channel: Channel, messages: int) -> None:
        for _ in range(messages):
            await channel.send(BULK_MESSAGE)

    async def _ping(self, request: Message) -> Message:
        control, times = self._connections[-1].control, []
        for _ in range(request["count"]):
            began = time.perf_counter()
            await control.send(SMALL_MESSAGE)
            await control.receive()
            times.append(time.perf_counter() - began)
        return spread(times, 1e6)

    async def _open_streams(self, request: Message) -> Message:
        """Say something on a channel that has no stream yet, and wait for the answer, again and again."""
        times = []
        for number in range(request["first"], request["first"] + request["count"]):
            began = time.perf_counter()
            channel = self._connections[-1].channel(channel_name(number), Priority.HIGH)
            await channel.send(SMALL_MESSAGE)
            await channel.receive()
            times.append(time.perf_counter() - began)
        return spread(times, 1e6)

    async def _live(self, request: Message) -> Message:
        """Send small messages at a steady pace beside bulk, which has been alone as long; measure until each answer."""
        connection = self._connections[-1]
        bulk = connection.channel(channel_name(request["bulk"]), Priority.LOW)
        live = connection.channel(channel_name(request["live"]), Priority.HIGH)
        times: list[float] = []
        bulk_bytes = 0

        async def fill() -> None:
            nonlocal bulk_bytes
            while True:
                await bulk.send(BULK_MESSAGE)
                bulk_bytes += len(BULK_MESSAGE)

        async def read() -> None:
            while len(times) < request["count"]:
                message = await live.receive()
                times.append(time.perf_counter() - float(message[: -len(SMALL_MESSAGE)]))

        filling = self._group.create_task(fill())
        await asyncio.sleep(SETTLE_S)
        began, before = time.perf_counter(), bulk_bytes
        await asyncio.sleep(request["count"] * LIVE_PACE_S)
        alone = (bulk_bytes - before) / (time.perf_counter() - began)
        reading = self._group.create_task(read())
        began, before = time.perf_counter(), bulk_bytes
        for number in range(request["count"]):
            await asyncio.sleep(max(0.0, began + number * LIVE_PACE_S - time.perf_counter()))
            await live.send(b"%.9f" % time.perf_counter() + SMALL_MESSAGE)
        await reading
        rate = (bulk_bytes - before) / (time.perf_counter() - began)
        filling.cancel()
        return {
            "latency_ms": spread(times, 1e3),
            "bulk_mb_s": rate / 1e6,
            "bulk_alone_mb_s": alone / 1e6,
        }

    async def _crowd(self, request: Message) -> Message:
        """Open so many connections, use each, and leave them open."""
        places = asyncio.Semaphore(DIALS_AT_ONCE)

        async def join() -> None:
            async with places:
                self._connections.append(await self._dial_until_answered())

        async def use(connection: Connection) -> None:
            await connection.control.send(SMALL_MESSAGE)
            await connection.control.receive()

        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for _ in range(request["count"]):
                group.create_task(join())
        took = time.monotonic() - began
        async with asyncio.TaskGroup() as group:
            for connection in self._connections[-request["count"] :]:
                group.create_task(use(connection))
        return {"setup_per_s": request["count"] / took}


async def serve() -> None:
    """Do what is asked, until standard input ends."""
    loop = asyncio.get_running_loop()
    _, pipe = await loop.connect_read_pipe(RequestPipe, sys.stdin.buffer)
    async with asyncio.TaskGroup() as group:
        worker = TransportWorker(group)
        while True:
            request = await pipe.next()
            send({"done": await worker.actions[request["do"]](request)})


if __name__ == "__main__":
    try:
        asyncio.run(serve())
    except asyncio.CancelledError:
        sys.exit(0)
