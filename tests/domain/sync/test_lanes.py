"""What goes on which lane of a session; that both bring everything over is among the laws of `test_session`."""

import pytest

from domain import limits
from domain.errors import PeerError
from domain.sync.message import (
    CompactOperation,
    Have,
    Message,
    PreSync,
    decode_message,
    encode_message,
)
from domain.sync.session import Lane, SyncSession
from tests.domain.ledger.devices import found
from tests.domain.sync.sides import Side, pump, sides_with_news


def operations_on(side: Side, lane: Lane) -> list[Message]:
    messages = [decode_message(data) for data in side.outboxes[lane]]
    return [message for message in messages if isinstance(message, CompactOperation)]


def test_much_goes_in_bulk_until_all_is_said_and_then_little_goes_live() -> None:
    one, other, operations = sides_with_news(4)
    other.session.open()
    other.say()
    one.hear_next(other, Lane.LIVE)
    session = one.session
    for operation in operations[:2]:
        session.send(operation, session.choose_lane(limits.LIVE_BYTES_MAX + 1))
    session.send(operations[2], session.choose_lane(1))
    session.finish()
    one.finished[2] = one.ids()
    session.send(operations[3], session.choose_lane(1))
    one.say()
    assert len(operations_on(one, Lane.BULK)) == 3
    assert len(operations_on(one, Lane.LIVE)) == 1
    while one.outboxes[Lane.LIVE]:  # it overtakes what it builds on, and waits for it
        other.hear_next(one, Lane.LIVE)
    assert other.heights() != one.heights()
    pump(one, other)
    assert other.heights() == one.heights()


@pytest.mark.parametrize("is_owed", [True, False])
def test_done_overtakes_no_bulk_though_heights_come_in_the_middle_of_it(is_owed: bool) -> None:
    one, other, operations = sides_with_news(4)
    session = one.session
    if is_owed:
        other.session.open()
        other.say()
        one.hear_next(other, Lane.LIVE)
    rewinds, lane = session.rewinds, session.choose_lane(limits.LIVE_BYTES_MAX + 1)
    session.send(operations[0], lane, rewinds=rewinds)
    other.session.open()
    other.say()
    one.hear_next(other, Lane.LIVE)
    for operation in operations[1:3]:  # what was read together with the first
        session.send(operation, lane, rewinds=rewinds)
    one.work()
    while one.outboxes[Lane.LIVE]:
        other.hear_next(one, Lane.LIVE)  # sees that everything is here once that is said
    pump(one, other)
    assert other.heights() == one.heights()
    assert one.is_live
    assert other.is_live


@pytest.mark.parametrize("message", [Have(is_last=True, heights=()), PreSync(operations=1)])
def test_conversation_in_bulk_is_an_error(message: Message) -> None:
    session = SyncSession(found()[0].document, dict)
    session.receive(encode_message(Have(is_last=True, heights=())))
    with pytest.raises(PeerError, match="not allowed in bulk"):
        session.receive(encode_message(message), Lane.BULK)
