"""Editors who exchange operations in any order end with the same document, and it is the one that pycrdt makes."""

import random
from typing import Any

from hypothesis import given, settings
from pycrdt import Doc

from domain.crdt.engine import coalesce, make_doc
from domain.crdt.walker import decode_state_vector
from tests.domain.document.editors import Editor, content, exchange, found_editors, newcomer, read
from tests.strategies import seeds

STEPS = 30


class Session:
    """Editors that edit and hand on what they have, at random; the gate puts it in order."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.editors = found_editors(self.chance.randint(2, 4), seed)
        self.updates: list[bytes] = []
        for editor in self.editors:
            self._watch(editor)
        for _ in range(STEPS):
            self._step()

    def _watch(self, editor: Editor) -> None:
        take = editor.document.pending.take

        def keep(update: bytes) -> bool:
            taken = take(update)
            if taken:
                self.updates.append(update)
            return taken

        editor.document.pending.take = keep  # type: ignore[method-assign]

    def _step(self) -> None:
        editor, other = self.chance.sample(self.editors, 2)
        if self.chance.random() < 0.6:
            editor.edit(self.chance)
        if self.chance.random() < 0.7:
            editor.flush()
        if self.chance.random() < 0.5:
            count = self.chance.randint(0, len(editor.log))
            other.receive(self.chance.sample(editor.log, count))

    def end(self) -> None:
        for editor in self.editors:
            editor.flush()
        exchange(self.editors)


@given(seeds)
def test_editors_converge_to_what_plain_pycrdt_makes(seed: int) -> None:
    session = Session(seed)
    session.end()
    plain = Doc[Any](client_id=1)
    for editor in session.editors:
        plain.apply_update(editor.document.ydoc.get_update())
    states = set()
    for editor in session.editors:
        assert read(editor) == content(plain)
        assert len(editor.document.gate) == 0
        assert editor.document.heights == editor.document.ledger.heights()
        states.add(tuple(sorted(decode_state_vector(editor.document.ydoc.get_state()).items())))
    assert len(states) == 1


@given(seeds)
@settings(max_examples=25)
def test_coalescing_keeps_all_that_was_edited(seed: int) -> None:
    session = Session(seed)
    session.end()
    plain = Doc[Any](client_id=1)
    assert session.updates
    with plain.transaction():
        for update in session.updates:  # what each transaction emitted, none of it coalesced
            plain.apply_update(update)
    assert content(plain) == read(session.editors[0])


@given(seeds)
@settings(max_examples=25)
def test_replica_is_what_the_embedder_sees(seed: int) -> None:
    session = Session(seed)
    session.end()
    for editor in session.editors:
        assert content(make_doc(1, editor.document.replica.state())) == read(editor)


@given(seeds)
@settings(max_examples=25)
def test_replaying_the_log_gives_the_same_document(seed: int) -> None:
    session = Session(seed)
    session.end()
    editor = session.chance.choice(session.editors)
    again = editor.reopened()
    assert read(again) == read(editor)
    assert again.document.heights == editor.document.heights
    assert again.document.ledger.tips == editor.document.ledger.tips


@given(seeds)
@settings(max_examples=25)
def test_newcomer_gets_the_same_document_in_any_order(seed: int) -> None:
    session = Session(seed)
    session.end()
    reader = newcomer(session.editors[0], 9, seed)
    log = list(session.editors[0].log)
    session.chance.shuffle(log)
    for at in range(0, len(log), 3):
        reader.receive(log[at : at + 3])
    assert read(reader) == read(session.editors[0])
    assert len(reader.document.gate) == 0


@given(seeds)
@settings(max_examples=25)
def test_snapshot_and_what_followed_give_the_same_document(seed: int) -> None:
    session = Session(seed)
    editor = session.chance.choice(session.editors)
    editor.flush()
    snapshot, stored = editor.document.snapshot(), len(editor.log)
    assert snapshot is not None
    session.end()
    again = type(editor.document)(
        editor.document.key,
        editor.document.document,
        editor.document.record,
        editor.document.keyring,
    )
    again.restore(snapshot)
    rest = editor.log[stored:]
    places = {one.operation_id: one.position for one in editor.log}
    for operation in rest:
        for previous in again.ledger.unplaced(operation):
            if previous in places:
                again.ledger.place(previous, places[previous])
    again.replay(rest)
    again.open_ydoc()
    assert content(again.ydoc) == read(editor)
    assert again.heights == editor.document.heights
    assert again.ledger.tips == editor.document.ledger.tips
    assert sorted(again.replica.tips) == sorted(editor.document.replica.tips)


def test_coalescing_nothing_gives_nothing() -> None:
    assert coalesce(make_doc(1), []) is None
