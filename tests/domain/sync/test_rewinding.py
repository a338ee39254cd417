"""Sending again from an earlier place, while heights are on their way that were said before anybody knew of it."""

from collections.abc import Callable

import pytest

from domain.identifiers import LogKey
from domain.sync.session import SyncSession
from tests.domain.sync.sides import Side, pump, sides_with_news


def nack(one: Side, other: Side, log: LogKey) -> None:
    other.session.reject(log, 1, "fork-earlier")
    other.say()
    one.hear(other.outbox.popleft())


def offer(one: Side, _: Side, log: LogKey) -> None:
    one.session.offer(log, 1)


@pytest.mark.parametrize("ask", [nack, offer])
def test_heights_undo_no_rewinding_that_has_not_been_sent(
    ask: Callable[[Side, Side, LogKey], None],
) -> None:
    one, other, operations = sides_with_news(3)
    pump(one, other)
    session: SyncSession = one.session
    log = operations[0].log
    ask(one, other, log)
    assert session.needed() == {log: 1}
    for _ in range(2):
        other.session.open()
        other.say()
        while other.outbox:
            one.hear(other.outbox.popleft())
        assert session.needed() == {log: 1}
    pump(one, other)
    assert [each.operation_id for each in other.arrived[-2:]] == [
        each.operation_id for each in operations[1:]
    ]
    other.session.open()  # once is enough
    pump(one, other)
    assert len(other.arrived) == len(operations) + 2
    assert one.is_live
