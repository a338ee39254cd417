"""The hard cases of membership, each by name and in many orders of arrival; and what may not be done at all."""

import random

import pytest

from domain import codec
from domain.errors import OperationError
from domain.identifiers import LogKey
from domain.ledger.gate import Gate
from domain.ledger.ledger import Ledger
from domain.operations.control import (
    ControlBody,
    Leave,
    Remove,
    Role,
    SetRole,
    encode_body,
)
from domain.operations.kind import Kind
from domain.operations.operation import Operation
from tests.domain.ledger.cases import CASES, MANAGE, PULL, READ, WRITE, Case, start
from tests.domain.ledger.committee import (
    INVITES,
    UNKNOWN_KIND,
    Member,
    found_committee,
    kind_of,
    terms_of,
)
from tests.strategies import key

ORDERS = 8


def counts(ledger: Ledger, operation: Operation) -> bool:
    if operation.extension.kind < 64 and operation.extension.kind != Kind.CLAIM:
        return operation.operation_id not in ledger.membership.void()
    log = ledger.log(operation.log)
    return log is not None and operation.header.seq_num < ledger.counting.counted(log.slot)


@pytest.mark.parametrize("name", CASES)
def test_case_ends_as_it_should_in_any_order(name: str) -> None:
    case = CASES[name]()
    letters = {device.peer: letter for letter, device in case.devices.items()}
    chance = random.Random(name)
    for _ in range(ORDERS):
        ledger = Ledger(case.devices["a"].document)
        admitted = Gate(ledger).admit(chance.sample(case.written, len(case.written)))
        assert len(admitted.entered) == len(case.written)
        members = ledger.membership.members()
        assert {letters[peer]: role for peer, role in members.items()} == case.members
        void = [one for one in case.written if not counts(ledger, one)]
        assert void == case.void


def test_void_text_is_told_only_where_something_that_counts_builds_on_it() -> None:
    for name, told in (("removal", 1), ("void that is built on", 1)):
        case = CASES[name]()
        ledger = Ledger(case.devices["a"].document)
        Gate(ledger).admit(case.written)
        log = ledger.log(LogKey(case.devices["b"].peer, case.devices["b"].log_ids[True]))
        assert log is not None
        assert ledger.counting.told(log.slot) == told


@pytest.mark.parametrize("is_removed", [False, True])
def test_former_manager_does_not_make_the_document_read_only(*, is_removed: bool) -> None:
    case = start(MANAGE, WRITE)
    a, b = case.devices["a"], case.devices["b"]
    taken = case.remove("a", "b") if is_removed else case.set_role("a", "b", WRITE)
    late = case._keep(b.write(UNKNOWN_KIND, b"x"))  # signed later, and says that it was earlier
    for order in ([late, taken], [taken, late]):
        ledger = Ledger(a.document)
        assert not Gate(ledger).admit([*case.written[:-2], *order]).refused
        assert ledger.read_only_reason is None
        again = Ledger.from_value(a.document, codec.decode(codec.encode(ledger.to_value())))
        assert again.read_only_reason is None


def code_of(device: Member, body: ControlBody) -> str:
    with pytest.raises(OperationError) as caught:
        device.ledger.examine(device.draft(kind_of(body), encode_body(body)))
    return caught.value.code


def cast() -> Case:
    return start(MANAGE, WRITE, READ)


def test_only_who_manages_removes_and_gives_roles() -> None:
    case = cast()
    a, _, c, d = case.devices.values()
    for body in (
        Remove(member=d.peer),
        SetRole(member=c.peer, role=MANAGE),  # itself
        SetRole(member=d.peer, role=WRITE),
        terms_of(INVITES[30], READ),
    ):
        assert code_of(c, body) == "not-permitted"
        assert a.may(kind_of(body), encode_body(body))


def test_who_may_not_write_writes_nothing() -> None:
    case = cast()
    reader = case.devices["d"]
    with pytest.raises(OperationError, match="not-permitted"):
        reader.ledger.examine(reader.draft(Kind.UPDATE, b"x"))


def test_invite_with_the_id_of_a_member_for_its_key_gives_no_power_over_that_member() -> None:
    case = cast()
    d = case.devices["d"]
    for letter in "ac":
        member = case.devices[letter]
        case.invite("d", member.number, READ, person=d.peer)
        assert code_of(d, Remove(member=member.peer)) == "not-permitted"


