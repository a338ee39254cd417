"""What the ledger parks, and what it refuses: by the operation and its causal past alone."""

from dataclasses import replace
from typing import Any

import pytest

from domain import limits
from domain.errors import OperationError
from domain.identifiers import DocumentId, OperationId, Position
from domain.identity import Label
from domain.ledger.gate import Gate
from domain.ledger.ledger import Ledger, Standing
from domain.operations.control import (
    Genesis,
    InviteTerms,
    Role,
    encode_body,
    join_statement,
)
from domain.operations.kind import Kind
from domain.operations.operation import Extension, Operation, sign
from tests.domain.ledger.devices import (
    FOUNDER,
    INVITE_KEY,
    SECRET,
    Device,
    found,
    found_team,
    log_id,
)
from tests.strategies import key
from tests.unsound_keys import MIXED, UNSOUND

OTHER_ID = OperationId(b"\xee" * 32)


def code_of(device: Device, operation: Operation) -> str:
    with pytest.raises(OperationError) as caught:
        device.ledger.examine(operation)
    assert device.take([operation]).refused[0][0] == operation
    return caught.value.code


def founder_and_member() -> tuple[Device, Device, list[Operation]]:
    (founder, member), written = found_team(2)
    return founder, member, written


# -- What waits --


def test_operation_after_a_gap_waits_for_the_one_before_it() -> None:
    founder, member, _ = founder_and_member()
    first, second, third = (founder.write(Kind.UPDATE, b"x") for _ in range(3))
    admission = member.ledger.examine(third)
    assert admission.standing is Standing.MISSING
    assert admission.missing == second.position
    assert member.take([third, second]).entered == []
    assert len(member.gate) == 2
    assert member.gate.holds(third.operation_id)
    assert member.gate.waiting_for() == {first.position: 1, second.position: 1}
    assert member.take([first]).entered == [first, second, third]
    assert len(member.gate) == 0


def test_operation_waits_for_all_that_it_lists() -> None:
    devices, _ = found_team(4)
    reader, writers = devices[0], devices[1:]
    written = [writer.write(Kind.UPDATE, b"x") for writer in writers]
    last = writers[0]
    last.take(written)
    joining = last.write(Kind.UPDATE, b"y")
    for operation in (joining, *written[:-1]):
        assert joining not in reader.take([operation]).entered
        assert reader.gate.waited_for_ids() or reader.gate.waiting_for()
    assert reader.take(written[-1:]).entered[-1] == joining


def test_everything_waits_for_the_genesis() -> None:
    founder, genesis = found()
    invite = founder.invite()
    newcomer = Device(2, founder.document)
    elsewhere = newcomer.draft(Kind.UPDATE, b"x", log_id=log_id(9))
    assert newcomer.take([invite, elsewhere]).entered == []
    assert newcomer.gate.waited_for_ids() == {genesis.operation_id}
    admitted = newcomer.take([genesis])
    assert admitted.entered == [genesis, invite]
    assert [error.code for _, error in admitted.refused] == ["not-a-member"]


