"""Whatever order operations arrive in, replicas that have the same ones agree about all of it."""

import random
from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from domain import codec
from domain.errors import IdentifierError, OperationError
from domain.identifiers import Position
from domain.ledger.gate import Admitted, Gate
from domain.ledger.ledger import Ledger
from domain.operations.operation import Operation
from tests.domain.ledger.devices import History, view
from tests.strategies import seeds

STEPS = 60


def deliver(ledger: Ledger, operations: list[Operation], chance: random.Random) -> Gate:
    """Deliver in any order and in batches of any size; some twice."""
    gate = Gate(ledger)
    waiting = [*operations, *chance.sample(operations, len(operations) // 3)]
    chance.shuffle(waiting)
    entered: list[Operation] = []
    while waiting:
        size = chance.randint(1, 5)
        batch, waiting = waiting[:size], waiting[size:]
        admitted = gate.admit(batch)
        assert not admitted.refused
        entered += admitted.entered
    assert sorted(one.operation_id for one in entered) == sorted(
        one.operation_id for one in operations
    )
    return gate


@given(seeds)
def test_any_order_of_arrival_gives_the_same_ledger(seed: int) -> None:
    history = History(seed, STEPS)
    expected = None
    for _ in range(3):
        ledger = Ledger(history.founder.document)
        gate = deliver(ledger, history.operations, history.random)
        assert len(gate) == 0
        assert gate.waiting_for() == {}
        expected = expected or view(ledger)
        assert view(ledger) == expected


@given(seeds)
def test_operations_that_are_held_change_nothing(seed: int) -> None:
    history = History(seed, STEPS)
    ledger = Ledger(history.founder.document)
    gate = deliver(ledger, history.operations, history.random)
    before = view(ledger)
    admitted = gate.admit(history.operations)
    assert admitted == Admitted()
    assert view(ledger) == before


@given(seeds)
def test_operation_enters_only_after_all_that_it_builds_on(seed: int) -> None:
    history = History(seed, STEPS)
    entered = {one.operation_id for one in history.held[1][:1]}
    order = history.random.sample(history.operations, len(history.operations))
    for operation in Gate(Ledger(history.founder.document)).admit(order).entered:
        built_on = set(operation.extension.previous)
        if operation.header.backlink is not None:
            built_on.add(operation.header.backlink)
        assert built_on <= entered
        entered.add(operation.operation_id)


@given(seeds)
def test_causal_past_is_what_the_graph_says(seed: int) -> None:
    history = History(seed, STEPS)
    ledger = Ledger(history.founder.document)
    deliver(ledger, history.operations, history.random)
    by_id = {one.operation_id: one for one in history.operations}
    for operation in history.operations:
        reached, todo = set(), [operation]
        while todo:
            one = todo.pop()
            if one.operation_id in reached:
                continue
            reached.add(one.operation_id)
            links = [*one.extension.previous, one.header.backlink]
            todo += [by_id[link] for link in links if link is not None]
        past = {
            Position(ledger.log_in(slot).key, seq_num)
            for slot, count in ledger.past_of(operation.position).items()
            for seq_num in range(count)
        }
        assert past == {by_id[one].position for one in reached}


@given(seeds)
def test_tips_are_what_nothing_builds_on(seed: int) -> None:
    history = History(seed, STEPS)
    ledger = Ledger(history.founder.document)
    deliver(ledger, history.operations, history.random)
    built_on = {
        link
        for one in history.operations
        for link in (*one.extension.previous, one.header.backlink)
    }
    assert ledger.tips == {one.operation_id for one in history.operations} - built_on


@given(seeds, st.integers(0, STEPS))
def test_ledger_comes_back_from_its_value_and_goes_on_alike(seed: int, cut: int) -> None:
    history = History(seed, STEPS)
    order = Gate(Ledger(history.founder.document)).admit(history.operations).entered
    whole, first = Ledger(history.founder.document), Ledger(history.founder.document)
    deliver(whole, order, history.random)
    Gate(first).admit(order[:cut])
    data = codec.encode(first.to_value())
    second = Ledger.from_value(history.founder.document, codec.decode(data))
    assert view(second) == view(first)
    assert codec.encode(second.to_value()) == data
    gate = Gate(second)
    admitted = gate.admit(order[cut:])
    # Only the places of tips are kept: the others are looked up in the store, as a node does.
    places = {one.operation_id: one.position for one in order}
    while gate.waited_for_ids():
        more = gate.retry({one: places[one] for one in gate.waited_for_ids()})
        admitted.entered.extend(more.entered)
        assert not more.refused
    assert len(admitted.entered) == len(order[cut:])
    assert view(second) == view(whole)


@given(seeds, st.integers(0, 2**20))
def test_damaged_value_is_a_ledger_or_an_error_that_opening_expects(seed: int, at: int) -> None:
    data = bytearray(codec.encode(History(seed, 20).founder.ledger.to_value()))
    data[at % len(data)] ^= 1 + seed % 255
    document = History(seed, 1).founder.document
    with suppress(OperationError, IdentifierError, codec.CodecError, ValueError, IndexError):
        view(Ledger.from_value(document, codec.decode(bytes(data))))
