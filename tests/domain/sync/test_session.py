"""Two sessions bring each other up to date however their messages interleave, and stay so."""

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import limits
from domain.errors import PeerError
from domain.identifiers import LogKey, OperationId
from domain.ledger.ledger import Height, Ledger
from domain.operations.kind import Kind
from domain.operations.operation import Operation
from domain.prekey import make_prekey
from domain.sync.frontier import channel_name, digest, lacking
from domain.sync.message import (
    Ack,
    BodyPart,
    CompactOperation,
    Digests,
    Done,
    Have,
    Join,
    JoinPending,
    JoinRefused,
    Message,
    Nack,
    PreSync,
    encode_message,
)
from domain.sync.output import (
    ExchangeDone,
    ForkSuspected,
    HeightsChanged,
    JoinAsked,
    JoiningRefused,
    OperationArrived,
    OperationsAnnounced,
    SendingPaused,
    StrangerIgnored,
)
from domain.sync.session import ALLOWED, State, SyncSession
from tests.domain.ledger.devices import Device, History, found, found_team, log_id
from tests.domain.sync.sides import Side, pump, sides_with_news
from tests.strategies import key, log_keys, messages, seeds


def sides(seed: int, steps: int = 40) -> tuple[Side, Side, random.Random]:
    """Two devices of one history, which have different parts of it."""
    history = History(seed, steps)
    one = history.founder
    other = history.devices[-1]
    if other is one:
        other = Device(9, one.document)
        history.held[9] = []
    return (
        Side(one, history.held[one.number]),
        Side(other, history.held[other.number]),
        history.random,
    )


def assert_in_step(one: Side, other: Side) -> None:
    assert one.heights() == other.heights()
    assert digest(one.heights()) == digest(other.heights())
    for side in (one, other):
        assert side.is_live
        assert not side.session.needed()
        assert not side.session.owes_done
        ids = [operation.operation_id for operation in side.arrived]
        assert len(set(ids)) == len(side.arrived)  # nothing came twice
        assert len(side.device.gate) == 0


# -- Convergence --


@given(seeds)
def test_sides_converge_and_go_live(seed: int) -> None:
    one, other, chance = sides(seed)
    one.session.open()
    pump(one, other, chance)
    assert_in_step(one, other)


@given(seeds)
def test_sides_that_open_at_once_converge_and_go_live(seed: int) -> None:
    one, other, chance = sides(seed)
    one.session.open()
    other.session.open()
    pump(one, other, chance)
    assert_in_step(one, other)
    assert one.session.exchange == other.session.exchange == 1


@given(seeds, st.lists(st.integers(0, 3), max_size=12))
def test_heights_may_be_said_at_any_time_and_the_conversation_ends(
    seed: int, plan: list[int]
) -> None:
    one, other, chance = sides(seed, 25)
    one.session.open()
    one.say()
    for action in plan:
        side, peer = (one, other) if action % 2 else (other, one)
        if action < 2:
            side.session.open()
            side.say()
        else:
            for _ in range(chance.randint(0, len(side.outbox))):
                peer.hear(side.outbox.popleft())
    pump(one, other, chance, messages_max=3_000)
    assert one.heights() == other.heights()
    assert one.is_live
    assert other.is_live
    assert one.session.exchange == other.session.exchange


@given(seeds)
def test_new_operations_follow_as_they_come_and_are_not_echoed(seed: int) -> None:
    one, other, chance = sides(seed)
    one.session.open()
    pump(one, other, chance)
    for side in (one, other):
        side.arrived.clear()
    for _ in range(5):
        side = chance.choice((one, other))
        if side.device.ledger.membership.role(side.device.peer) is not None:
            side.held.append(side.device.write(Kind.UPDATE, b"live"))
        side.work()
    pump(one, other, chance)
    assert_in_step(one, other)


def test_new_exchange_tells_again_who_lost_a_backup() -> None:
    (founder, member), written = found_team(2)
    one, other = Side(founder, list(written)), Side(member, list(written))
    founder_writes = founder.write(Kind.UPDATE, b"x")
    one.held.append(founder_writes)
    one.session.open()
    pump(one, other)
    restored = Device(member.number, member.document)
    restored.take(written)
    other.device, other.held = restored, list(written)
    other.session.open()
    pump(one, other)
    assert one.heights() == other.heights()


