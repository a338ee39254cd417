"""Measures the transport: our connections, and what they are held against, side by side."""

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from domain.limits import KIB
from node.demo.process import WorkerProcess, start_module

MESSAGE_BYTES: Final = 64 * KIB
OURS: Final = "scripts.bench.transport_worker"
OTHERS: Final = "scripts.bench.transport_others"
WARM_UP_MIB: Final = 2
BULK_CHANNEL: Final = 999
LIVE_CHANNEL: Final = 1_000
FIRST_STREAM: Final = 2_000
CALM_BUSY_S: Final = 0.3  # of processor time in a second
CALM_S_MAX: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is measured.

    Args:
        bulk_mib: Sent for each figure of throughput.
        pings: Round trips, and streams opened.
        handshakes: Connections made one after the other.
        live_messages: Small messages that are sent 10 ms apart, beside bulk.
        connections: Open at once.
        idle_s: How long they are watched doing nothing.
        against: `aioquic`, `tls`, both, or nothing.
    """

    bulk_mib: int
    pings: int
    handshakes: int
    live_messages: int
    connections: int
    idle_s: float
    against: tuple[str, ...]


class Pair:
    """Two processes, one of which listens and takes, while the other dials and sends."""

    def __init__(self, taker: WorkerProcess, sender: WorkerProcess) -> None:
        self.taker = taker
        self.sender = sender
        self._streams = FIRST_STREAM

    async def throughput(self, bulk_mib: int, channels: int = 1) -> float:
        """Give megabytes a second on so many channels together."""
        messages = bulk_mib * 16 // channels
        request = {"channels": list(range(channels)), "messages": messages}
        taken = self.taker.ask("sink", **request)
        sent = await self.sender.ask("blast", **request)
        seconds = float((await taken)["ended"] - sent["began"])
        return messages * channels * MESSAGE_BYTES / seconds / 1e6

    async def open_streams(self, count: int) -> dict[str, float]:
        """Give the time of a first message and its answer on a new stream, in microseconds."""
        request = {"first": self._streams, "count": count}
        self._streams += count
        await self.taker.ask("echo", **request)
        return dict(await self.sender.ask("open_streams", **request))

    async def live_under_bulk(self, count: int) -> dict[str, Any]:
        """Give the time of a small message and its answer while bulk goes the same way, and how fast that goes."""
        await self.taker.ask("soak", channel=BULK_CHANNEL)
        await self.taker.ask("echo", first=LIVE_CHANNEL, count=1)
        return dict(
            await self.sender.ask("live", live=LIVE_CHANNEL, bulk=BULK_CHANNEL, count=count)
        )


@asynccontextmanager
async def start_pair(module: str, *arguments: str) -> AsyncIterator[Pair]:
    """Run both processes in the block."""
    async with (
        start_module(module, *arguments) as taker,
        start_module(module, *arguments) as sender,
    ):
        pair = Pair(taker, sender)
        await sender.ask("aim", **await taker.ask("listen"))
        yield pair


async def measure_round(plan: Plan) -> dict[str, Any]:
    """Measure once what can be measured in a moment; what is compared comes one right after the other."""
    async with AsyncExitStack() as stack:
        ours = await stack.enter_async_context(start_pair(OURS))
        others = {
            kind: await stack.enter_async_context(start_pair(OTHERS, kind)) for kind in plan.against
        }
        handshake = await ours.sender.ask("handshakes", count=plan.handshakes)
        await ours.sender.ask("dial")
        for pair in (ours, *others.values()):
            await pair.throughput(WARM_UP_MIB)
        throughput = {"one_stream": await ours.throughput(plan.bulk_mib)}
        for kind, pair in others.items():
            throughput[kind] = await pair.throughput(plan.bulk_mib)
        throughput["eight_streams"] = await ours.throughput(plan.bulk_mib, channels=8)
        live = await ours.live_under_bulk(plan.live_messages)
        return {
            "throughput_mb_s": throughput,
            "round_trip_us": await ours.sender.ask("ping", count=plan.pings),
            "stream_open_us": await ours.open_streams(plan.pings),
            "handshake_ms": handshake,
            "live_under_bulk_ms": live["latency_ms"],
            "bulk_beside_live_mb_s": live["bulk_mb_s"],
            "bulk_alone_mb_s": live["bulk_alone_mb_s"],
        }


async def measure_crowd(plan: Plan) -> dict[str, Any]:
    """Open many connections to one process; give what they cost it in memory, and in processor time while idle."""
    async with start_pair(OURS) as pair:
        await pair.sender.ask("dial")
        await pair.sender.ask("ping", count=1)
        before = await pair.taker.ask("count_process")
        crowd = await pair.sender.ask("crowd", count=plan.connections)
        settle_s = await _wait_for_calm(pair.taker)
        full = await pair.taker.ask("count_process")
        await asyncio.sleep(plan.idle_s)
        after = await pair.taker.ask("count_process")
    return {
        "count": plan.connections,
        "setup_per_s": crowd["setup_per_s"],
        "settle_s": settle_s,
        "rss_bytes": after["memory_bytes"],
        "baseline_bytes": before["memory_bytes"],
        "idle_cpu_fraction": (after["processor_s"] - full["processor_s"]) / plan.idle_s,
    }


async def _wait_for_calm(taker: WorkerProcess) -> float:
    """Wait until all connections have used what they repeat while everybody talks at once; give how long that took."""
    began = asyncio.get_running_loop().time()
    busy_s = math.inf
    while busy_s > CALM_BUSY_S:
        before = await taker.ask("count_process")
        await asyncio.sleep(1)
        busy_s = (await taker.ask("count_process"))["processor_s"] - before["processor_s"]
        if asyncio.get_running_loop().time() - began > CALM_S_MAX:
            break
    return asyncio.get_running_loop().time() - began
