"""From a local transaction to a durable operation: staging, settling, crashing, and edits that nobody may accept."""

import random
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycrdt import Doc, Text

from domain import limits
from domain.crdt.engine import make_doc
from domain.document import Document
from domain.errors import StorageCorruptError, UpdateError
from domain.events import DocumentReloaded, EditsRefused
from domain.founding import new_record
from domain.identifiers import Position
from domain.ledger.claim import client_id
from domain.operations.control import Genesis
from domain.operations.kind import Kind
from domain.operations.operation import Operation
from tests.domain.document.editors import (
    Editor,
    content,
    exchange,
    found_editors,
    newcomer,
    read,
)
from tests.strategies import SeededEntropy, key, seeds


def kinds(operations: list[Operation]) -> list[int]:
    return [operation.extension.kind for operation in operations]


def foreign(client: int, text: str) -> bytes:
    """An update of somebody else's own document."""
    doc = Doc[Any](client_id=client)
    doc["text"] = Text(text)
    return doc.get_update()


# -- Before anything can be read --


def test_what_was_written_before_anything_could_be_read_outlives_a_crash() -> None:
    """Seeds 711 and 973 of the simulation: who joins builds on its addition, and with it on all that it cannot read."""
    (founder,) = found_editors(1)
    founder.text.insert(0, "theirs ")
    founder.flush()
    (invite,) = [one for one in founder.log if one.extension.kind == Kind.INVITE]
    founder.admit(key(2), invite.operation_id)
    joiner = newcomer(founder, 2)
    joiner.document.keyring.secrets.clear()
    joiner.receive(founder.log)
    joiner.text.insert(0, "mine ")
    joiner.flush()  # under a secret of its own, since it was given none
    again = joiner.reopened()
    assert str(again.text) == "mine "
    again.text.insert(5, "too ")
    again.flush()
    assert str(again.text) == "mine too "
    assert not [event for event in again.document.events if isinstance(event, EditsRefused)]
    for secret in founder.document.keyring.secrets.values():
        again.document.keyring.add_secret(secret)
    for secret in again.document.keyring.secrets.values():
        founder.document.keyring.add_secret(secret)
    late = again.reopened()
    exchange([founder, late])
    assert read(late) == read(founder)
    assert {"mine", "too", "theirs"} == set(str(late.text).split())


# -- Staging and settling --


def test_staging_twice_gives_the_same_bytes() -> None:
    (editor,) = found_editors(1)
    editor.text.insert(0, "hello")
    first = editor.stage()
    assert editor.stage() == first
    editor.text.insert(0, "more")
    assert editor.stage()[: len(first)] == first


def test_settling_settles_what_was_durable_and_nothing_else() -> None:
    (editor,) = found_editors(1)
    editor.text.insert(0, "hello")
    first = editor.stage()
    editor.text.insert(0, "more")
    both = editor.stage()
    editor.settle(first)
    assert editor.stage() == both[1:]
    editor.settle(both[1:])
    assert editor.stage() == []
    assert read(editor.reopened()) == read(editor)


def test_nothing_edited_stages_nothing() -> None:
    (editor,) = found_editors(1)
    assert editor.stage() == []
    with editor.document.ydoc.transaction():
        pass
    assert editor.stage() == []


def test_edits_of_one_flush_become_one_operation() -> None:
    (editor,) = found_editors(1)
    for letter in "hello":
        editor.text.insert(0, letter)
    assert editor.document.pending.total_count == 5
    assert kinds(editor.flush()) == [Kind.UPDATE]
    assert not editor.document.pending