def test_invite_that_repeats_the_key_of_another_does_not_stand_in_for_it() -> None:
    case = start(PULL, MANAGE)
    a, b, c = (case.devices[letter] for letter in "abc")
    again = case.invite(
        "b", INVITES[31], PULL, person=b.peer
    )  # its key is in clear, once it is used
    invite = case.invite("a", INVITES[31], WRITE)
    case.see("c", again, invite)
    for manager in (a, c):
        found = c.ledger.membership.invitation_by_key(key(INVITES[31]).peer, manager.peer)
        assert found is not None
        assert found[0] == invite.operation_id


def test_device_with_the_key_of_an_invite_for_its_id_does_not_revoke_it() -> None:
    case = cast()
    a, d = case.devices["a"], case.devices["d"]
    invite = case.invite("a", INVITES[31], WRITE)
    case.see("d", invite)
    own = case.invite("d", INVITES[30], READ, person=d.peer)
    added = d.change(d.addition_by(INVITES[30], own.operation_id, key(INVITES[31]).peer, READ))
    case.see("a", own, added)
    assert not a.ledger.membership.is_revoked(invite.operation_id)
    a.change(Remove(member=key(INVITES[31]).peer))
    assert a.ledger.membership.is_revoked(invite.operation_id)
    assert a.ledger.membership.role(key(INVITES[31]).peer) is None


def test_nobody_who_is_no_member_can_be_removed_or_given_a_role() -> None:
    case = cast()
    stranger = key(99).peer
    for body in (Remove(member=stranger), SetRole(member=stranger, role=Role.PULL)):
        assert code_of(case.devices["a"], body) == "unknown-member"


def test_last_manager_stays() -> None:
    case = start(WRITE)
    alone = case.devices["a"]
    for body in (Leave(), Remove(member=alone.peer), SetRole(member=alone.peer, role=WRITE)):
        assert code_of(alone, body) == "last-manager"
    assert alone.may(Kind.SET_ROLE, encode_body(SetRole(member=alone.peer, role=MANAGE)))


def test_who_has_left_or_was_removed_does_nothing_more() -> None:
    for case in (CASES["removal"](), CASES["leaving"]()):
        for device in case.devices.values():
            device.take(case.written)
        gone = [one for letter, one in case.devices.items() if letter not in case.members]
        for device in gone:
            with pytest.raises(OperationError, match="not-a-member"):
                device.ledger.examine(device.draft(Kind.UPDATE, b"x"))


def test_devices_of_a_person_reach_no_further_than_their_own_role() -> None:
    case = cast()
    b, c, d = (case.devices[letter] for letter in "bcd")
    assert code_of(c, terms_of(INVITES[30], MANAGE, person=c.peer)) == "not-permitted"
    assert code_of(c, terms_of(INVITES[30], WRITE, person=d.peer)) == "wrong-person"
    assert code_of(c, terms_of(INVITES[30], READ, person=b.peer)) == "wrong-person"
    invite = case.invite("c", INVITES[30], READ, person=c.peer)
    case.add("c", INVITES[30], invite, "e", READ)
    case.see("e", *case.written)
    assert case.devices["e"].ledger.membership.person(case.devices["e"].peer) == c.peer
    # A reader does not remove the writer of its person, and nobody of another.
    for member in (c.peer, d.peer):
        assert code_of(case.devices["e"], Remove(member=member)) == "not-permitted"


def test_role_of_one_document_is_worth_nothing_in_another() -> None:
    """A change is bound to its document by its log, so it cannot be played back elsewhere."""
    here = start(READ).devices["a"]
    members, written = found_committee(2, (READ,), timestamp=1)
    written.append(members[0].change(SetRole(member=members[1].peer, role=MANAGE)))
    admitted = here.take(written)
    assert admitted.entered == []
    assert len(admitted.refused) == 1  # the genesis; all else waits for what is never refused
    assert here.ledger.membership.role(members[1].peer) == READ


def test_invite_that_was_revoked_or_used_up_lets_nobody_in() -> None:
    case = start(MANAGE)
    a = case.devices["a"]
    once = case.invite("a", INVITES[30], WRITE, uses=1)
    case.add("a", INVITES[30], once, "e", WRITE)
    addition = a.addition_by(INVITES[30], once.operation_id, key(50).peer, WRITE)
    assert code_of(a, addition) == "used"
    open_to_all = case.invite("a", INVITES[31], WRITE)
    case.do("a", Remove(member=key(INVITES[31]).peer))
    addition = a.addition_by(INVITES[31], open_to_all.operation_id, key(50).peer, WRITE)
    assert code_of(a, addition) == "revoked"
    assert a.ledger.membership.is_revoked(open_to_all.operation_id)
    assert not a.ledger.membership.is_revoked(once.operation_id)
