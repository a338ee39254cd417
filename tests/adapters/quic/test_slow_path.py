"""Live edits and bulk over a path that is slower than we are, in virtual time: a line with a rate and a buffer."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from aioquic.quic.recovery import QuicPacketPacer

import node.config
from adapters.quic import engine
from adapters.quic.congestion import CONGESTION_CONTROLS
from adapters.quic.connection import PeerConnection
from adapters.simulation.loop import run
from domain.limits import KIB
from domain.ports.network import Channel, Priority
from tests.adapters.quic.environment import engine_of
from tests.adapters.quic.wire import Wire
from tests.contracts.connected_peers import (
    channel_name,
    connect,
    device,
    receive_count,
    running,
    send_all,
)

MBIT: float = 1e6 / 8
EDIT_S = 0.05
"""Somebody types fast."""


@dataclass
class Load:
    """What two channels of one connection carried."""

    latencies_s: list[float]
    bulk_bytes: int


def percentile(values: list[float], percent: int) -> float:
    return sorted(values)[min(len(values) - 1, len(values) * percent // 100)]


async def soak(channel: Channel, took: Callable[[bytes], None]) -> None:
    while True:
        took(await channel.receive())


def line(seed: int, *, mbit: float, round_trip_s: float, queue_s: float) -> Wire:
    rate = mbit * MBIT
    return Wire(
        seed=seed, delay_s=round_trip_s / 2, bytes_per_s=rate, queue_bytes=int(queue_s * rate)
    )


async def fill(bulk: Channel) -> None:
    while True:
        await bulk.send(bytes(16 * KIB))


async def type_edits(live: Channel) -> None:
    """Send the time, again and again."""
    loop = asyncio.get_running_loop()
    while True:
        await live.send(b"%.9f" % loop.time())
        await asyncio.sleep(EDIT_S)  # virtual, as below


async def carry(wire: Wire, *, is_live: bool, settle_s: float, lasts_s: float) -> Load:
    """Let one side send bulk, and edits beside it, for a while; count after it has settled."""
    loop = asyncio.get_running_loop()
    alice, bob = wire.network(device(1)), wire.network(device(2))
    await alice.start()
    await bob.start()
    near, far = await connect(alice, bob, device(2))
    load = Load([], 0)
    live_at = loop.time() + settle_s
    end = live_at + lasts_s

    def took_bulk(message: bytes) -> None:
        if live_at <= loop.time() <= end:
            load.bulk_bytes += len(message)

    def took_edit(message: bytes) -> None:
        sent_at = float(message)
        if live_at <= sent_at:
            load.latencies_s.append(loop.time() - sent_at)

    work = [
        soak(far.channel(channel_name(1)), took_bulk),
        soak(far.channel(channel_name(2)), took_edit),
        fill(near.channel(channel_name(1), Priority.LOW)),
    ]
    if is_live:
        work.append(type_edits(near.channel(channel_name(2), Priority.HIGH)))
    tasks = [asyncio.create_task(each) for each in work]
    await asyncio.sleep(end - loop.time())
    for task in tasks:
        task.cancel()
    await alice.close(0, "")
    await bob.close(0, "")
    return load


def test_live_edits_hardly_wait_for_bulk_and_bulk_hardly_slows_down() -> None:
    async def scenario(seed: int, *, is_live: bool) -> Load:
        wire = line(seed, mbit=20, round_trip_s=0.05, queue_s=0.15)
        return await carry(wire, is_live=is_live, settle_s=2.5, lasts_s=2.5)

    alone = run(lambda seed: scenario(seed, is_live=False), 0)
    both = run(lambda seed: scenario(seed, is_live=True), 0)
    assert len(both.latencies_s) >= 40
    assert percentile(both.latencies_s, 99) < 0.050
    assert both.bulk_bytes >= 0.8 * alone.bulk_bytes > 0


@pytest.mark.parametrize("queue_s", [0.02, 0.05])
def test_bulk_after_half_a_minute_of_typing_is_not_lost(queue_s: float) -> None:
    async def scenario(seed: int) -> tuple[int, int]:
        wire = line(seed, mbit=20, round_trip_s=0.05, queue_s=queue_s)
        alice, bob = wire.network(device(1)), wire.network(device(2))
        await alice.start()
        await bob.start()
        near, far = await connect(alice, bob, device(2))
        live = near.channel(channel_name(1), Priority.HIGH)
        reading = asyncio.create_task(soak(far.channel(channel_name(1)), lambda _: None))
        for _ in range(300):
            await live.send(bytes(60))
            await asyncio.sleep(0.1)  # virtual
        before = near.statistics().bytes_sent
        bulk = [bytes(64 * KIB)] * 64
        sending = asyncio.create_task(send_all(near.channel(channel_name(2), Priority.LOW), bulk))
        await receive_count(far.channel(channel_name(2)), len(bulk))
        await sending
        sent = (near.statistics().bytes_sent - before) // 1_200
        reading.cancel()
        await alice.close(0, "")
        await bob.close(0, "")
        return wire.dropped, sent

    dropped, sent = run(scenario, 0)
    assert sent >= 64 * 64 * KIB // 1_200
    assert dropped < 0.05 * sent


def test_pacing_is_as_good_as_aioquics_where_the_queue_is_short(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario(seed: int) -> Load:
        wire = line(seed, mbit=100, round_trip_s=0.04, queue_s=15_000 / (100 * MBIT))
        return await carry(wire, is_live=False, settle_s=0.5, lasts_s=1.5)

    ours = run(scenario, 0).bulk_bytes
    monkeypatch.setattr(engine, "Pacer", QuicPacketPacer)
    stock = run(scenario, 0).bulk_bytes
    assert ours >= 0.95 * stock > 0


@pytest.mark.parametrize("name", CONGESTION_CONTROLS)
def test_congestion_control_can_be_chosen(name: str) -> None:
    async def scenario(seed: int) -> str:
        wire = line(seed, mbit=50, round_trip_s=0.02, queue_s=0.02)
        alice, bob = wire.network(device(1), congestion_control=name), wire.network(device(2))
        async with running(alice, bob):
            near, far = await connect(alice, bob, device(2))
            bulk = [bytes(64 * KIB)] * 4
            sending = asyncio.create_task(send_all(near.channel(channel_name(1)), bulk))
            assert await receive_count(far.channel(channel_name(1)), 4) == bulk
            await sending
            assert isinstance(near, PeerConnection)
            return type(engine_of(near)._loss._cc).__name__

    chosen = {"culm": "CongestionControl", "cubic": "CubicCongestionControl"}
    assert run(scenario, 0) == chosen.get(name, "RenoCongestionControl")


def test_an_unknown_congestion_control_is_an_error_that_names_the_known() -> None:
    assert CONGESTION_CONTROLS == node.config.CONGESTION_CONTROLS
    with pytest.raises(ValueError, match="culm, cubic, reno"):
        Wire().network(device(1), congestion_control="fast")
