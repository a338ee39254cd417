"""The compact form of operations: what the receiver rebuilds is what was sent, byte for byte."""

import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import limits
from domain.errors import OperationError, PeerError
from domain.identifiers import DocumentId, LogKey, OperationId
from domain.operations.kind import Kind
from domain.operations.operation import Operation
from domain.sync.message import (
    BodyPart,
    CompactOperation,
    Message,
    decode_message,
    encode_message,
)
from domain.sync.wire import IncomingWire, OutgoingWire
from tests.domain.document.editors import exchange, found_editors
from tests.domain.ledger.devices import Device, History, found_team, log_id
from tests.strategies import key, messages, seeds


def carried(document: DocumentId, operations: list[Operation]) -> tuple[list[Operation], int]:
    """What arrives of operations, and how many bytes that took."""
    outgoing, incoming = OutgoingWire(), IncomingWire(document)
    arrived, size = [], 0
    for operation in operations:
        for message in outgoing.compact(operation):
            data = encode_message(message)
            assert len(data) <= limits.MESSAGE_BYTES_MAX
            size += len(data)
            taken = decode_message(data)
            if isinstance(taken, BodyPart):
                log, whole = incoming.take_part(taken)
            else:
                assert isinstance(taken, CompactOperation)
                log, whole = incoming.take(taken)
            assert log == operation.log
            if whole is not None:
                arrived.append(whole)
    return arrived, size


@given(messages)
def test_message_comes_back(message: Message) -> None:
    assert decode_message(encode_message(message)) == message


@given(st.binary(max_size=100))
def test_other_bytes_are_no_message(data: bytes) -> None:
    try:
        message = decode_message(data)
    except PeerError:
        return
    assert encode_message(message) == data


def test_message_that_is_too_large_is_refused_unread() -> None:
    with pytest.raises(PeerError, match="too-large"):
        decode_message(bytes(limits.MESSAGE_BYTES_MAX + 1))


@given(messages, st.data())
def test_altered_message_is_refused_or_encodes_alike(message: Message, data: st.DataObject) -> None:
    encoded = bytearray(encode_message(message))
    at = data.draw(st.integers(0, min(len(encoded) - 1, 200)))
    encoded[at] ^= data.draw(st.integers(1, 255))
    try:
        other = decode_message(bytes(encoded))
    except PeerError:
        return
    assert encode_message(other) == encoded


@given(seeds)
def test_operations_are_rebuilt_in_any_order_and_again(seed: int) -> None:
    history = History(seed, 50)
    held = history.held[1]
    order = [*held, *history.random.sample(held, len(held))]
    arrived, _ = carried(history.founder.document, order)
    assert arrived == order
    assert all(one.is_signed() for one in arrived)


@pytest.mark.parametrize("pruned", [False, True])
def test_operation_that_allows_pruning_names_its_document(pruned: bool) -> None:
    (founder, _), _ = found_team(2)
    first = founder.write(Kind.UPDATE, b"x")
    document = founder.document if pruned else None
    second = founder.write(Kind.UPDATE, b"y", prune=pruned, document=document)
    assert carried(founder.document, [first, second])[0] == [first, second]


@pytest.mark.parametrize(
    "size",
    [
        0,
        limits.BODY_PART_BYTES_MAX,
        limits.BODY_PART_BYTES_MAX + 1,
        2 * limits.BODY_PART_BYTES_MAX,
        limits.BODY_BYTES_MAX,
    ],
)
def test_large_body_goes_in_parts(size: int) -> None:
    (founder, _), _ = found_team(2)
    operation = founder.write(Kind.UPDATE, random.Random(size).randbytes(size))
    following = founder.write(Kind.UPDATE, b"x")
    assert carried(founder.document, [operation, following])[0] == [operation, following]


def large() -> tuple[Device, list[Message]]:
    (founder, _), _ = found_team(2)
    operation = founder.write(Kind.UPDATE, bytes(2 * limits.BODY_PART_BYTES_MAX))
    return founder, OutgoingWire().compact(operation)


def test_operation_in_the_middle_of_a_body_is_refused() -> None:
    founder, (announced, part, _) = large()
    incoming = IncomingWire(founder.document)
    assert isinstance(announced, CompactOperation)
    assert isinstance(part, BodyPart)
    incoming.take(announced)
    incoming.take_part(part)
    with pytest.raises(PeerError, match="in the middle"):
        incoming.take(announced)


def test_part_that_was_not_announced_or_is_too_large_is_refused() -> None:
    founder, (announced, part, _) = large()
    incoming = IncomingWire(founder.document)
    assert isinstance(announced, CompactOperation)
    assert isinstance(part, BodyPart)
    with pytest.raises(PeerError, match="not announced"):
        incoming.take_part(part)
    incoming.take(announced)
    incoming.take_part(part)
    incoming.take_part(BodyPart(data=part.data[:-1]))
    with pytest.raises(PeerError, match="not announced"):
        incoming.take_part(BodyPart(data=b"xx"))
    _, whole = incoming.take_part(BodyPart(data=b"\0"))
    assert whole is not None


def compact(seq_num: int, backlink: OperationId | None) -> CompactOperation:
    return CompactOperation(
        log=LogKey(key(1).peer, log_id(1)),
        seq_num=seq_num,
        signature=bytes(64),
        timestamp=0,
        kind=Kind.UPDATE,
        prune=False,
        backlink=backlink,
        previous=(),
        secret=None,
        body=b"",
    )


def test_backlink_that_cannot_be_known_is_refused() -> None:
    incoming = IncomingWire(DocumentId(bytes(32)))
    with pytest.raises(PeerError, match="backlink"):
        incoming.take(compact(1, None))
    incoming.take(compact(0, None))
    with pytest.raises(PeerError, match="backlink"):
        incoming.take(compact(2, None))
    with pytest.raises(OperationError, match="wrong-backlink"):
        incoming.take(compact(0, OperationId(bytes(32))))


def test_number_of_a_log_that_was_never_introduced_is_refused() -> None:
    incoming = IncomingWire(DocumentId(bytes(32)))
    with pytest.raises(PeerError, match="never introduced"):
        incoming.take(replace(compact(0, None), log=0))


def test_timestamp_beyond_its_bound_gives_another_operation_and_no_error() -> None:
    incoming = IncomingWire(DocumentId(bytes(32)))
    incoming.take(replace(compact(0, None), timestamp=limits.TIMESTAMP_MAX))
    _, operation = incoming.take(replace(compact(1, None), timestamp=limits.TIMESTAMP_MAX))
    assert operation is not None
    assert operation.extension.timestamp == limits.TIMESTAMP_MAX
    assert not operation.is_signed()


def test_logs_are_numbered_up_to_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HAVE_LOGS_MAX", 2)
    outgoing = OutgoingWire()
    logs = [LogKey(key(1).peer, log_id(number)) for number in range(3)]
    assert [outgoing.refer(log) for log in logs] == logs
    assert [outgoing.refer(log) for log in logs] == [0, 1, logs[2]]


def test_lone_edit_takes_few_bytes() -> None:
    one, other = found_editors(2)
    for letter in "ab":
        one.text.insert(0, letter)
        one.flush()
    exchange([one, other])
    operations = one.log[-2:]
    _, both = carried(one.document.document, operations)
    _, first = carried(one.document.document, operations[:1])
    assert both - first <= 160
