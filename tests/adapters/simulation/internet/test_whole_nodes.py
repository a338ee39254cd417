"""Whole nodes with the production transport, on an internet with NATs, losses and outages."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from adapters.simulation.internet.reproducible import reproducible_transport
from domain.connectivity.lifecycle import Lifecycle, State
from tests.adapters.simulation.internet.datagrams import until
from tests.adapters.simulation.internet.whole_nodes import (
    LEFT,
    LOSSY,
    NAMES,
    PUBLIC,
    RIGHT,
    Situation,
    write,
)

HEAL_S_MAX = 60.0
PERFECT = replace(LOSSY, loss=0.0)
BACK_OFF = 2.0
"""QUIC sends again after twice as long each time (RFC 9002, 6.2.1): what was lost comes up to an outage later."""
RECONNECT_S_MAX = 180.0
"""A peer that went silent is given up after 90 s."""


@pytest.fixture(autouse=True)
async def _reproducible(seed: int) -> AsyncIterator[None]:
    with reproducible_transport(seed, asyncio.get_running_loop().time):
        yield


async def test_nodes_behind_nats_converge_over_a_lossy_public_node(seed: int) -> None:
    situation = Situation(seed, LOSSY)
    async with situation.group(*NAMES) as group:
        await write(group, 20, 0.05)
        await group.converge(HEAL_S_MAX)
        assert len(group.texts[0].split()) == 60


@pytest.mark.parametrize("after_s", [0.06 + 0.01 * each for each in range(10)])
async def test_an_outage_while_two_get_to_know_each_other_costs_no_more_than_it_lasts(
    after_s: float, seed: int
) -> None:
    """The one whose hello comes later cannot answer probes before: it must not be taken for dead meanwhile."""
    loop = asyncio.get_running_loop()
    situation = Situation(seed, PERFECT)
    async with situation.node(PUBLIC) as public, situation.node(LEFT) as left:
        invite = await (await public.create("shared")).invite()
        async with asyncio.TaskGroup() as tasks:
            joining = tasks.create_task(left.join(invite))
            await asyncio.sleep(after_s)
            situation.internet.partition([PUBLIC])
            await asyncio.sleep(5.0)
            situation.internet.heal()
            healed_at = loop.time()
        assert joining.done()
        assert loop.time() - healed_at < 5.0 * BACK_OFF


async def test_they_converge_after_a_line_was_down_for_ten_seconds(seed: int) -> None:
    situation = Situation(seed, LOSSY)
    async with situation.group(*NAMES) as group:
        await write(group, 5, 0.05)
        situation.lines[LEFT].set_up(is_up=False)
        await write(group, 50, 0.066)
        assert len(set(group.texts)) > 1
        situation.lines[LEFT].set_up(is_up=True)
        await group.converge(HEAL_S_MAX)
        assert len(group.texts[0].split()) == 165


async def test_they_converge_after_a_partition_that_outlasts_all_retries(seed: int) -> None:
    """The others count the one that was cut off as failed; it has the address of one, and goes on dialling."""
    situation = Situation(seed, LOSSY)
    async with situation.group(*NAMES) as group:
        situation.internet.partition([RIGHT])
        await write(group, 5, 240.0)
        public, _, right = group.nodes
        assert public.peers.known[right.peer_id].lifecycle.state is State.FAILED
        assert right.peers.known[public.peer_id].lifecycle.state is not State.FAILED
        situation.internet.heal()
        await group.converge(HEAL_S_MAX)
        assert len(group.texts[0].split()) == 15


async def test_they_converge_after_a_box_restarted_and_another_got_a_new_address(
    seed: int,
) -> None:
    situation = Situation(seed, LOSSY)
    async with situation.group(*NAMES) as group:
        await write(group, 5, 0.05)
        situation.routers[LEFT].rebind()
        situation.routers[RIGHT].readdress("203.0.113.99")
        await write(group, 5, 0.05)
        await group.converge(RECONNECT_S_MAX)
        assert len(group.texts[0].split()) == 30


async def test_a_machine_that_crashed_gets_what_it_missed(seed: int) -> None:
    situation = Situation(seed, LOSSY)
    async with situation.group(PUBLIC) as group:
        founded = group.documents[0]
        invite = await founded.invite(uses=1, expires_s=10_000)

        async def live(text: str, ending: asyncio.Event) -> None:
            async with situation.node(LEFT) as node:
                known = node.documents()
                document = await (node.document(known[0].id) if known else node.join(invite))
                document.text("body").insert(0, text)
                await document.durable("peers:1")
                await until(lambda: str(document.text("body")) == str(founded.text("body")))
                lived.set()
                await ending.wait()

        lived, ending = asyncio.Event(), asyncio.Event()
        first = asyncio.create_task(live("first ", ending))
        async with asyncio.timeout(HEAL_S_MAX):
            await lived.wait()
        situation.world.machine(LEFT).crash()
        first.cancel()
        await asyncio.wait([first])
        founded.text("body").insert(0, "missed ")
        lived.clear()
        second = asyncio.create_task(live("second ", ending))
        async with asyncio.timeout(RECONNECT_S_MAX):
            await lived.wait()
        assert sorted(str(founded.text("body")).split()) == ["first", "missed", "second"]
        ending.set()
        await second


async def test_of_a_dial_that_is_given_up_nothing_goes_on(seed: int) -> None:
    """Else it would take steps of a life cycle that waits for its next try by then, which no table has."""
    situation = Situation(seed, LOSSY)
    async with situation.node(PUBLIC) as public, situation.node(LEFT) as left:
        lifecycle = Lifecycle(now=asyncio.get_running_loop().time())
        running: list[str] = []

        async def attempt() -> None:
            try:
                await left.peers._network.dial(public.peer_id, ("198.51.100.9:1",), lifecycle)
            finally:
                running.extend(task.get_name() for task in asyncio.all_tasks())

        dial = asyncio.create_task(attempt())
        await asyncio.sleep(0.1)
        assert lifecycle.state is State.CONNECTING
        dial.cancel()
        await asyncio.wait([dial])
        assert running
        assert f"reach {public.peer_id.short}" not in running


async def test_nodes_that_close_have_nothing_to_complain_of(
    seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    situation = Situation(seed, LOSSY)
    for twentieths in range(20):  # whatever is done once a second comes while one of them closes
        async with situation.group(PUBLIC, LEFT):
            await asyncio.sleep(0.5 + twentieths / 20)
    assert not [each for each in caplog.records if each.getMessage() == "runtime.task_failed"]
