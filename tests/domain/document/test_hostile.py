"""What broken, hostile or newer devices write: refused alike by all, or set aside while the document stays usable."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from pycrdt import Doc, Text

from domain.crdt.engine import apply, failures_translated, make_doc
from domain.crdt.walker import ClientSection, delete_set_over
from domain.errors import EngineError, NotPermittedError
from domain.events import DocumentReloaded
from domain.identifiers import LogId, LogKey
from domain.ledger.claim import client_id
from domain.operations.control import Claim, Role, SetRole
from domain.operations.distribution import SecretDistribution
from domain.operations.kind import Kind
from domain.operations.operation import Operation, decode_operation
from domain.sealing import SECRET_BYTES, DocumentSecret
from tests.domain.crdt.encoding import fail_to_apply, numbers, section, sized, string, update
from tests.domain.document.editors import (
    REPLAY_OPERATIONS,
    Editor,
    content,
    exchange,
    found_editors,
    newcomer,
    read,
)
from tests.domain.document.quarrel import change


def client_of(editor: Editor) -> int:
    return client_id(editor.content_log)


def refusal_of(reader: Editor, operation: Operation) -> str:
    """Why a committed operation is not applied, which all replicas say alike; it counts as arrived."""
    reader.receive([operation])
    ((refused, reason),) = reader.last_judged.refused
    assert refused == operation
    assert operation in reader.log
    again = reader.reopened()
    assert read(again) == read(reader)
    assert again.document.ledger.tips == reader.document.ledger.tips
    return reason


def inside_a_text(client: int, *, clock: int) -> bytes:
    """A struct whose parent is a piece of text: yrs fails on it, unless that has been deleted."""
    struct = b"\x04" + b"\x00" + numbers(client, 0) + sized(b"x")
    return update(section(struct, client=client, clock=clock))


def nested(client: int, *, clock: int) -> bytes:
    """Arrays, each in the one before, and more of them than yrs can delete."""
    inner = (b"\x07\x00" + numbers(client, clock + each) + b"\x00" for each in range(100_000))
    return update(section(b"\x07\x01\x01a\x00", *inner, client=client, clock=clock))


BAD_UPDATES: dict[str, Callable[[Editor, Editor], bytes]] = {
    "foreign-client": lambda _, reader: update(section(string("x"), client=client_of(reader))),
    "clock-gap": lambda writer, _: update(section(string("x"), client=client_of(writer), clock=9)),
    "clock-reused": lambda writer, _: update(section(string("x"), client=client_of(writer))),
    "unseen-delete": lambda _, reader: delete_set_over(
        [ClientSection(client_of(reader), 0, 99, 1)]
    ),
    "unseen-reference": lambda writer, reader: update(
        section(
            string("x", origin=numbers(client_of(reader), 99)), client=client_of(writer), clock=5
        )
    ),
    "wrong-parent": lambda writer, _: inside_a_text(client_of(writer), clock=5),
    "too-deep": lambda writer, _: nested(client_of(writer), clock=5),
    "truncated": lambda *_: b"\x01",
    "trailing": lambda *_: b"\0\0\0",
}


@pytest.mark.parametrize("code", BAD_UPDATES)
def test_update_that_breaks_a_rule_is_refused_by_all(code: str) -> None:
    writer, reader, other = found_editors(3)
    writer.text.insert(0, "hello")
    reader.text.insert(0, "x")
    for editor in (writer, reader):
        editor.flush()
    exchange([writer, reader, other])
    bad = writer.publish(BAD_UPDATES[code](writer, reader))
    for editor in (reader, other):
        assert refusal_of(editor, bad).startswith(code)
    reader.text.insert(0, "on ")
    reader.flush()
    other.receive(reader.log)
    assert read(reader) == read(other)


def test_deletion_of_what_an_update_names_makes_no_difference_to_whether_it_is_refused() -> None:
    writer, deleter, third, early, late = found_editors(5)
    writer.text.insert(0, "hello")
    writer.flush()
    deleter.receive(writer.log)
    bad = writer.publish(inside_a_text(client_of(writer), clock=5))
    del deleter.text[0:5]
    deleter.flush()
    early.receive([*writer.log, *deleter.log])
    late.receive([*deleter.log, *writer.log])
    late.text.insert(0, "builds on both")
    late.flush()
    for editor in (early, third):
        editor.receive([*deleter.log, *writer.log, *late.log])
        assert bad in editor.log
        assert not editor.document.replica.is_blocked
    assert read(early) == read(late) == read(third) == read(early.reopened())


def test_foreign_id_may_be_used_only_by_who_claimed_it() -> None:
    writer, reader, thief = found_editors(3)
    claim = Claim(log_id=writer.content_log.log_id, clients=(77,))
    writer.write_control(Kind.CLAIM, claim)
    thief.receive(writer.log)
    reader.receive(writer.log)
    stolen = thief.publish(update(section(string("x"), client=77)))
    assert refusal_of(reader, stolen).startswith("foreign-client")
    used = writer.publish(update(section(string("mine"), client=77)))
    reader.receive([used])
    assert str(reader.text) == "mine"


@pytest.mark.parametrize("body", [b"", b"short", bytes(100)])
def test_body_that_does_not_open_is_refused(body: bytes) -> None:
    writer, reader = found_editors(2)
    assert "truncated" in (reason := refusal_of(reader, writer.publish_sealed(body))) or (
        "not-authentic" in reason
    )


def test_body_that_was_sealed_for_another_place_is_refused() -> None:
    writer, reader = found_editors(2)
    body = writer.sealed(update(section(string("x"), client=client_of(writer))), seq_num_ahead=1)
    assert "not-authentic" in refusal_of(reader, writer.publish_sealed(body))


def test_forged_operation_goes_nowhere() -> None:
    writer, reader = found_editors(2)
    writer.text.insert(0, "x")
    (operation,) = writer.flush()
    forged = replace(operation.header, signature=bytes(64))
    received = reader.document.receive([decode_operation(forged.encode(), operation.body)])
    assert [one.header for one in received.forged] == [forged]
    assert received.admitted.entered == []
    assert reader.document.receive([operation]).admitted.entered == [operation]


# -- What cannot be read yet --


def test_content_of_an_unknown_kind_blocks_what_builds_on_it_and_nothing_else() -> None:
    newer, reader, third = found_editors(3)
    unknown = newer.publish_sealed(newer.sealed(b"new"), kind=Kind.SNAPSHOT)
    newer.text.insert(0, "builds on it ")
    newer.flush()
    reader.receive(newer.log)
    assert reader.last_judged.blocked[0][0] == unknown
    assert "newer culm" in reader.last_judged.blocked[0][1]
    assert "waits" in reader.last_judged.blocked[1][1]
    assert reader.document.replica.is_blocked
    assert reader.document.snapshot() is None
    third.text.insert(0, "goes on")
    third.flush()
    reader.receive(third.log)
    assert str(reader.text) == "goes on"


def with_another_secret(editor: Editor, secret: DocumentSecret) -> None:
    """Let an editor announce, and seal under, a secret that it gives to nobody."""
    editor.document.keyring.add_secret(secret)
    editor.write_control(Kind.SECRET_DISTRIBUTION, SecretDistribution(secrets=(secret.secret_id,)))


def test_edits_under_a_secret_that_is_missing_wait_for_it() -> None:
    holder, reader, third = found_editors(3)
    secret = DocumentSecret(b"\5" * 32)
    with_another_secret(holder, secret)
    holder.text.insert(0, "secret ")
    (hidden,) = holder.flush()
    reader.receive(holder.log)
    assert [reason for _, reason in reader.last_judged.blocked] == [
        "the secret that seals it is not here"
    ]
    # What is written here meanwhile does not build on it, so that who lacks the secret reads on.
    reader.text.insert(0, "open ")
    (written,) = reader.flush()
    assert hidden.operation_id not in written.extension.previous
    third.receive([*holder.log, written])
    assert str(third.text) == "open "
    # After a restart, and once the secret is there, nothing is missing.
    again = reader.reopened()
    assert str(again.text) == "open "
    again.text.insert(0, "still ")
    assert len(again.flush()) == 1
    again.document.keyring.add_secret(secret)
    again.rebuild()
    assert not again.document.replica.is_blocked
    holder.receive(again.log)
    assert read(again) == read(holder)
    assert "secret" in str(again.text)
    again.text.insert(0, "all ")
    (joining,) = again.flush()
    assert hidden.operation_id in joining.extension.previous


def test_control_on_top_of_what_waits_is_not_built_on_either() -> None:
    holder, reader = found_editors(2)
    with_another_secret(holder, DocumentSecret(b"\5" * 32))
    holder.text.insert(0, "secret ")
    holder.flush()
    claim = holder.write_control(Kind.CLAIM, Claim(log_id=holder.content_log.log_id, clients=(5,)))
    reader.receive(holder.log)
    reader.text.insert(0, "open ")
    (written,) = reader.flush()
    assert claim.operation_id not in written.extension.previous
    assert str(reader.reopened().text) == "open "


# -- What the engine fails on --


@pytest.fixture
def broken_team(monkeypatch: pytest.MonkeyPatch) -> tuple[Editor, Editor, Operation]:
    writer, reader, third = found_editors(3)
    writer.text.insert(0, "hello")
    third.text.insert(0, "third ")
    writer.flush()
    third.flush()
    reader.receive([*writer.log, *third.log])
    bad = writer.publish(poisoned(writer, clock=5))
    fail_to_apply(monkeypatch, POISON)
    return writer, reader, bad


POISON = b"poison"


def poisoned(editor: Editor, *, clock: int) -> bytes:
    return update(section(string(POISON), client=client_of(editor), clock=clock))


def test_operation_that_the_engine_fails_on_is_set_aside_and_the_document_goes_on(
    broken_team: tuple[Editor, Editor, Operation],
) -> None:
    _, reader, bad = broken_team
    before = read(reader)
    reader.receive([bad])
    assert bad.position in reader.document.replica.quarantined
    assert reader.document.replica.is_blocked
    assert isinstance(reader.document.events[-1], DocumentReloaded)
    assert read(reader) == before
    assert reader.document.rebuild_reason is None
    # It is kept and served, what we write does not build on it, and all that others write still comes in.
    assert bad in reader.log
    reader.text.insert(0, "on ")
    (written,) = reader.flush()
    assert bad.operation_id not in written.extension.previous
    assert read(reader.reopened()) == read(reader)
    assert content(make_doc(1, reader.document.replica.state())) == read(reader)


def test_several_bad_operations_of_one_batch_are_all_set_aside(
    broken_team: tuple[Editor, Editor, Operation],
) -> None:
    _, reader, bad = broken_team
    others = found_editors(3)[2]
    third = Editor(others.document, others.entropy)
    third.receive(reader.log)
    worse = third.publish(poisoned(third, clock=6))
    third.text.insert(0, "x")
    reader.receive([bad, worse])
    assert {bad.position, worse.position} <= reader.document.replica.quarantined
    assert reader.document.rebuild_reason is None
    again = reader.reopened()
    assert read(again) == read(reader)


def test_pending_and_staged_edits_survive_a_rebuild(
    broken_team: tuple[Editor, Editor, Operation],
) -> None:
    _, reader, bad = broken_team
    reader.text.insert(0, "staged ")
    staged = reader.stage()
    reader.text.insert(0, "pending ")
    reader.receive([bad])
    assert str(reader.text).startswith("pending staged ")
    reader.settle(staged)
    reader.flush()
    assert read(reader.reopened()) == read(reader)


def test_own_edits_that_are_stranded_are_taken_back_and_reuse_no_clock() -> None:
    (editor,) = found_editors(1)
    editor.text.insert(0, "first")
    (first,) = editor.flush()
    editor.document.replica.quarantined |= {first.position}
    editor.rebuild()
    assert str(editor.text) == ""
    editor.text.insert(0, "again")
    assert editor.flush() == []
    assert editor.document.ledger.heights()[editor.content_log].count == 1


def test_engine_fails_on_it_indeed() -> None:
    doc = make_doc(1, update(section(string("hello"))))
    with pytest.raises(EngineError, match="RuntimeError"):
        apply(doc, inside_a_text(6, clock=5))


def test_panic_of_the_engine_is_an_engine_error() -> None:
    doc = make_doc(1)
    text = doc.get("text", type=Text)
    text += "中文"
    with pytest.raises(EngineError, match="panicked"), failures_translated():
        del text[1:5]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, EngineError])
def test_other_errors_pass_through_unchanged(error: type[BaseException]) -> None:
    with pytest.raises(error), failures_translated():
        raise error


def fail_to_save(monkeypatch: pytest.MonkeyPatch, *marks: str) -> None:
    """Make pycrdt fail to encode any document whose text holds one of the marks."""
    save = Doc.get_update

    def failing(doc: Doc[Any], since: bytes | None = None) -> bytes:
        if any(mark in str(doc.get("text", type=Text)) for mark in marks):
            raise RuntimeError("cannot encode")
        return save(doc, since)

    monkeypatch.setattr(Doc, "get_update", failing)


def test_operation_after_which_the_document_cannot_be_saved_is_found_and_set_aside(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bad, good, reader = found_editors(3)
    bad.text.insert(0, "poison")
    (poison,) = bad.flush()
    written = []
    for word in ("one ", "two ", "three "):
        good.text.insert(0, word)
        written += good.flush()
    fail_to_save(monkeypatch, "poison")
    reader.receive([written[0], poison, *written[1:]])
    assert reader.document.replica.quarantined == {poison.position}
    assert reader.document.replica.suspects >= {poison.position}
    assert str(reader.text) == "three two one "
    assert reader.document.rebuild_reason is None
    reader.text.insert(0, "on ")
    (own,) = reader.flush()
    assert poison.operation_id not in own.extension.previous
    assert read(reader.reopened()) == read(reader)


def test_document_that_cannot_be_saved_makes_no_snapshot(monkeypatch: pytest.MonkeyPatch) -> None:
    (editor,) = found_editors(1)
    editor.text.insert(0, "poison")
    editor.flush()
    fail_to_save(monkeypatch, "poison")
    assert editor.document.snapshot() is None
    assert "cannot encode" in str(editor.document.rebuild_reason)


# -- Contested client ids --


def test_content_of_a_contested_id_is_judged_again() -> None:
    one, two, reader = found_editors(3)
    claims = []
    for editor in (one, two):
        claim = Claim(log_id=editor.content_log.log_id, clients=(77,))
        claims.append(editor.write_control(Kind.CLAIM, claim))
        editor.publish(update(section(string(f"by {editor.document.key.peer.short}"), client=77)))
    winner, loser = sorted(
        (one, two), key=lambda editor: claims[(one, two).index(editor)].operation_id
    )
    reader.receive(loser.log)
    assert str(reader.text) == f"by {loser.document.key.peer.short}"
    reader.receive(winner.log)
    assert str(reader.text) == f"by {winner.document.key.peer.short}"
    straight = newcomer(one, 9)
    straight.receive([*winner.log, *loser.log])
    assert read(straight) == read(reader) == read(reader.reopened())


def test_id_that_nobody_used_is_no_reason_to_read_the_document_anew() -> None:
    one, two, reader = found_editors(3)
    reader.text.insert(0, "text")
    reader.flush()
    claims = [claim_of(editor, 77) for editor in (one, two)]
    claims.sort(key=lambda claim: claim.operation_id, reverse=True)
    watched = reader.document.ydoc
    for claim in claims:
        reader.receive([claim])
    assert not reader.document.replica.is_blocked
    assert reader.document.ydoc is watched


def test_content_that_was_refused_for_its_id_counts_once_the_id_is_its_own() -> None:
    for client in range(77, 177):
        one, two, reader = found_editors(3)
        first = claim_of(one, client)
        second = claim_of(two, client)
        two.publish(update(section(string("mine"), client=client)))
        for _ in range(REPLAY_OPERATIONS):
            two.publish(update())
        early = list(two.log)
        third = claim_of(two, client)
        if third.operation_id < first.operation_id < second.operation_id:
            break
    else:
        pytest.fail("no such ids")
    reader.receive(one.log)
    reader.receive(early)
    assert str(reader.text) == ""
    kept = reader.reopened()
    for editor in (reader, kept):
        editor.receive([third])
        assert str(editor.text) == "mine"
        assert read(editor.reopened()) == read(editor)
    straight = newcomer(one, 9)
    straight.receive([*two.log, *one.log])
    assert read(straight) == read(reader)


def claim_of(editor: Editor, client: int) -> Operation:
    claim = Claim(log_id=editor.content_log.log_id, clients=(client,))
    return editor.write_control(Kind.CLAIM, claim)


def test_derived_id_that_somebody_claimed_before_stays_its_own() -> None:
    thief, owner, reader = found_editors(3)
    log = LogKey(owner.document.key.peer, LogId(owner.content_log.log_id))
    thief.write_control(
        Kind.CLAIM, Claim(log_id=thief.content_log.log_id, clients=(client_id(log),))
    )
    reader.receive(thief.log)
    owner.text.insert(0, "mine")
    owner.flush()
    exchange([owner, reader, thief])
    assert read(owner) == read(reader) == read(thief)
    assert str(reader.text) == "mine"


def test_control_operation_of_our_own_that_nobody_would_take_is_not_staged() -> None:
    founder, reader = found_editors(2)
    change(founder, SetRole(member=reader.document.key.peer, role=Role.READ))
    reader.receive(founder.log)
    secret = DocumentSecret(reader.entropy.draw(SECRET_BYTES))
    with pytest.raises(NotPermittedError):
        reader.write_control(
            Kind.SECRET_DISTRIBUTION, SecretDistribution(secrets=(secret.secret_id,))
        )
    assert reader.document.author.staged == []