def test_places_beyond_the_bound_are_forgotten_but_for_tips(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    founder, member, written = founder_and_member()
    first = founder.write(Kind.UPDATE, b"x")
    reader = Device(3, founder.document)
    reader.take([*written, first])
    member.take([first])
    second = founder.write(Kind.UPDATE, b"x")
    stale = member.write(Kind.UPDATE, b"y")  # lists `first`, which is no tip any more
    reader.take([second])
    monkeypatch.setattr(limits, "POSITIONS_CACHED_MAX", 1)
    reader.ledger.trim()
    assert reader.ledger.holds(second.operation_id)
    assert not reader.ledger.holds(first.operation_id)
    assert reader.ledger.unplaced(stale) == [first.operation_id]
    assert reader.take([first]).old == [first]
    assert reader.take([stale]).entered == []
    found_again = reader.gate.retry({first.operation_id: first.position})
    assert found_again.entered == [stale]


def test_place_of_what_is_not_in_is_not_believed() -> None:
    founder, member, _ = founder_and_member()
    ahead = founder.write(Kind.UPDATE, b"x")
    for position in (ahead.position, Position(founder.content_log, 5)):
        member.ledger.place(OTHER_ID, position)
    assert not member.ledger.holds(OTHER_ID)


@pytest.mark.parametrize(
    ("bound", "value"), [("PARKED_OPERATIONS_MAX", 2), ("PARKED_BYTES_MAX", 900)]
)
def test_what_waits_is_bounded_and_comes_again(
    monkeypatch: pytest.MonkeyPatch, bound: str, value: int
) -> None:
    founder, member, _ = founder_and_member()
    written = [founder.write(Kind.UPDATE, bytes(100)) for _ in range(6)]
    monkeypatch.setattr(limits, bound, value)
    member.take(written[1:])
    assert len(member.gate) == 2
    assert member.gate.dropped == 3
    assert member.take(written[:1]).entered == written[:3]
    assert member.take(written[1:]).entered == written[3:]
    assert len(member.gate) == 0


def test_waiting_twice_counts_once() -> None:
    founder, member, _ = founder_and_member()
    _, second = founder.write(Kind.UPDATE), founder.write(Kind.UPDATE)
    member.take([second, second])
    assert len(member.gate) == 1


# -- Places that are taken --


def test_held_operation_is_passed_over_and_its_rival_reported() -> None:
    founder, member, _ = founder_and_member()
    rival = founder.draft(Kind.UPDATE, b"rival")
    operation = founder.write(Kind.UPDATE, b"x")
    member.take([operation])
    assert member.ledger.examine(operation).standing is Standing.HELD
    assert member.take([operation, rival]).old == [rival]


# -- What is refused --


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        ("wrong-backlink", {"backlink": OTHER_ID}),
        ("wrong-timestamp", {"timestamp": 0}),
        ("wrong-document", {"document": DocumentId(OTHER_ID)}),
        ("wrong-secret", {"kind": Kind.INVITE, "log_id": log_id(7), "secret": SECRET}),
        ("wrong-secret", {"log_id": log_id(7), "secret": None}),
        ("wrong-log", {"log_id": log_id(FOUNDER + 1, 1), "secret": SECRET}),
        ("wrong-genesis", {"kind": Kind.GENESIS}),
    ],
)
def test_content_that_breaks_a_rule_of_form_is_refused(code: str, changes: dict[str, Any]) -> None:
    _, member, _ = founder_and_member()
    member.claim(1)
    member.write(Kind.UPDATE, b"x")
    assert code_of(member, member.draft(Kind.UPDATE, b"x", **changes)) == code


def test_control_in_a_content_log_is_refused() -> None:
    _, member, _ = founder_and_member()
    member.write(Kind.UPDATE, b"x")
    draft = member.draft(Kind.LEAVE, b"", log_id=member.log_ids[True])
    assert code_of(member, draft) == "wrong-log"


def test_document_is_named_at_the_start_of_a_log_and_on_pruning_alone() -> None:
    _, member, _ = founder_and_member()
    assert code_of(member, member.draft(Kind.UPDATE, document=None)) == "wrong-document"
    member.write(Kind.UPDATE)
    named = {"document": member.document}
    assert code_of(member, member.draft(Kind.UPDATE, **named)) == "wrong-document"
    assert code_of(member, member.draft(Kind.UPDATE, prune=True)) == "wrong-document"
    member.write(Kind.UPDATE, prune=True, **named)
    member.claim(1)
    assert code_of(member, member.draft(Kind.CLAIM, prune=True, **named)) == "wrong-prune"


