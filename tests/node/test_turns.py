"""Which documents catch up first, and that none is in the way of the others."""

import asyncio

import pytest

from domain.events import DocumentSynced
from domain.identifiers import DocumentId
from node.simulation import NodeNetwork
from node.turns import TURN_S_MAX, TURNS_MAX, Turns

DOCUMENTS = 24


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_the_highest_rank_is_next_and_equals_come_in_the_order_of_asking() -> None:
    turns, order = Turns(), []
    release = asyncio.Event()

    async def work(name: str, rank: tuple[int, float]) -> None:
        async with turns.turn(rank):
            order.append(name)
            await release.wait()

    async with asyncio.TaskGroup() as group:
        for number in range(TURNS_MAX):
            group.create_task(work(f"first{number}", (0, 0)))
        await settle()
        for name, rank in (
            ("old", (0, 9.0)),
            ("new", (1, 2.0)),
            ("newer", (1, 3.0)),
            ("new2", (1, 2.0)),
        ):
            group.create_task(work(name, rank))
        await settle()
        assert len(order) == TURNS_MAX
        release.set()
    assert order[TURNS_MAX:] == ["newer", "new", "new2", "old"]


async def test_who_is_cancelled_gives_the_turn_back_whether_it_waits_or_has_just_got_it() -> None:
    turns = Turns()
    release = asyncio.Event()

    async def work() -> None:
        async with turns.turn((0, 0)):
            await release.wait()

    holders = [asyncio.create_task(work()) for _ in range(TURNS_MAX)]
    await settle()
    waiting, granted, last = (asyncio.create_task(work()) for _ in range(3))
    await settle()
    waiting.cancel()
    await settle()
    holders[0].cancel()
    await asyncio.wait([holders[0]])  # its turn passes to `granted`, which has not run since
    granted.cancel()
    await settle()
    release.set()
    await asyncio.wait_for(last, 5)
    await asyncio.gather(*holders[1:])
    assert turns._held == 0
    with pytest.raises(asyncio.CancelledError):
        await granted


def test_a_reader_that_has_stopped_holds_its_turn_for_a_short_time_only(seed: int) -> None:
    network = NodeNetwork(seed)

    async def scenario() -> None:
        turns = Turns()
        forever: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def stall() -> None:
            async with turns.turn((9, 9)):
                await forever

        stalled = [asyncio.create_task(stall()) for _ in range(3 * TURNS_MAX)]
        await settle()
        async with asyncio.timeout(4 * TURN_S_MAX), turns.turn((0, 0)):
            pass
        for task in stalled:
            task.cancel()
        await asyncio.wait(stalled)
        assert turns._held == 0

    network.run(scenario)


def test_after_an_absence_documents_catch_up_in_the_order_of_their_last_use(seed: int) -> None:
    network = NodeNetwork(seed)

    async def scenario() -> None:
        async with network.node("alice") as alice, network.node("bob") as bob:
            documents = []
            for number in range(DOCUMENTS):
                document = await alice.create(f"notes {number}")
                await bob.join(await document.invite())
                documents.append(document)
            await network.converged()
            network.partition("alice", "bob")
            for document in documents:
                document.array("pieces").append(network.random.randbytes(100_000))
                await document.durable()
                await asyncio.sleep(1)
            order = network.random.sample(documents, DOCUMENTS)
            for document in order:  # the last one was used last
                await asyncio.sleep(1)
                document.text("body").insert(0, "used")
                await document.durable()
            network.set_link("alice", "bob", bytes_per_s=500_000)
            listener = bob.listen(lambda event: isinstance(event, DocumentSynced))
            network.heal()
            finished: list[DocumentId] = []
            async with asyncio.timeout(120):
                while len(finished) < DOCUMENTS:
                    event = await anext(listener)
                    assert isinstance(event, DocumentSynced)
                    if event.document not in finished:
                        finished.append(event.document)
            expected = [document.id for document in reversed(order)]
            assert all(
                abs(finished.index(each) - place) <= TURNS_MAX
                for place, each in enumerate(expected)
            ), [expected.index(each) for each in finished]
            await network.converged()

    network.run(scenario)
