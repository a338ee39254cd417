"""Bodies of control operations come back, and whatever else has their kind is an OperationError."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import codec, limits
from domain.codec import Value
from domain.errors import OperationError
from domain.identifiers import DocumentId, PeerId
from domain.operations.control import (
    Add,
    Claim,
    ControlBody,
    Genesis,
    InviteTerms,
    Leave,
    Remove,
    Role,
    SetRole,
    decode_body,
    encode_body,
    join_statement,
)
from domain.operations.distribution import PrekeyNotice, SecretDistribution
from domain.operations.kind import KIND_MAX, Kind
from tests.strategies import control_bodies, document_ids, peer_ids, some_bytes

KINDS: dict[type[ControlBody], Kind] = {
    Genesis: Kind.GENESIS,
    InviteTerms: Kind.INVITE,
    Add: Kind.ADD,
    Remove: Kind.REMOVE,
    SetRole: Kind.SET_ROLE,
    Leave: Kind.LEAVE,
    Claim: Kind.CLAIM,
    PrekeyNotice: Kind.PREKEY,
    SecretDistribution: Kind.SECRET_DISTRIBUTION,
}
ID = bytes(32)


@given(control_bodies)
def test_body_comes_back(body: ControlBody) -> None:
    assert decode_body(KINDS[type(body)], encode_body(body)) == body


@given(control_bodies, st.integers(0, KIND_MAX))
def test_body_of_another_kind_is_refused(body: ControlBody, kind: int) -> None:
    if kind != KINDS[type(body)]:
        with pytest.raises(OperationError, match="malformed-body"):
            decode_body(kind, encode_body(body))


@given(st.integers(0, KIND_MAX), st.binary(max_size=100))
def test_other_bytes_are_refused_or_encode_alike(kind: int, data: bytes) -> None:
    try:
        body = decode_body(kind, data)
    except OperationError:
        return
    assert encode_body(body) == data


WRONG: list[tuple[Kind, Value]] = [
    (Kind.GENESIS, (2, 1)),
    (Kind.GENESIS, (True, 1)),
    (Kind.GENESIS, (1, -1)),
    (Kind.GENESIS, ()),
    (Kind.INVITE, (1, ID, 0, 1, 1, False)),
    (Kind.INVITE, (1, ID, 5, 1, 1, False)),
    (Kind.INVITE, (1, ID[1:], 3, 1, 1, False)),
    (Kind.INVITE, (1, ID, 3, 1, 0, False)),
    (Kind.INVITE, (1, ID, 3, 1, limits.INVITE_USES_MAX + 1, False)),
    (Kind.INVITE, (1, ID, 3, 1, 1, 0)),
    (Kind.ADD, (1, ID, 3, ID, b"", bytes(64))),
    (Kind.ADD, (1, ID, 3, ID, None, bytes(63))),
    (Kind.ADD, (1, ID, 3, ID[1:], None, bytes(64))),
    (Kind.CLAIM, (1, ID, [])),
    (Kind.CLAIM, (1, ID, [2, 1])),
    (Kind.CLAIM, (1, ID, [1, 1])),
    (Kind.CLAIM, (1, ID, [limits.CLIENT_ID_MAX + 1])),
    (Kind.CLAIM, (1, ID, list(range(limits.CLAIMED_CLIENTS_MAX + 1)))),
]


@pytest.mark.parametrize(("kind", "fields"), WRONG)
def test_body_with_a_wrong_field_is_refused(kind: Kind, fields: Value) -> None:
    with pytest.raises(OperationError):
        decode_body(kind, codec.encode(fields))


def test_body_that_is_too_large_is_refused_unread() -> None:
    with pytest.raises(OperationError, match="too-large"):
        decode_body(Kind.GENESIS, bytes(limits.CONTROL_BODY_BYTES_MAX + 1))


@given(document_ids, peer_ids, st.none() | some_bytes(32))
def test_join_statement_names_all_that_it_is_about(
    document: DocumentId, member: PeerId, prekey_hash: bytes | None
) -> None:
    statement = join_statement(document, member, prekey_hash)
    assert codec.decode(statement) == [document, member, prekey_hash]


def test_each_role_may_do_what_the_ones_before_it_may() -> None:
    assert Role.PULL < Role.READ < Role.WRITE < Role.MANAGE