def test_heights_that_waited_with_the_peer_are_followed_by_what_came_since() -> None:
    (founder, member), written = found_team(2)
    one, other = Side(founder, list(written)), Side(member, list(written))
    one.session.open()
    one.say()
    later = founder.write(Kind.UPDATE, b"x")
    one.held.append(later)
    other.held += other.device.take([later]).entered  # from somebody else, before it hears us
    pump(one, other)
    told: dict[LogKey, int] = {}
    for output in other.outputs:
        if isinstance(output, HeightsChanged):
            told = ({} if output.is_complete else told) | dict(output.counts)
    assert told == {log: height.count for log, height in other.heights().items()}


def test_equal_digests_need_no_heights() -> None:
    (founder, member), written = found_team(2)
    one, other = Side(founder, list(written)), Side(member, list(written))
    for side in (one, other):
        side.session.assume_equal()
        assert side.session.may_send
        assert side.session.needed() == {}
    one.held.append(founder.write(Kind.UPDATE, b"x"))
    one.work()
    assert len(one.outbox) == 1
    pump(one, other)
    assert one.heights() == other.heights()
    assert one.session.state is other.session.state is State.QUIET


def test_known_is_what_the_peer_has_or_is_being_sent() -> None:
    (founder, member), written = found_team(2)
    one, other = Side(founder, list(written)), Side(member, list(written))
    one.session.assume_equal()
    operation = founder.write(Kind.UPDATE, b"x")
    one.session.send(operation)
    assert one.session.known()[operation.log] == 1
    assert one.session.needed() == {}
    one.session.send(operation)  # a second time: not said again
    assert one.session.backlog == 1
    one.say()
    other.hear(one.outbox.popleft())
    assert other.outputs == [OperationArrived(operation)]


# -- Many logs --


def heights_of(count: int) -> dict[LogKey, Height]:
    return {
        LogKey(key(1).peer, log_id(number >> 8, number & 255)): Height(
            count=number + 1, tip=OperationId(number.to_bytes(32, "big"))
        )
        for number in range(count)
    }


