"""Faults that simulated schedules have found, each as the shortest story that shows it."""

import asyncio
import gc
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import replace
from random import Random

import pytest
from pycrdt import Doc

from adapters.simulation.link import LinkOptions, TraceEvent, TraceKind
from adapters.simulation.loop import run
from adapters.simulation.network import SimulatedNetwork
from adapters.simulation.world import SimulatedWorld
from domain.identifiers import LogId, LogKey
from domain.identity import DeviceKey
from domain.operations.kind import Kind
from domain.operations.operation import Extension, Operation, sign
from node.recent import RecentOperations
from node.runtime import open_runtime
from tests.simulation.scenario import simulate
from tests.simulation.village import running

WAIT_S = 30.0
Story = Callable[[SimulatedWorld], Awaitable[None]]


def play(seed: int, story: Story, *, silence_s_max: float = 30.0) -> list[TraceEvent]:
    trace: list[TraceEvent] = []

    async def scenario(seed: int) -> None:
        loop = asyncio.get_running_loop()
        network = SimulatedNetwork(loop, seed, silence_s_max=silence_s_max, report=trace.append)
        async with asyncio.timeout(1_000):
            await story(SimulatedWorld(loop, seed, network=network))

    run(scenario, seed)
    return trace


def test_a_document_opens_again_after_edits_that_build_on_those_of_others(seed: int) -> None:
    """The store knows the places of operations that have not been replayed yet: they must not count as being in."""

    async def story(world: SimulatedWorld) -> None:
        async with running(world.machine("a")) as a:
            document = await a.create("notes")
            invite = await document.invite()
            async with running(world.machine("b")) as b:
                copy = await b.join(invite)
                for number in range(10):
                    for each in (document, copy):
                        each.text("text").insert(0, f"{number} ")
                        await each.durable()
                    await asyncio.sleep(1)
                world.machine("b").disk.damage_snapshot(document.id)
            world.machine("b").disk.damage_snapshot(document.id)
            async with running(world.machine("b")) as b:
                again = await b.document(document.id)
                assert str(again.text("text")) == str(document.text("text"))

    play(seed, story)


