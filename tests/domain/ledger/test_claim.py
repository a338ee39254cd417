"""A client id belongs to one log, on every replica the same one."""

import itertools

import pytest
from hypothesis import given

from domain import codec, limits
from domain.errors import OperationError
from domain.identifiers import LogKey
from domain.ledger.claim import client_id
from domain.ledger.ledger import Ledger
from domain.operations.control import Claim, encode_body
from domain.operations.kind import Kind
from domain.operations.operation import Operation
from tests.domain.ledger.devices import Device, found_team, log_id
from tests.strategies import log_keys


@given(log_keys)
def test_derived_client_id_has_53_bits_and_is_always_the_same(log: LogKey) -> None:
    assert 0 <= client_id(log) <= limits.CLIENT_ID_MAX
    assert client_id(log) == client_id(LogKey(*log))


def test_derived_id_belongs_to_its_log_whoever_claims_it() -> None:
    (founder, member), _ = found_team(2)
    derived = client_id(member.content_log)
    founder.take([member.claim(1)])
    stolen = founder.claim(derived)
    claims = founder.ledger.claims
    assert claims.owner(derived) == founder.content_log
    first = member.write(Kind.UPDATE)
    founder.take([first])
    assert claims.owner(derived) == member.content_log
    assert claims.contested == {derived}
    past = founder.ledger.present()
    assert claims.may_write(derived, member.content_log, past)
    assert not claims.may_write(derived, founder.content_log, past)
    assert stolen.extension.kind == Kind.CLAIM


def test_claimed_id_may_be_written_from_the_claim_on() -> None:
    (founder, _), _ = found_team(2)
    before = founder.ledger.present()
    founder.claim(5)
    after = founder.ledger.present()
    claims = founder.ledger.claims
    assert claims.owner(5) == founder.content_log
    assert not claims.may_write(5, founder.content_log, before)
    assert claims.may_write(5, founder.content_log, after)
    assert not claims.may_write(5, LogKey(founder.peer, log_id(9)), after)
    assert claims.owner(6) is None
    assert not claims.may_write(6, founder.content_log, after)


def test_id_that_is_claimed_in_the_causal_past_cannot_be_claimed_again() -> None:
    (founder, member), _ = found_team(2)
    member.take([founder.claim(5)])
    body = encode_body(Claim(log_id=member.log_ids[True], clients=(4, 5)))
    with pytest.raises(OperationError, match="already-claimed"):
        member.ledger.examine(member.draft(Kind.CLAIM, body))
    founder.claim(5)  # again by its owner: nothing changes
    assert founder.ledger.claims.contested == set()


def rivals() -> tuple[list[Operation], list[Operation], list[Device]]:
    """Three devices claim one id at once; one of them twice."""
    devices, written = found_team(4)
    claims = [device.claim(5) for device in devices[1:]]
    claims.append(devices[1].claim(5))
    return written, claims, devices


def test_lowest_of_concurrent_claims_counts_whatever_the_order() -> None:
    written, claims, devices = rivals()
    lowest = min(claims, key=lambda operation: operation.operation_id)
    for order in itertools.permutations(claims):
        reader = Device(9, devices[0].document)
        assert not reader.take([*written, *order]).refused
        owner = reader.ledger.claims.owner(5)
        assert owner is not None
        assert owner.author == lowest.author
        past = reader.ledger.present()
        for device in devices[1:]:
            may_write = reader.ledger.claims.may_write(5, device.content_log, past)
            assert may_write == (device.peer == lowest.author)


def test_claim_is_refused_alike_whatever_else_has_arrived() -> None:
    written, claims, devices = rivals()
    lowest = min(claims[:3], key=lambda operation: operation.operation_id)
    loser = next(one for one in claims[:3] if one is not lowest)
    late = Device(9, devices[0].document)
    late.take([*written, loser])
    body = encode_body(Claim(log_id=log_id(77), clients=(5,)))
    draft = devices[0].draft(
        Kind.CLAIM, body, previous=(loser.operation_id,)
    )  # it has seen one claim by another log
    for order in ([loser], [loser, lowest], [lowest, loser]):
        reader = Device(8, devices[0].document)
        reader.take([*written, *order])
        with pytest.raises(OperationError, match="already-claimed"):
            reader.ledger.examine(draft)


def test_contest_is_noticed_when_the_owner_changes_and_not_else() -> None:
    written, claims, devices = rivals()
    first, second = sorted(claims[:2], key=lambda operation: operation.operation_id)
    for order, contested in (([first, second], set()), ([second, first], {5})):
        reader = Device(9, devices[0].document)
        reader.take([*written, *order])
        assert reader.ledger.claims.contested == contested


def test_claims_come_back_from_their_value() -> None:
    written, claims, devices = rivals()
    reader = Device(9, devices[0].document)
    reader.take([*written, *claims])
    data = codec.encode(reader.ledger.to_value())
    back = Ledger.from_value(reader.document, codec.decode(data))
    assert back.claims.owner(5) == reader.ledger.claims.owner(5)
    assert codec.encode(back.to_value()) == data
