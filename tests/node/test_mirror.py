import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycrdt import Doc, Text

from adapters.simulation.world import SimulatedMachine, SimulatedWorld
from domain.crdt.walker import walk_update
from domain.errors import NodeClosedError, UsageError
from domain.events import EditsSaved
from domain.limits import COALESCE_BYTES_MAX, MIB, STAGED_OPERATIONS_MAX, TEXT_EDITS_MAX
from domain.operations.control import DOCUMENT_FORMAT
from domain.portions import portions
from domain.ports.mirror import TextEdit, TextReplica
from domain.text import apply_edits, difference
from node import Node, NodeConfig
from node.document import Document
from node.mirror import BODY, DocumentText, _steps
from node.wiring.simulated import simulated_adapters
from tests.contracts.text_replica import WAIT_S, TextReplicaContract, insert


@asynccontextmanager
async def opened(machine: SimulatedMachine) -> AsyncIterator[Node]:
    async with (
        simulated_adapters(machine, NodeConfig()) as environment,
        Node.run(environment) as node,
    ):
        yield node


@asynccontextmanager
async def document_on(machine: SimulatedMachine, text: str = "") -> AsyncIterator[Document]:
    async with opened(machine) as node:
        document = await node.create("notes")
        if text:
            DocumentText(document).edit([insert(0, text)])
            await document.durable()
        yield document


def machine() -> SimulatedMachine:
    return SimulatedWorld(asyncio.get_running_loop(), 1).machine("a")


class TestDocumentText(TextReplicaContract):
    """Over a real node, in a simulated machine whose disk can be full."""

    @asynccontextmanager
    async def replica(self, text: str) -> AsyncIterator[TextReplica]:
        self.machine = machine()
        async with document_on(self.machine, text) as self.document:
            replica = DocumentText(self.document)
            yield replica
            replica.close()
            self.machine.disk.mend()

    async def edit_remotely(self, replica: TextReplica, edits: list[TextEdit]) -> None:
        DocumentText(self.document).edit(edits)

    async def forbid_writing(self, replica: TextReplica) -> None:
        self.document._owner.document.ledger._newer.found(DOCUMENT_FORMAT + 1)

    async def fill_disk(self, replica: TextReplica) -> None:
        self.machine.disk.fill()


async def test_change_after_a_reload_is_noticed() -> None:
    async with document_on(machine(), "old") as document:
        replica = DocumentText(document)
        assert replica.read() == "old"
        state = document._owner.document
        before, state.rebuild_reason = document.ydoc, "the test wants it"
        state.on_edit()
        await document.wait_until(lambda: document.ydoc is not before)
        assert replica.read() == "old"
        document.text(BODY).insert(0, "very ")
        await asyncio.wait_for(replica.changed(), WAIT_S)
        assert replica.read() == "very old"


async def test_reload_alone_is_no_change() -> None:
    async with document_on(machine(), "same") as document:
        replica = DocumentText(document)
        replica.read()
        state = document._owner.document
        before, state.rebuild_reason = document.ydoc, "the test wants it"
        state.on_edit()
        await document.wait_until(lambda: document.ydoc is not before)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await replica.changed()


async def test_waiting_ends_when_the_node_closes() -> None:
    async with asyncio.TaskGroup() as group:
        async with document_on(machine(), "x") as document:
            waiting = group.create_task(_ended(DocumentText(document)))
        assert await waiting


async def _ended(replica: DocumentText) -> bool:
    with pytest.raises(NodeClosedError):
        await replica.changed()
    return True


def boundaries(text: Text) -> list[int]:
    """All places of a text where something can be embedded."""
    places = [0]
    for piece, _ in text.diff():
        for each in piece if isinstance(piece, str) else "?":
            places.append(places[-1] + len(each.encode()))
    return places


def pictures(text: Text) -> int:
    return sum(not isinstance(piece, str) for piece, _ in text.diff())


async def test_edit_finds_its_place_beside_pictures(seed: int) -> None:
    chance = random.Random(seed)
    async with document_on(machine()) as document:
        replica, text = DocumentText(document), document.text(BODY)
        for _ in range(100):
            wanted = "".join(chance.choices("ab\n\xe9\N{SNAKE}", k=chance.randrange(10)))
            replica.edit(difference(replica.read(), wanted))
            assert replica.read() == wanted
            text.insert_embed(chance.choice(boundaries(text)), {"picture": 1})


async def test_edit_beside_a_picture_leaves_it() -> None:
    async with document_on(machine(), "abc") as document:
        replica, text = DocumentText(document), document.text(BODY)
        for place in (0, 2, 5):
            text.insert_embed(place, {"picture": 1})
        for wanted in ("ab", "abd", "xabd", "bd"):
            replica.edit(difference(replica.read(), wanted))
            assert (replica.read(), pictures(text)) == (wanted, 3)


async def test_large_edit_is_made_in_transactions_of_64_kib() -> None:
    async with document_on(machine()) as document:
        sizes: list[int] = []
        document.ydoc.observe(lambda event: sizes.append(len(event.update)))
        DocumentText(document).edit([insert(0, "ö" * 200_000)])
        assert len(sizes) > 1
        assert max(sizes) < COALESCE_BYTES_MAX + 1_000


@pytest.mark.parametrize("line", ["漢" * 12_000 + "\n", "a short line\n"])
async def test_a_portion_is_stored_in_one_commit(line: str) -> None:
    text = line * (3 * MIB // len(line.encode()))
    async with document_on(machine()) as document:
        events = document.events()
        replica = DocumentText(document)
        parts = list(portions(difference("", text)))
        for portion in parts:
            replica.edit(portion)
            await asyncio.wait_for(replica.durable(), WAIT_S)
            while not isinstance(event := await anext(events), EditsSaved):
                pass
            assert event.operations <= STAGED_OPERATIONS_MAX
        assert replica.read() == text
        assert len(parts) > 3
        assert document.statistics().operations <= STAGED_OPERATIONS_MAX * len(parts)


async def test_very_many_edits_are_made_as_few_passages() -> None:
    before = "".join(f"a line with the number {number}\n" for number in range(4_000))
    after = before.replace("a line", "A line")
    async with document_on(machine(), before) as document:
        structs: list[int] = []
        document.ydoc.observe(lambda event: structs.append(walk_update(event.update).structs))
        replica = DocumentText(document)
        replica.edit(difference(before, after))
        assert replica.read() == after
        assert TEXT_EDITS_MAX // 2 < sum(structs) < 2 * TEXT_EDITS_MAX


async def test_half_a_character_is_refused_before_anything_changes() -> None:
    async with document_on(machine(), "ab") as document:
        replica = DocumentText(document)
        with pytest.raises(UsageError):
            replica.edit([insert(0, "x"), insert(2, "\ud800")])
        assert replica.read() == "ab"


TEXT = st.text(st.sampled_from("ab\n é😀e\u0301漢"), max_size=30)


@given(before=TEXT, after=TEXT)
def test_steps_in_bytes_do_what_edits_in_code_points_do(before: str, after: str) -> None:
    edits = difference(before, after)
    places = [at for edit in edits for at in (edit.position, edit.position + edit.deleted)]
    offsets = [len(before[:at].encode()) for at in places]
    doc: Doc[Text] = Doc()
    text = doc.get("body", type=Text)
    text += before
    for start, end, inserted in _steps(edits, offsets):
        del text[start:end]
        text.insert(start, inserted)
    assert str(text) == apply_edits(before, edits) == after