def test_edits_beyond_the_bounds_become_several_operations(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (editor,) = found_editors(1)
    monkeypatch.setattr(limits, "COALESCE_EDITS_MAX", 2)
    for letter in "hello":
        editor.text.insert(0, letter)
    assert kinds(editor.flush()) == [Kind.UPDATE] * 3
    editor.text.insert(0, "x" * limits.COALESCE_BYTES_MAX)
    editor.text.insert(0, "y")
    assert kinds(editor.flush()) == [Kind.UPDATE] * 2
    assert read(editor.reopened()) == read(editor)


def test_listener_hears_of_own_edits_alone() -> None:
    one, other = found_editors(2)
    heard: list[str] = []
    one.document.on_edit = lambda: heard.append("edit")
    other.text.insert(0, "x")
    other.flush()
    one.receive(other.log)
    assert heard == []
    one.text.insert(0, "y")
    assert heard == ["edit"]


def test_65_tips_are_merged_before_they_are_built_on() -> None:
    editors = found_editors(67)
    for editor in editors[1:]:
        editor.text.insert(0, "x")
    written = [operation for editor in editors[1:] for operation in editor.flush()]
    first = editors[0]
    first.receive(written)
    first.text.insert(0, "y")
    merge, last = first.flush()
    assert len(merge.extension.previous) == limits.PREVIOUS_COUNT_MAX
    assert len(last.extension.previous) == 2
    editors[1].receive([*written, merge, last])
    assert read(editors[1]) == read(first)
    assert editors[1].document.ledger.tips == {last.operation_id}


# -- Crashes --


@given(seeds)
@settings(max_examples=25)
def test_crash_before_settling_never_forks(seed: int) -> None:
    chance = random.Random(seed)
    one, other = found_editors(2, seed)
    seen: dict[Position, Operation] = {}
    for _ in range(12):
        one.edit(chance)
        staged = one.stage()
        if chance.random() < 0.5:
            one = one.reopened()  # what was staged is lost: nobody has seen it
        else:
            one.settle(staged)
            for operation in staged:
                assert seen.setdefault(operation.position, operation) == operation
            other.receive(one.log)
        if chance.random() < 0.5:
            other.edit(chance)
            other.flush()
            one.receive(other.log)
    one.flush()
    exchange([one, other])
    assert read(one) == read(other)


def test_crash_after_storing_keeps_what_was_stored() -> None:
    (editor,) = found_editors(1)
    editor.text.insert(0, "stored")
    staged = editor.stage()
    editor.log += staged
    again = editor.reopened()
    assert str(again.text) == "stored"
    again.text.insert(0, "then ")
    (operation,) = again.flush()
    assert operation.header.backlink == staged[-1].operation_id


def test_log_with_a_gap_is_corrupt() -> None:
    (editor,) = found_editors(1)
    editor.text.insert(0, "x")
    editor.flush()
    del editor.log[1]
    with pytest.raises(StorageCorruptError, match="gaps"):
        editor.reopened()


@given(seeds)
@settings(max_examples=25)
def test_damaged_snapshot_is_corrupt_or_the_document_starts_empty(seed: int) -> None:
    chance = random.Random(seed)
    (editor,) = found_editors(1)
    editor.edit(chance)
    editor.flush()
    snapshot = editor.document.snapshot()
    assert snapshot is not None
    again = Document(
        editor.document.key,
        editor.document.document,
        editor.document.record,
        editor.document.keyring,
    )
    for damaged in (b"", snapshot[: chance.randrange(len(snapshot))], b"\x83\x02\x80\x80"):
        with pytest.raises(StorageCorruptError):
            again.restore(damaged)
        assert again.ledger.heights() == {}
    again.replay(editor.log)
    again.open_ydoc()
    assert content(again.ydoc) == read(editor)


def test_there_is_no_snapshot_while_something_is_staged() -> None:
    (editor,) = found_editors(1)
    editor.text.insert(0, "x")
    staged = editor.stage()
    assert editor.document.snapshot() is None
    editor.settle(staged)
    assert editor.document.snapshot() is not None


def test_snapshot_beyond_its_bound_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    (editor,) = found_editors(1)
    monkeypatch.setattr(limits, "SNAPSHOT_BYTES_MAX", 10)
    assert editor.document.snapshot() is None


# -- Updates made elsewhere --


def test_imported_update_is_claimed_and_then_written() -> None:
    one, other = found_editors(2)
    update = foreign(77, "foreign")
    one.document.check_import(update)
    one.document.ydoc.apply_update(update)
    assert kinds(one.flush()) == [Kind.CLAIM, Kind.UPDATE]
    assert other.document.ledger.claims.owner(77) is None
    other.receive(one.log)
    assert str(other.text) == "foreign"
    assert other.document.ledger.claims.owner(77) == one.content_log
    assert read(one.reopened()) == read(other)


def test_imported_update_is_claimed_once() -> None:
    (editor,) = found_editors(1)
    doc = Doc[Any](client_id=77)
    text = doc.get("text", type=Text)
    written = []
    for letter in "abc":
        text.insert(0, letter)
        editor.document.ydoc.apply_update(doc.get_update())
        written = editor.flush()
    assert kinds(written) == [Kind.UPDATE]
    assert str(editor.text) == "cba"


def test_import_of_what_is_known_writes_nothing() -> None:
    one, other = found_editors(2)
    one.text.insert(0, "x")
    one.flush()
    other.receive(one.log)
    other.document.check_import(one.document.ydoc.get_update())
    other.document.ydoc.apply_update(one.document.ydoc.get_update())
    assert other.flush() == []


def test_import_of_another_author_s_client_id_is_refused() -> None:
    one, other = found_editors(2)
    other.text.insert(0, "x")
    other.flush()
    one.receive(other.log)
    update = foreign(client_id(other.content_log), "much more than the other wrote")
    with pytest.raises(UpdateError, match="foreign-client"):
        one.document.check_import(update)


@given(st.binary(max_size=6) | st.binary(max_size=30).map(lambda rest: b"\1\1" + rest))
def test_import_of_whatever_bytes_is_allowed_or_refused(update: bytes) -> None:
    (editor,) = found_editors(1)
    with suppress(UpdateError):
        editor.document.check_import(update)


@pytest.mark.parametrize("update", [b"", b"\1"])
def test_import_of_too_few_bytes_is_refused(update: bytes) -> None:
    (editor,) = found_editors(1)
    with pytest.raises(UpdateError):
        editor.document.check_import(update)


def test_import_waits_for_what_is_staged_before_it_is_claimed() -> None:
    (editor,) = found_editors(1)
    editor.text.insert(0, "x")
    staged = editor.stage()
    editor.document.ydoc.apply_update(foreign(77, "foreign"))
    assert editor.stage() == staged
    editor.settle(staged)
    assert kinds(editor.flush()) == [Kind.CLAIM, Kind.UPDATE]


# -- Own edits that nobody may accept --


def refused_reason(editor: Editor) -> str:
    """Why edits were taken back; the document was reloaded and is what its log says."""
    refused, reloaded = editor.document.events
    editor.document.events = []
    assert isinstance(refused, EditsRefused)
    assert isinstance(reloaded, DocumentReloaded)
    assert refused.updates
    assert read(editor.reopened()) == read(editor)
    return refused.reason


def test_edit_in_the_middle_of_a_character_is_taken_back() -> None:
    one, other = found_editors(2)
    one.text.insert(0, "héllo")
    one.flush()
    before = read(one)
    one.text.insert(2, "X")  # the second byte of é
    assert str(one.text) == "hélloX"  # which is not what others would make of it
    assert one.flush() == []
    assert "self-reference" in refused_reason(one)
    assert read(one) == before
    one.text.insert(0, "again ")
    assert kinds(one.flush()) == [Kind.UPDATE]
    other.receive(one.log)
    assert read(other) == read(one)


def test_edit_in_the_middle_of_a_character_takes_the_next_ones_along() -> None:
    (one,) = found_editors(1)
    one.text.insert(0, "héllo")
    one.text.insert(2, "X")
    one.text.insert(0, "Y")
    assert one.flush() == []
    assert refused_reason(one)
    assert str(one.text) == ""


@contextmanager
def panics_suppressed() -> Iterator[None]:
    """What an embedder that goes on after a panic of its own edit does."""
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise


@given(seeds)
def test_edits_at_any_byte_give_logs_that_say_the_same_to_all(seed: int) -> None:
    chance = random.Random(seed)
    editors = found_editors(2, seed)
    for _ in range(10):
        editor = chance.choice(editors)
        text = editor.text
        size = len(str(text).encode())
        start, end = sorted(chance.randrange(size + 1) for _ in range(2))
        match chance.randrange(4):
            case 0 if end > start:
                change = partial(text.__delitem__, slice(start, end))
            case 1 if end > start:
                change = partial(text.format, start, end, {"bold": True})
            case _:
                change = partial(text.insert, start, chance.choice(("é", "👩‍👩‍👧", "中文", "a")))
        with panics_suppressed():
            change()
        if chance.random() < 0.6:
            editor.flush()
    for editor in editors:
        editor.flush()
    exchange(editors)
    # After such a deletion or format yrs shows another text than its own update makes: until it is reloaded.
    states = [content(make_doc(1, editor.document.replica.state())) for editor in editors]
    assert states[0] == states[1] == read(editors[0].reopened()) == read(editors[1].reopened())


def test_subdocument_is_taken_back() -> None:
    one, other = found_editors(2)
    one.text.insert(0, "kept")
    one.flush()
    one.map["k"] = Doc()
    one.flush()
    assert "content" in refused_reason(one)
    other.receive(one.log)
    assert read(other) == read(one)


def test_refused_edit_takes_the_unwritten_ones_along_and_not_the_staged() -> None:
    (editor,) = found_editors(1)
    editor.text.insert(0, "staged")
    staged = editor.stage()
    editor.map["k"] = Doc()
    editor.text.insert(0, "lost ")
    assert editor.stage() == staged
    assert editor.document.rebuild_reason is not None
    assert editor.stage() == staged
    editor.rebuild()
    assert str(editor.text) == "staged"
    editor.settle(staged)
    editor.text.insert(0, "on ")
    editor.flush()
    assert str(editor.reopened().text) == "on staged"


def test_edit_of_a_foreign_client_id_is_taken_back() -> None:
    one, other = found_editors(2)
    other.text.insert(0, "x")
    other.flush()
    one.receive(other.log)
    forged = Doc[Any](client_id=client_id(other.content_log))
    forged.apply_update(other.document.ydoc.get_update())
    forged.get("text", type=Text).insert(0, "forged")
    one.document.ydoc.apply_update(forged.get_update())
    one.flush()
    assert "foreign-client" in refused_reason(one)
    assert str(one.text) == "x"


def test_edits_of_who_is_no_member_are_taken_back() -> None:
    (founder,) = found_editors(1)
    stranger = newcomer(founder, 5)
    stranger.receive(founder.log)
    assert stranger.document.role is None
    stranger.text.insert(0, "x")
    assert stranger.flush() == []
    refused, _ = stranger.document.events
    assert isinstance(refused, EditsRefused)
    assert "may not write" in refused.reason
    assert str(stranger.text) == ""


def test_edits_of_a_read_only_document_are_taken_back() -> None:
    one, other = found_editors(2)
    one.write_control(Kind.FORMAT, Genesis())
    other.receive(one.log)
    assert not other.document.may_write
    other.text.insert(0, "x")
    assert other.flush() == []
    assert "newer culm" in refused_reason_of_first(other)


def refused_reason_of_first(editor: Editor) -> str:
    refused = editor.document.events[0]
    assert isinstance(refused, EditsRefused)
    return refused.reason


# -- Remote operations while a transaction is open --


def test_what_arrives_in_a_transaction_is_shown_after_it() -> None:
    one, other = found_editors(2)
    other.text.insert(0, "other")
    other.flush()
    with one.document.ydoc.transaction():
        one.text.insert(0, "one")
        one.receive(other.log)
        assert str(one.text) == "one"
    one.document.show()
    assert sorted((str(one.text)[:3], str(one.text)[3:])) in (
        ["one", "other"],
        ["erone", "oth"],
    )
    one.flush()
    other.receive(one.log)
    assert read(one) == read(other)
    assert read(one.reopened()) == read(one)


def test_record_of_a_new_document_has_fresh_logs() -> None:
    one, other = (new_record("n", SeededEntropy(seed)) for seed in (1, 2))
    assert len({one.control_log, one.content_log, other.control_log, other.content_log}) == 4