def test_previous_that_the_log_implies_is_refused() -> None:
    founder, member, written = founder_and_member()
    first = member.write(Kind.UPDATE)
    for implied in (first, written[-1]):
        draft = member.draft(Kind.UPDATE, previous=(implied.operation_id,))
        assert code_of(member, draft) == "redundant-previous"
    other = founder.write(Kind.UPDATE)
    member.take([other])
    member.write(Kind.UPDATE)
    draft = member.draft(Kind.UPDATE, previous=(other.operation_id,))
    assert code_of(member, draft) == "redundant-previous"


def test_second_genesis_is_refused() -> None:
    founder, _ = found()
    other = Device(2, founder.document)
    body = encode_body(Genesis())
    draft = other.draft(Kind.GENESIS, body, document=None, previous=())
    founder_view = code_of(founder, draft)
    assert founder_view == "wrong-document"
    draft = founder.draft(Kind.GENESIS, body)
    assert code_of(founder, draft) == "wrong-genesis"


def test_genesis_that_builds_on_something_never_enters() -> None:
    extension = Extension(log_id=log_id(1), timestamp=0, kind=Kind.GENESIS, previous=(OTHER_ID,))
    body = encode_body(Genesis())
    header = sign(key(1), seq_num=0, backlink=None, extension=extension, body=body)
    genesis = Operation.assemble(header, body)
    ledger = Ledger(DocumentId(genesis.operation_id))
    assert (
        ledger.examine(genesis).missing == OTHER_ID
    )  # which cannot be: its own document comes first
    assert Gate(ledger).admit([genesis]).entered == []


def test_nobody_founds_a_document_to_whom_nothing_can_be_sealed() -> None:
    extension = Extension(log_id=log_id(1), timestamp=0, kind=Kind.GENESIS)
    body = encode_body(Genesis())
    genesis = Operation.assemble(
        sign(MIXED, seq_num=0, backlink=None, extension=extension, body=body), body
    )
    admitted = Gate(Ledger(DocumentId(genesis.operation_id))).admit([genesis])
    assert [error.code for _, error in admitted.refused] == ["wrong-genesis"]


def test_stranger_may_write_nothing() -> None:
    founder, _, _ = founder_and_member()
    stranger = Device(7, founder.document)
    for kind, body in ((Kind.UPDATE, b"x"), (Kind.LEAVE, b""), (Kind.CLAIM, b"")):
        draft = stranger.draft(kind, body, previous=tuple(sorted(founder.ledger.tips)))
        assert code_of(founder, draft) == "not-a-member"


def test_member_may_write_only_after_it_was_added() -> None:
    (founder, member), written = found_team(2)
    early = member.draft(Kind.UPDATE, b"x", previous=(written[0].operation_id,))
    assert code_of(founder, early) == "not-a-member"
    assert founder.take([member.draft(Kind.UPDATE, b"x")]).entered


def test_65th_log_of_a_device_is_refused() -> None:
    _, member, _ = founder_and_member()
    for number in range(limits.LOGS_PER_DEVICE_MAX):
        member.write(Kind.UPDATE, log_id=log_id(9, number), secret=SECRET)
    draft = member.draft(Kind.UPDATE, log_id=log_id(9, 99), secret=SECRET)
    assert code_of(member, draft) == "too-many-logs"


def test_logs_are_counted_in_the_causal_past_alike_on_all_replicas() -> None:
    founder, member, _ = founder_and_member()
    start = tuple(sorted(member.ledger.tips))
    logs = [
        member.draft(Kind.UPDATE, log_id=log_id(9, number), secret=SECRET, previous=start)
        for number in range(limits.LOGS_PER_DEVICE_MAX + 2)
    ]
    for device, order in ((founder, logs), (member, logs[::-1])):
        assert not device.take(order).refused
    assert founder.ledger.tips == member.ledger.tips


# -- Invites and additions --