def test_closing_while_operations_are_on_their_way_to_disk_leaves_a_sound_snapshot(
    seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def story(world: SimulatedWorld) -> None:
        machine = world.machine("b")
        async with running(world.machine("a")) as a:
            document = await a.create("notes")
            invite = await document.invite()
            async with running(machine) as b:
                copy = await b.join(invite)
                copy.text("text").insert(0, "own ")
                await copy.durable()
                machine.disk.write_s = (1.0, 1.0)
                for number in range(20):
                    document.text("text").insert(0, f"{number} ")
                    await document.durable()
                await asyncio.sleep(0.5)
            machine.disk.write_s = (0.001, 0.001)
            async with running(machine) as b:
                again = await b.document(document.id)
                async with asyncio.timeout(WAIT_S):
                    await again.wait_until(
                        lambda: str(again.text("text")) == str(document.text("text"))
                    )

    for shift in range(5):
        play(seed + shift, story)
    assert "archive.snapshot_unusable" not in caplog.messages


def test_a_snapshot_that_does_not_fit_the_log_is_left_aside(seed: int) -> None:
    async def story(world: SimulatedWorld) -> None:
        machine = world.machine("a")
        async with running(machine) as a:
            document = await a.create("notes")
            document.text("text").insert(0, "word")
        snapshots = machine.disk.content.snapshots
        kept = snapshots[document.id]
        snapshots[document.id] = replace(kept, arrival_index=kept.arrival_index - 1)
        async with running(machine) as a:
            assert str((await a.document(document.id)).text("text")) == "word"

    play(seed, story)


def test_receipts_come_from_everybody_also_for_what_they_wrote_themselves(seed: int) -> None:
    """Nobody acknowledges its own operations, yet its author holds them."""

    async def story(world: SimulatedWorld) -> None:
        a, b, c = (world.machine(name) for name in "abc")
        async with running(a) as one, running(b) as two, running(c) as three:
            document = await one.create("notes")
            invite = await document.invite(uses=2)
            copies = [await two.join(invite), await three.join(invite)]
            two.peers.want(three.peer_id, three.addresses)
            await asyncio.sleep(5)
            for each in (document, *copies):
                each.text("text").insert(0, "word ")
                await asyncio.sleep(1)
            async with asyncio.timeout(5):
                for each in (document, *copies):
                    await each.durable("peers:2")

    play(seed, story)


def test_a_receipt_that_a_crash_has_lost_comes_again_with_equal_digests(seed: int) -> None:
    async def story(world: SimulatedWorld) -> None:
        machine = world.machine("a")
        async with running(world.machine("b")) as b:
            crashed = asyncio.Event()

            async def live() -> None:
                async with running(machine) as a:
                    document = await a.create("notes")
                    copy = await b.join(await document.invite())
                    document.text("text").insert(0, "word")
                    await document.durable("peers:1")
                    assert "word" in str(copy.text("text"))
                    crashed.set()
                    await asyncio.Event().wait()

            life = asyncio.create_task(live())
            await crashed.wait()
            machine.crash()
            life.cancel()
            await asyncio.wait([life])
            async with running(machine) as a, asyncio.timeout(WAIT_S):
                (known,) = a.documents()
                await (await a.document(known.id)).durable("peers:1")

    play(seed, story, silence_s_max=5)


def test_who_alone_has_noticed_that_a_connection_is_lost_redials_patiently(seed: int) -> None:
    """The other side refuses what it takes for a second connection, until the first is too old to be a tie."""

    async def story(world: SimulatedWorld) -> None:
        async with running(world.machine("a")) as a, running(world.machine("b")) as b:
            document = await a.create("notes")
            copy = await b.join(await document.invite())
            for _ in range(5):
                await asyncio.sleep(20)
                world.network.break_connections("a", "b")
            await asyncio.sleep(40)
            document.text("text").insert(0, "word")
            async with asyncio.timeout(5):
                await copy.wait_until(lambda: "word" in str(copy.text("text")))

    for shift in range(5):
        trace = play(seed + shift, story)
        assert sum(event.kind is TraceKind.OPENED for event in trace) < 60


def test_joining_that_is_cancelled_while_the_disk_fails_stays_cancelled(seed: int) -> None:
    async def story(world: SimulatedWorld) -> None:
        async with running(world.machine("a")) as a, running(world.machine("b")) as b:
            invite = await (await a.create("notes")).invite()
            joining = asyncio.create_task(b.join(invite))
            async with asyncio.timeout(WAIT_S):
                while not b.owners():  # noqa: ASYNC110 - nothing tells of this moment
                    await asyncio.sleep(0.001)
            world.machine("b").disk.fill()
            joining.cancel()
            await asyncio.wait([joining])
            assert joining.cancelled()
            world.machine("b").disk.mend()
            assert (await b.join(invite)).role is not None

    play(seed, story)


def test_joining_a_large_document_goes_on_where_a_connection_broke(seed: int) -> None:
    """The admission stands behind everything else: beginning anew each time, it would never be reached."""

    async def story(world: SimulatedWorld) -> None:
        world.network.set_link("a", "b", LinkOptions(delay_s=0.02, bytes_per_s=100_000))
        async with running(world.machine("a")) as a, running(world.machine("b")) as b:
            document = await a.create("notes")
            for _ in range(60):
                document.array("pieces").append(bytes(60_000))
                await document.durable()
            joining = asyncio.create_task(b.join(await document.invite()))
            for _ in range(3):
                await asyncio.sleep(15)
                assert not joining.done()
                world.network.break_connections("a", "b")
            copy = await joining
            async with asyncio.timeout(WAIT_S):  # the secret comes last of all
                await copy.wait_until(lambda: len(copy.array("pieces")) == 60)

    trace = play(seed, story, silence_s_max=5)
    carried = sum(len(each.message) for each in trace if each.kind is TraceKind.DELIVERED)
    assert carried < 1.5 * 60 * 60_000


def test_a_node_starts_on_a_full_disk_also_when_there_is_something_to_tidy_up(seed: int) -> None:
    """What an interrupted joining left behind is deleted at the next start, if that is possible."""

    async def story(world: SimulatedWorld) -> None:
        machine = world.machine("b")
        async with running(world.machine("a")) as a, running(machine) as b:
            invite = await (await a.create("notes")).invite()
            joining = asyncio.create_task(b.join(invite))
            async with asyncio.timeout(WAIT_S):
                while not machine.disk.content.records:  # noqa: ASYNC110 - nothing tells of this moment
                    await asyncio.sleep(0.001)
            machine.disk.fill()
            joining.cancel()
            await asyncio.wait([joining])
        assert machine.disk.content.records
        async with running(machine) as b:
            assert b.documents() == []
        machine.disk.mend()
        async with running(machine) as b:
            assert b.documents() == []
            assert not machine.disk.content.records

    play(seed, story)


def test_documents_that_are_closed_are_freed(seed: int) -> None:
    """The engine holds on to who observes it, out of sight of the garbage collector."""

    def live_docs() -> int:
        gc.collect()
        return sum(isinstance(each, Doc) for each in gc.get_objects())

    async def story(world: SimulatedWorld) -> None:
        for _ in range(3):
            async with running(world.machine("a")) as a:
                document = await a.create("notes")
                document.text("text").insert(0, "word")
                await document.durable()

    before = live_docs()
    play(seed, story)
    assert live_docs() <= before


async def test_a_task_that_is_cancelled_before_it_begins_leaves_nothing_behind() -> None:
    async def work() -> None:
        pytest.fail("it began")

    async with open_runtime() as runtime:
        never_begun = work()
        runtime.spawn(never_begun, "work")
        runtime.cancel_all()
    assert inspect.getcoroutinestate(never_begun) == inspect.CORO_CLOSED, "it is warned of"


def test_recent_operations_are_those_that_a_search_of_all_would_give(seed: int) -> None:
    random = Random(seed)
    keys = [DeviceKey(bytes([number]) * 32) for number in range(3)]
    stored: list[Operation] = []
    counts = dict.fromkeys(range(3), 0)
    recent = RecentOperations(count_max=40, bytes_max=1_000_000)
    for _ in range(100):
        which = random.randrange(3)
        extension = Extension(log_id=LogId(bytes(32)), timestamp=0, kind=Kind.UPDATE)
        backlink = stored[-1].operation_id if counts[which] else None
        header = sign(
            keys[which],
            seq_num=counts[which],
            backlink=backlink,
            extension=extension,
            body=b"x",
        )
        counts[which] += 1
        stored.append(Operation.assemble(header, b"x"))
        recent.extend(stored[-1:])
    kept = stored[-40:]
    for _ in range(50):
        wanted = {
            LogKey(keys[which].peer, LogId(bytes(32))): random.randrange(counts[which])
            for which in random.sample(range(3), random.randint(1, 3))
        }
        expected = [
            each
            for each in stored
            if each.log in wanted and each.header.seq_num >= wanted[each.log]
        ]
        found = recent.since(wanted)
        if all(each in kept for each in expected):
            assert found == expected
        else:
            assert found is None


def test_no_snapshot_is_kept_of_what_a_fork_is_about_to_change() -> None:
    """A node that was closed while it cut a log in two came up from a snapshot of before, which did not fit."""
    assert not simulate(7344).complaints
