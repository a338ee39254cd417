"""What a line does to packets."""

import asyncio
from itertools import pairwise
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from adapters.simulation.internet.line import BurstLoss, Drop, Line, LineOptions
from adapters.simulation.internet.packet import Packet, Protocol
from adapters.simulation.loop import run

UDP_IP_BYTES = 28


def packet(number: int, size: int = 100) -> Packet:
    return Packet(
        protocol=Protocol.UDP,
        source=("192.0.2.1", 1),
        destination=("192.0.2.2", 2),
        payload=number.to_bytes(4, "big").ljust(size, b"x"),
        origin="one",
    )


class Watched:
    """A line, and what came of what was sent over it."""

    def __init__(self, options: LineOptions, seed: int) -> None:
        self.loop = asyncio.get_running_loop()
        self.arrived: list[tuple[float, int]] = []
        self.dropped: list[Drop] = []
        self.line = Line(self.loop, options, Random(seed), self._arrive, self._drop)

    def _arrive(self, packet: Packet) -> None:
        self.arrived.append((self.loop.time(), int.from_bytes(packet.payload[:4], "big")))

    def _drop(self, packet: Packet, why: Drop) -> None:
        self.dropped.append(why)

    @property
    def numbers(self) -> list[int]:
        return [number for _, number in self.arrived]

    async def send(self, count: int, *, every_s: float = 0.0, size: int = 100) -> None:
        for number in range(count):
            self.line.send(packet(number, size))
            if every_s:
                await asyncio.sleep(every_s)
        await asyncio.sleep(10)


async def watch(options: LineOptions, seed: int, count: int, every_s: float = 0.0) -> Watched:
    watched = Watched(options, seed)
    await watched.send(count, every_s=every_s)
    return watched


async def test_packets_take_the_delay(seed: int) -> None:
    watched = await watch(LineOptions(delay_s=0.25), seed, 3)
    assert watched.arrived == [(0.25, 0), (0.25, 1), (0.25, 2)]


async def test_the_rate_and_the_queue_bound_what_gets_through(seed: int) -> None:
    size = 100 + UDP_IP_BYTES
    options = LineOptions(delay_s=0.0, bytes_per_s=size * 10.0, queue_bytes=size * 5)
    watched = await watch(options, seed, 8)
    assert watched.numbers == [0, 1, 2, 3, 4]
    times = [round(at, 6) for at, _ in watched.arrived]
    assert times == [0.1, 0.2, 0.3, 0.4, 0.5]
    assert watched.dropped == [Drop.QUEUE_FULL] * 3


async def test_what_is_too_large_is_dropped(seed: int) -> None:
    watched = Watched(LineOptions(), seed)
    await watched.send(1, size=1_500 - UDP_IP_BYTES)
    await watched.send(1, size=1_501 - UDP_IP_BYTES)
    assert watched.numbers == [0]
    assert watched.dropped == [Drop.TOO_LARGE]


async def test_loss_and_duplication_have_their_share(seed: int) -> None:
    lossy = await watch(LineOptions(loss=0.2), seed, 5_000)
    assert 0.16 < len(lossy.dropped) / 5_000 < 0.24
    doubling = await watch(LineOptions(duplication=0.2), seed, 5_000)
    assert 0.16 < len(doubling.arrived) / 5_000 - 1 < 0.24
    assert sorted(set(doubling.numbers)) == list(range(5_000))


async def test_burst_loss_comes_in_bursts(seed: int) -> None:
    burst = BurstLoss(fall=0.01, recover=0.2)
    watched = await watch(LineOptions(burst_loss=burst), seed, 20_000)
    lost = sorted(set(range(20_000)).difference(watched.numbers))
    bursts = 1 + sum(after - before > 1 for before, after in pairwise(lost))
    assert 0.03 < len(lost) / 20_000 < 0.07
    assert 3 < len(lost) / bursts < 8


async def test_reordered_packets_are_overtaken_and_nothing_is_lost(seed: int) -> None:
    options = LineOptions(reordering=0.1, reordering_s=0.05)
    watched = await watch(options, seed, 1_000, every_s=0.001)
    assert watched.numbers != sorted(watched.numbers)
    assert sorted(watched.numbers) == list(range(1_000))
    assert len(watched.numbers) - watched.line.statistics.reordered_packets > 800


async def test_a_line_that_is_down_loses_what_is_under_way_too(seed: int) -> None:
    watched = Watched(LineOptions(delay_s=1.0), seed)
    watched.line.send(packet(1))
    watched.line.is_up = False
    watched.line.send(packet(2))
    await asyncio.sleep(5)
    watched.line.is_up = True
    watched.line.send(packet(3))
    await asyncio.sleep(5)
    assert watched.numbers == [3]
    assert watched.dropped == [Drop.DOWN, Drop.DOWN]


@given(
    jitter_s=st.floats(0, 0.1),
    bytes_per_s=st.one_of(st.none(), st.floats(1_000, 1e6)),
    loss=st.floats(0, 1),
    pauses=st.lists(st.floats(0, 0.05), min_size=1, max_size=30),
    line_seed=st.integers(),
)
def test_without_reordering_order_is_kept(
    jitter_s: float, bytes_per_s: float | None, loss: float, pauses: list[float], line_seed: int
) -> None:
    options = LineOptions(jitter_s=jitter_s, bytes_per_s=bytes_per_s, loss=loss)

    async def scenario(seed: int) -> Watched:
        watched = Watched(options, seed)
        for number, pause_s in enumerate(pauses):
            watched.line.send(packet(number))
            await asyncio.sleep(pause_s)
        await asyncio.sleep(30)
        return watched

    watched = run(scenario, line_seed)
    assert watched.numbers == sorted(watched.numbers)
    assert len(watched.arrived) + len(watched.dropped) == len(pauses)