def test_member_that_does_not_manage_may_neither_invite_nor_add() -> None:
    _, member, written = founder_and_member()
    terms = InviteTerms(key=INVITE_KEY.peer, role=Role.WRITE, expires_us=0, uses=1)
    assert code_of(member, member.draft(Kind.INVITE, encode_body(terms))) == "not-permitted"
    addition = member.addition(key(8).peer, written[1].operation_id)
    assert code_of(member, member.draft(Kind.ADD, encode_body(addition))) == "not-permitted"


def test_addition_that_the_invite_does_not_allow_is_refused() -> None:
    founder, _ = found()
    invite = founder.invite().operation_id
    peer = key(8).peer
    good = founder.addition(peer, invite)
    other = join_statement(founder.document, key(9).peer, None)
    elsewhere = join_statement(DocumentId(OTHER_ID), peer, None)
    cases = {
        "unknown-invite": [replace(good, invite=OTHER_ID)],
        "wrong-role": [replace(good, role=Role.MANAGE), replace(good, role=Role.READ)],
        "wrong-proof": [
            replace(good, proof=bytes(64)),
            replace(good, prekey_hash=bytes(32)),
            replace(good, member=key(9).peer),
            replace(good, proof=INVITE_KEY.sign(Label.JOIN, other)),
            replace(good, proof=INVITE_KEY.sign(Label.JOIN, elsewhere)),
            replace(good, proof=INVITE_KEY.sign(Label.INVITE, other)),
            replace(good, proof=key(8).sign(Label.JOIN, other)),
        ],
        "wrong-member": [founder.addition(each, invite) for each in UNSOUND],
        "malformed-body": [],
    }
    for code, additions in cases.items():
        for addition in additions:
            draft = founder.draft(Kind.ADD, encode_body(addition))
            assert code_of(founder, draft) == code
    assert code_of(founder, founder.draft(Kind.ADD, b"\0")) == "malformed-body"
    assert founder.take([founder.draft(Kind.ADD, encode_body(good))]).entered


def test_invite_outside_the_causal_past_does_not_count() -> None:
    founder, genesis = found()
    invite = founder.invite()
    second_log = log_id(FOUNDER, 9)
    addition = founder.addition(key(8).peer, invite.operation_id)
    draft = founder.draft(
        Kind.ADD,
        encode_body(addition),
        log_id=second_log,
        previous=(genesis.operation_id,),
    )
    assert code_of(founder, draft) == "unknown-invite"


def test_each_device_uses_an_invite_once() -> None:
    founder, _ = found()
    invite = founder.invite().operation_id
    for number in (8, 9):
        founder.add(key(number).peer, invite)
    again = encode_body(founder.addition(key(8).peer, invite))
    assert code_of(founder, founder.draft(Kind.ADD, again)) == "already-member"
    membership = founder.ledger.membership
    assert membership.uses(invite) == 2
    by_key = membership.invitation_by_key(INVITE_KEY.peer, founder.peer)
    assert by_key is not None
    assert by_key == (invite, membership.invitation(invite))
    assert membership.invitation_by_key(key(8).peer, founder.peer) is None
    assert founder.ledger.managers() == [founder.peer]


# -- What a newer version wrote --


@pytest.mark.parametrize("kind", [Kind.FORMAT, 63])
def test_unknown_control_kind_makes_the_document_read_only(kind: int) -> None:
    founder, member, _ = founder_and_member()
    operation = founder.write(kind, b"whatever")
    assert member.take([operation]).entered == [operation]
    for ledger in (founder.ledger, member.ledger):
        assert f"kind {int(kind)}" in str(ledger.read_only_reason)


def test_newer_format_makes_the_document_read_only() -> None:
    body = encode_body(Genesis(format=2))
    extension = Extension(log_id=log_id(1), timestamp=0, kind=Kind.GENESIS)
    header = sign(key(1), seq_num=0, backlink=None, extension=extension, body=body)
    genesis = Operation.assemble(header, body)
    ledger = Ledger(DocumentId(genesis.operation_id))
    assert Gate(ledger).admit([genesis]).entered == [genesis]
    assert "format is 2" in str(ledger.read_only_reason)
