"""Connections stay while the ways beneath them change: the production transport on the simulated internet."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from adapters.simulation.internet.host import Host
from adapters.simulation.internet.internet import Internet
from adapters.simulation.internet.line import LAN
from adapters.simulation.internet.nat import FULL_CONE, PORT_RESTRICTED, NatOptions
from adapters.simulation.internet.reproducible import reproducible_transport
from adapters.simulation.internet.router import Router
from domain.limits import PROBE_ACTIVE_S, SILENCE_S
from domain.ports.network import Connection
from tests.adapters.simulation.internet.datagrams import new_internet
from tests.adapters.simulation.internet.hosts import network_on
from tests.contracts.connected_peers import channel_name, connect, device, running

STALL_S_MAX = 2.0


@pytest.fixture(autouse=True)
async def _reproducible(seed: int) -> AsyncIterator[None]:
    with reproducible_transport(seed, asyncio.get_running_loop().time):
        yield


def behind(internet: Internet, name: str, number: int, nat: NatOptions) -> tuple[Host, Router]:
    router, inside = internet.router(f"{name} box", f"203.0.113.{number}", nat=nat)
    host = internet.host(name)
    host.attach(inside, f"10.{number}.0.2", options=LAN)
    return host, router


async def round_trip_s(near: Connection, far: Connection) -> float:
    """How long a message and its answer take."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    ours, theirs = near.channel(channel_name(1)), far.channel(channel_name(1))
    async with asyncio.timeout(30):
        await ours.send(b"question")
        assert await theirs.receive() == b"question"
        await theirs.send(b"answer")
        assert await ours.receive() == b"answer"
    return loop.time() - started


async def test_a_connection_outlives_a_rebinding_of_the_diallers_box(seed: int) -> None:
    internet = new_internet(seed)
    left, box = behind(internet, "left", 1, PORT_RESTRICTED)
    right = internet.public_host("right", "198.51.100.1")
    alice, bob = network_on(left, 1, seed), network_on(right, 2, seed)
    async with running(alice, bob):
        near, far = await connect(alice, bob, device(2))
        await round_trip_s(near, far)
        before = far.remote_address
        box.rebind()
        assert await round_trip_s(near, far) < STALL_S_MAX
        assert far.remote_address != before
        box.rebind()  # and while nothing is said
        await asyncio.sleep(3 * PROBE_ACTIVE_S)
        assert await round_trip_s(far, near) < STALL_S_MAX


async def test_a_connection_outlives_a_rebinding_of_the_listeners_box(seed: int) -> None:
    internet = new_internet(seed)
    left = internet.public_host("left", "198.51.100.1")
    right, box = behind(internet, "right", 2, FULL_CONE)
    alice, bob = network_on(left, 1, seed), network_on(right, 2, seed)
    async with running(alice, bob):
        near, far = await connect(bob, alice, device(1))
        for _ in range(3):
            box.rebind()
            assert await round_trip_s(near, far) < STALL_S_MAX


async def test_a_connection_outlives_a_change_of_interface(seed: int) -> None:
    internet = new_internet(seed)
    left, _ = behind(internet, "left", 1, PORT_RESTRICTED)
    _, elsewhere = internet.router("other box", "203.0.113.7", nat=PORT_RESTRICTED)
    left.attach(elsewhere, "10.7.0.2", options=LAN)
    right = internet.public_host("right", "198.51.100.1")
    alice, bob = network_on(left, 1, seed), network_on(right, 2, seed)
    async with running(alice, bob):
        near, far = await connect(alice, bob, device(2))
        await round_trip_s(near, far)
        left.interfaces[0].set_up(is_up=False)
        assert await round_trip_s(near, far) < STALL_S_MAX
        assert far.remote_address.startswith("203.0.113.7:")
        left.interfaces[0].set_up(is_up=True)
        left.interfaces[1].set_up(is_up=False)
        assert await round_trip_s(far, near) < STALL_S_MAX + SILENCE_S


@pytest.mark.parametrize("down_s", [2, 12])  # 15 s of silence end it
async def test_a_connection_outlives_a_line_that_is_down(seed: int, down_s: int) -> None:
    internet = new_internet(seed)
    left, box = behind(internet, "left", 1, PORT_RESTRICTED)
    right = internet.public_host("right", "198.51.100.1")
    alice, bob = network_on(left, 1, seed), network_on(right, 2, seed)
    async with running(alice, bob):
        near, far = await connect(alice, bob, device(2))
        await round_trip_s(near, far)
        box.outside.set_up(is_up=False)
        await near.channel(channel_name(2)).send(b"kept")
        await asyncio.sleep(down_s)
        box.outside.set_up(is_up=True)
        async with asyncio.timeout(4):
            assert await far.channel(channel_name(2)).receive() == b"kept"
        assert await round_trip_s(near, far) < STALL_S_MAX
