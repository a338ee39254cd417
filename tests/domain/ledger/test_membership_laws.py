"""Whatever order changes of membership come in, replicas with the same ones agree who is a member and what counts."""

import random
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from domain import codec
from domain.ledger.gate import Gate
from domain.ledger.ledger import Ledger
from domain.operations.control import Role
from domain.operations.operation import Operation
from tests.domain.ledger.committee import Committee
from tests.domain.ledger.reference_resolver import Reference
from tests.strategies import seeds

STEPS = 60


def delivered(committee: Committee, chance: random.Random) -> Ledger:
    """A ledger to which all operations came in some causal order."""
    ledger = Ledger(committee.document)
    gate = Gate(ledger)
    operations = chance.sample(committee.operations, len(committee.operations))
    admitted = gate.admit(operations)
    assert not admitted.refused
    assert len(admitted.entered) == len(operations)
    return ledger


def verdict(ledger: Ledger) -> dict[str, Any]:
    """Everything about membership that replicas with the same operations have to agree about."""
    logs = [ledger.log_in(slot) for slot in range(len(ledger.heights()))]
    return {
        "members": ledger.membership.members(),
        "persons": {peer: ledger.membership.person(peer) for peer in ledger.membership.members()},
        "void": ledger.membership.void(),
        "read_only": ledger.read_only_reason,
        "counted": {log.key: ledger.counting.counted(log.slot) for log in logs},
        "told": {log.key: ledger.counting.told(log.slot) for log in logs},
    }


@given(seeds)
def test_any_order_of_arrival_gives_one_membership(seed: int) -> None:
    committee = Committee(seed, STEPS)
    expected = None
    for _ in range(5):
        ledger = delivered(committee, committee.random)
        expected = expected or verdict(ledger)
        assert verdict(ledger) == expected


@given(seeds)
def test_resolver_says_what_the_reference_says(seed: int) -> None:
    membership = delivered(Committee(seed, STEPS), random.Random(seed)).membership
    reference = Reference(membership.changes)
    void = reference.resolve()
    assert membership.void() == void
    valid = [one for one in membership.changes if one.operation_id not in void]
    roles = {one.target: reference.role(one.target, valid) for one in membership.changes}
    assert membership.members() == {peer: role for peer, role in roles.items() if role}


@given(seeds)
def test_somebody_manages_the_document_whatever_is_done(seed: int) -> None:
    assert delivered(Committee(seed, STEPS), random.Random(seed)).managers()


@given(seeds)
@example(279833258)  # an operation of a newer culm that does not count
def test_what_is_told_decides_alone(seed: int) -> None:
    """A replica that never sees what is void and not told comes to the same verdict."""
    committee = Committee(seed, STEPS)
    whole = delivered(committee, committee.random)
    told = [one for one in committee.operations if is_told(whole, one)]
    ledger = Ledger(committee.document)
    admitted = Gate(ledger).admit(told)
    assert len(admitted.entered) == len(told)
    assert ledger.membership.members() == whole.membership.members()
    assert ledger.membership.void() == whole.membership.void()
    assert ledger.read_only_reason == whole.read_only_reason
    for log in ledger.heights():
        mine, theirs = ledger.log(log), whole.log(log)
        assert mine is not None
        assert theirs is not None
        counted = whole.counting.counted(theirs.slot)
        assert ledger.counting.counted(mine.slot) == min(counted, mine.count)
        assert ledger.counting.told(mine.slot) == whole.counting.told(theirs.slot) == mine.count


def is_told(ledger: Ledger, operation: Operation) -> bool:
    log = ledger.log(operation.log)
    return log is not None and operation.header.seq_num < ledger.counting.told(log.slot)


@given(seeds)
def test_operation_counts_only_if_all_that_strikes_it_had_seen_it(seed: int) -> None:
    ledger = delivered(Committee(seed, STEPS), random.Random(seed))
    for log in [ledger.log_in(slot) for slot in range(len(ledger.heights()))]:
        counted = ledger.counting.counted(log.slot)
        for removal in ledger.membership.takers_from(log.key.author, Role.PULL):
            seen = removal.past.get(log.slot, 0)
            for seq_num in range(seen, counted):  # it counts, though the removal had not seen it
                assert removal.is_in(log.vector_before(seq_num + 1))


@given(seeds, st.integers(0, STEPS))
def test_membership_comes_back_from_its_value_and_goes_on_alike(seed: int, cut: int) -> None:
    committee = Committee(seed, STEPS)
    whole = Ledger(committee.document)
    order = Gate(whole).admit(committee.operations).entered
    first = Ledger(committee.document)
    Gate(first).admit(order[:cut])
    data = codec.encode(first.to_value())
    second = Ledger.from_value(committee.document, codec.decode(data))
    assert verdict(second) == verdict(first)
    assert codec.encode(second.to_value()) == data
    for operation in order[:cut]:
        second.place(operation.operation_id, operation.position)
    assert len(Gate(second).admit(order[cut:]).entered) == len(order[cut:])
    assert verdict(second) == verdict(whole)