@pytest.mark.parametrize("count", [0, 1, 512, 513, 1_300])
def test_heights_are_said_in_pages(count: int) -> None:
    heights = heights_of(count)
    document = found()[0].document
    one = SyncSession(document, lambda: heights)
    other = SyncSession(document, dict)
    one.open()
    pages = one.take_messages()
    assert len(pages) == max(1, -(-count // limits.HAVE_PAGE_LOGS_MAX))
    assert all(len(page) <= limits.MESSAGE_BYTES_MAX for page in pages)
    outputs = [output for page in pages for output in other.receive(page)]
    counts = {log: height.count for log, height in heights.items()}
    tips = {log: height.tip for log, height in heights.items()}
    assert outputs == [HeightsChanged(counts, is_complete=True, tips=tips)]
    one.open()  # by number now
    again = one.take_messages()
    assert sum(map(len, again)) <= sum(map(len, pages))
    assert [output for page in again for output in other.receive(page)] == outputs


def test_log_that_is_named_twice_in_one_exchange_is_refused() -> None:
    session = SyncSession(found()[0].document, dict)
    entry = next(iter(heights_of(1).items()))
    with pytest.raises(PeerError, match="a log twice"):
        session.receive(encode_message(Have(is_last=True, heights=(entry, entry))))


def test_logs_of_a_channel_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HAVE_LOGS_MAX", 10)
    session = SyncSession(found()[0].document, dict)
    logs = list(heights_of(11))
    for log in logs[:10]:
        session.receive(encode_message(Ack(counts=((log, 1),))))
    session.receive(encode_message(Ack(counts=((logs[0], 2),))))
    with pytest.raises(PeerError, match="too many logs"):
        session.receive(encode_message(Ack(counts=((logs[10], 1),))))


def test_same_height_with_another_end_is_a_suspected_fork() -> None:
    mine = heights_of(3)
    session = SyncSession(found()[0].document, lambda: mine)
    (first, a), (second, b), (third, c) = mine.items()
    other_tip = OperationId(b"\xee" * 32)
    theirs = (
        (first, a),
        (second, Height(count=b.count, tip=other_tip)),
        (third, Height(count=c.count + 1, tip=other_tip)),
    )
    outputs = session.receive(encode_message(Have(is_last=True, heights=theirs)))
    assert outputs[0] == ForkSuspected(second, b.count - 1)
    assert len(outputs) == 2


@given(st.dictionaries(log_keys, st.integers(1, 5)), st.dictionaries(log_keys, st.integers(0, 5)))
def test_lacking_is_where_they_have_less(
    mine: dict[LogKey, int], theirs: dict[LogKey, int]
) -> None:
    theirs |= dict.fromkeys(list(mine)[::2], 2)
    heights = {log: Height(count=n, tip=OperationId(bytes(32))) for log, n in mine.items()}
    lacks = lacking(heights, theirs)
    for log, count in mine.items():
        assert (log in lacks) == (theirs.get(log, 0) < count)
        assert lacks.get(log, 0) == (theirs.get(log, 0) if log in lacks else 0)


def test_channel_name_depends_on_document_and_connection() -> None:
    one, other = found()[0].document, Ledger(found_team(2)[0][0].document).document
    assert len(channel_name(one, b"a")) == limits.CHANNEL_NAME_BYTES
    assert channel_name(one, b"a") != channel_name(one, b"b")
    assert channel_name(one, b"a") == channel_name(other, b"a")


# -- Damage --


def damaged_pair() -> tuple[Side, Side, Operation]:
    one, other, (operation,) = sides_with_news(1)
    return one, other, operation


def lose_next(one: Side, other: Side, operation: Operation) -> None:
    """Let the peer find the next copy of an operation damaged."""
    one.work()
    assert len(one.outbox) == 1
    other.session.receive(one.outbox.popleft())
    other.session.reject(operation.log, operation.header.seq_num, "bad-signature")
    other.say()
    one.hear(other.outbox.popleft())


def test_damaged_operation_is_sent_again_once() -> None:
    one, other, operation = damaged_pair()
    lose_next(one, other, operation)
    assert one.session.needed() == {operation.log: 0}
    pump(one, other)
    assert one.heights() == other.heights()
    assert one.is_live


def test_what_was_read_before_a_rejection_leaves_no_gap_after_it() -> None:
    one, other, first = damaged_pair()
    second = one.device.write(Kind.UPDATE, b"y")
    one.held.append(second)
    one.work()
    rewinds = one.session.rewinds
    other.session.reject(first.log, first.header.seq_num, "wrong-backlink")
    other.say()
    one.hear(other.outbox.popleft())
    one.session.send(second, rewinds=rewinds)
    assert not one.session.backlog
    pump(one, other)
    assert one.heights() == other.heights()


def test_session_pauses_when_an_operation_is_damaged_twice() -> None:
    one, other, operation = damaged_pair()
    lose_next(one, other, operation)
    lose_next(one, other, operation)
    assert one.session.state is State.PAUSED
    assert SendingPaused(operation.log, 0, "bad-signature") in one.outputs
    assert not one.session.may_send
    one.session.open()
    pump(one, other)
    assert one.session.state is State.PAUSED  # for good; what the peer writes still arrives
    other.held.append(other.device.write(Kind.UPDATE, b"y"))
    other.work()
    pump(one, other)
    assert one.arrived[-1] == other.held[-1]


def test_rejections_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PARKED_OPERATIONS_MAX", 5)
    session = SyncSession(found()[0].document, dict)
    for seq_num in range(6):
        log = next(iter(heights_of(1)))
        session.receive(encode_message(Nack(log=log, seq_num=seq_num, reason="")))
    assert session.state is State.PAUSED


# -- What may be said when --

LOG = next(iter(heights_of(1)))
OPERATION = CompactOperation(
    log=LOG,
    seq_num=0,
    signature=bytes(64),
    timestamp=0,
    kind=Kind.UPDATE,
    prune=False,
    backlink=None,
    previous=(),
    secret=None,
    body=limits.BODY_PART_BYTES_MAX + 1,
)
EXAMPLES: list[Message] = [
    Have(is_last=True, heights=()),
    PreSync(operations=1),
    OPERATION,
    Done(exchange=0),
    Ack(counts=()),
    Nack(log=LOG, seq_num=0, reason=""),
    Join(
        invite_key=key(1).peer,
        prekey=make_prekey(key(1), bytes([7]) * 32, expires_us=5).prekey,
        proof=bytes(64),
    ),
    JoinRefused(reason="expired"),
    JoinPending(nonce=bytes(16)),
]


def session_in(state: State) -> SyncSession:
    session = SyncSession(found()[0].document, dict)
    if state is State.PAUSED:
        for _ in range(2):
            session.receive(encode_message(Nack(log=LOG, seq_num=0, reason="")))
    if state in (State.OPENING, State.LIVE):
        session.open()
    if state in (State.SYNCING, State.LIVE):
        session.receive(encode_message(Have(is_last=True, heights=())))
    if state is State.LIVE:
        session.finish()
        session.receive(encode_message(Done(exchange=1)))
    assert session.state is state
    return session


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("message", EXAMPLES, ids=lambda message: type(message).__name__)
def test_message_is_taken_or_refused_as_the_table_says(state: State, message: Message) -> None:
    session = session_in(state)
    if state in ALLOWED[type(message)]:
        session.receive(encode_message(message))
    else:
        with pytest.raises(PeerError, match=f"not allowed while {state.value}"):
            session.receive(encode_message(message))


@pytest.mark.parametrize("state", State)
def test_digests_and_unannounced_parts_are_never_taken(state: State) -> None:
    for message in (Digests(entries=()), BodyPart(data=b"x")):
        with pytest.raises(PeerError):
            session_in(state).receive(encode_message(message))


def test_table_covers_every_message_but_digests() -> None:
    assert set(ALLOWED) == {type(message) for message in EXAMPLES} | {BodyPart}


def test_what_stands_for_itself_is_handed_out() -> None:
    session = session_in(State.OPENING)
    join = EXAMPLES[6]
    assert isinstance(join, Join)
    assert session.receive(encode_message(join)) == [JoinAsked(join)]
    assert session.receive(encode_message(JoinRefused(reason="used"))) == [JoiningRefused("used")]
    assert session.receive(encode_message(PreSync(operations=3))) == [OperationsAnnounced(3)]
    session.announce(4)
    session.say(join)
    assert session.take_messages()[1:] == [
        encode_message(PreSync(operations=4)),
        encode_message(join),
    ]


def test_operation_that_is_not_well_formed_is_refused() -> None:
    session = session_in(State.LIVE)
    wrong = replace(OPERATION, backlink=OperationId(bytes(32)), body=b"")
    with pytest.raises(PeerError, match="not well formed"):
        session.receive(encode_message(wrong))


def test_done_of_an_exchange_that_was_never_begun_is_refused() -> None:
    session = session_in(State.OPENING)
    assert session.receive(encode_message(Done(exchange=0))) == [ExchangeDone(0)]
    with pytest.raises(PeerError, match="never begun"):
        session.receive(encode_message(Done(exchange=2)))


@pytest.mark.parametrize("message", EXAMPLES, ids=lambda message: type(message).__name__)
def test_stranger_may_ask_to_join_and_nothing_else(message: Message) -> None:
    session = session_in(State.QUIET)
    session.is_stranger = True
    (output,) = session.receive(encode_message(message))
    assert isinstance(output, JoinAsked if isinstance(message, Join) else StrangerIgnored)
    assert session.take_messages() == []


# -- Any bytes --


@given(st.lists(messages.map(encode_message) | st.binary(max_size=60), max_size=30), st.data())
def test_any_bytes_give_outputs_or_a_peer_error(said: list[bytes], data: st.DataObject) -> None:
    session = session_in(data.draw(st.sampled_from(State)))
    for message in said:
        try:
            session.receive(message)
        except PeerError:
            return
        assert session.backlog <= len(said) + 3


@given(seeds, st.data())
def test_altered_messages_give_outputs_or_a_peer_error(seed: int, data: st.DataObject) -> None:
    one, other, _ = sides(seed % 50, 20)
    one.session.open()
    one.say()
    other.say()
    for _ in range(40):
        one.work()
        other.work()
        if not one.outbox:
            break
        message = bytearray(one.outbox.popleft())
        if data.draw(st.integers(0, 3)) == 0:
            at = data.draw(st.integers(0, len(message) - 1))
            message[at] ^= data.draw(st.integers(1, 255))
        try:
            for output in other.session.receive(bytes(message)):
                if isinstance(output, OperationArrived) and output.operation.is_signed():
                    assert other.device.take([output.operation]) is not None
        except PeerError:
            break
        while other.outbox:
            one.hear(other.outbox.popleft())
