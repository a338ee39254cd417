"""What whole nodes promise each other: one scenario for each promise that random schedules meet only by chance."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from adapters.simulation.link import TraceEvent, TraceKind
from adapters.simulation.loop import run
from adapters.simulation.network import SimulatedNetwork
from adapters.simulation.world import SimulatedMachine, SimulatedWorld
from domain import limits
from domain.sync.message import CompactOperation, decode_message
from node import Document
from tests.simulation.village import running

Story = Callable[["Pair"], Awaitable[None]]


class Pair:
    """Two nodes that share a document, and all that they say to each other."""

    def __init__(self, seed: int) -> None:
        self.said: list[TraceEvent] = []
        loop = asyncio.get_running_loop()
        self.network = SimulatedNetwork(loop, seed, report=self.said.append)
        world = SimulatedWorld(loop, seed, network=self.network)
        self.alice: SimulatedMachine = world.machine("alice")
        self.bob: SimulatedMachine = world.machine("bob")
        self.document: Document
        self.copy: Document

    async def live(self, story: Story) -> None:
        async with running(self.alice) as alice, running(self.bob) as bob:
            self.document = await alice.create("notes")
            self.copy = await bob.join(await self.document.invite())
            await self.copy.synced()
            self.said.clear()
            await story(self)

    def operations_from(self, name: str) -> int:
        """How many operations somebody has sent."""
        return sum(
            isinstance(decode_message(event.message), CompactOperation)
            for event in self.said
            if event.kind is TraceKind.SENT and event.sender == name and event.channel
        )


def play(seed: int, story: Story) -> None:
    async def scenario(seed: int) -> None:
        await Pair(seed).live(story)

    run(scenario, seed, virtual_s_max=3_600)


def write(document: Document, text: str) -> None:
    document.array("lines").append(text)


async def until_lines(document: Document, expected: list[str]) -> None:
    async with asyncio.timeout(30):
        await document.wait_until(lambda: list(document.array("lines")) == expected)


def test_receipt_of_a_connected_peer_comes_within_a_second(seed: int) -> None:
    async def story(pair: Pair) -> None:
        for number in range(5):
            write(pair.document, str(number))
            async with asyncio.timeout(1):
                await pair.document.durable("peers:1")

    play(seed, story)


def test_edits_are_on_disk_when_durable_returns(seed: int) -> None:
    async def story(pair: Pair) -> None:
        stored = pair.alice.disk.content.ledger(pair.document.id).operations
        for number in range(10):
            before = len(stored)
            write(pair.document, str(number))
            await pair.document.durable("disk")
            assert len(stored) > before

    play(seed, story)


def test_receipt_of_a_peer_comes_only_once_the_peer_has_it(seed: int) -> None:
    async def story(pair: Pair) -> None:
        pair.network.block("alice", "bob")
        write(pair.document, "alone")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(60):
                await pair.document.durable("peers:1")
        assert list(pair.copy.array("lines")) == []
        pair.network.unblock("alice", "bob")
        await pair.document.durable("peers:1")
        assert list(pair.copy.array("lines")) == ["alone"]

    play(seed, story)


def test_operations_are_not_sent_back_to_where_they_came_from(seed: int) -> None:
    async def story(pair: Pair) -> None:
        for number in range(20):
            write(pair.document, str(number))
            await asyncio.sleep(0.1)
        await asyncio.sleep(120)  # heights are compared meanwhile
        assert pair.operations_from("alice") == 20
        assert pair.operations_from("bob") == 0

    play(seed, story)


def test_edits_made_while_the_disk_was_full_reach_everybody_once_it_has_space(seed: int) -> None:
    async def story(pair: Pair) -> None:
        pair.alice.disk.fill()
        for number in range(3):
            write(pair.document, str(number))
            await asyncio.sleep(3)
        pair.alice.disk.mend()
        write(pair.document, "3")
        await until_lines(pair.copy, ["0", "1", "2", "3"])

    play(seed, story)


def test_edits_arrive_though_the_clock_went_back(seed: int) -> None:
    async def story(pair: Pair) -> None:
        write(pair.document, "before")
        await pair.document.durable()
        pair.alice.clock.wall_offset_s = -86_400
        write(pair.document, "after")
        await until_lines(pair.copy, ["before", "after"])

    play(seed, story)


def test_what_a_peer_sends_faster_than_we_store_waits_within_its_bound(seed: int) -> None:
    async def story(pair: Pair) -> None:
        inbox = pair.copy._owner.inbox
        pair.bob.disk.fill()
        for number in range(limits.INBOX_OPERATIONS_MAX + 500):
            write(pair.document, str(number))
            await pair.document.durable()
        await asyncio.sleep(30)
        assert limits.INBOX_OPERATIONS_MAX // 2 <= len(inbox) <= limits.INBOX_OPERATIONS_MAX
        pair.bob.disk.mend()
        count = limits.INBOX_OPERATIONS_MAX + 500
        async with asyncio.timeout(60):
            await pair.copy.wait_until(lambda: len(pair.copy.array("lines")) == count)

    play(seed, story)


def test_document_that_is_opened_again_and_again_has_everything(seed: int) -> None:
    async def story(pair: Pair) -> None:
        document_id = pair.document.id
        pair.alice.crash()
        for number in range(5):
            async with running(pair.alice) as alice:
                document = await alice.document(document_id)
                assert list(document.array("lines")) == [str(earlier) for earlier in range(number)]
                write(document, str(number))
                await document.durable()

    play(seed, story)
