"""Offers: nobody but the recipient opens one, and none counts twice, late, or for somebody else."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.simulation.environment import SimulatedEntropy
from domain.connectivity.address import Address
from domain.connectivity.candidate import OFFERED, Candidate, is_probable
from domain.connectivity.nat import Filtering, Mapping, NatBehavior
from domain.connectivity.offer import Offer, OfferError, OfferLog, open_offer, seal_offer
from domain.connectivity.probe import Ping
from domain.identifiers import PeerId
from domain.identity import DeviceKey
from domain.limits import CANDIDATES_MAX, OFFER_BYTES_MAX, OFFER_S_MAX, OFFERS_KEPT_MAX
from tests.unsound_keys import MIXED, UNSOUND

ALICE, BOB, EVE = (DeviceKey(bytes([number]) * 32) for number in (1, 2, 3))
NOW_US = 1_893_456_000_000_000
DRAW = SimulatedEntropy(1, "offers").draw
ADDRESSES = st.builds(
    Address.from_host,
    st.one_of(st.ip_addresses(v=4).map(str), st.ip_addresses(v=6).map(str)),
    st.integers(1, 65_535),
).filter(is_probable)
CANDIDATES = st.lists(
    st.builds(Candidate, st.sampled_from(OFFERED), ADDRESSES), max_size=CANDIDATES_MAX, unique=True
)
NATS = st.builds(NatBehavior, st.sampled_from(Mapping), st.sampled_from(Filtering))


def make(candidates: list[Candidate] | None = None, nat: NatBehavior | None = None) -> Offer:
    return Offer(
        offer_id=DRAW(16),
        sender=ALICE.peer,
        recipient=BOB.peer,
        secret=DRAW(32),
        expires_us=NOW_US + 30_000_000,
        nat=nat or NatBehavior(),
        candidates=tuple(candidates or ()),
        reply_tag=DRAW(32),
    )


@given(CANDIDATES, NATS)
def test_the_recipient_reads_what_was_sealed(candidates: list[Candidate], nat: NatBehavior) -> None:
    offer = make(candidates, nat)
    sealed = seal_offer(offer, ALICE, DRAW)
    assert len(sealed) <= OFFER_BYTES_MAX
    assert open_offer(sealed, BOB, now_us=NOW_US) == offer


def test_both_get_the_same_keys_for_probes() -> None:
    offer = make()
    ping = offer.probe_key(ALICE.peer).ping(bytes(12))
    assert offer.probe_key(BOB.peer).open(ping) == Ping(bytes(12))


def test_another_device_cannot_open_it() -> None:
    with pytest.raises(OfferError, match="our key"):
        open_offer(seal_offer(make(), ALICE, DRAW), EVE, now_us=NOW_US)


def test_what_was_meant_for_another_is_refused_though_it_was_sealed_to_us() -> None:
    """Bob seals Alice's offer to Eve, to make her probe Alice."""
    sealed = seal_offer(replace(make(), recipient=EVE.peer), ALICE, DRAW)
    for_bob = replace(make(), recipient=BOB.peer)
    assert open_offer(sealed, EVE, now_us=NOW_US).sender == ALICE.peer
    forged = seal_offer(for_bob, EVE, DRAW)  # Eve signs, so she is its sender
    assert open_offer(forged, BOB, now_us=NOW_US).sender == EVE.peer


@pytest.mark.parametrize(
    ("after_s", "is_taken"),
    [(0, True), (29.9, True), (30, False), (1_000, False), (-29, True), (-31, False)],
)
def test_it_counts_until_it_expires_and_not_too_early(after_s: float, is_taken: bool) -> None:
    sealed = seal_offer(make(), ALICE, DRAW)
    now_us = NOW_US + int(after_s * 1e6)
    if is_taken:
        assert open_offer(sealed, BOB, now_us=now_us).sender == ALICE.peer
    else:
        with pytest.raises(OfferError) as caught:
            open_offer(sealed, BOB, now_us=now_us)
        assert caught.value.code == "expired"


@given(st.data())
def test_a_changed_bit_is_noticed(data: st.DataObject) -> None:
    sealed = bytearray(seal_offer(make(), ALICE, DRAW))
    bit = data.draw(st.integers(0, len(sealed) * 8 - 1))
    sealed[bit // 8] ^= 1 << bit % 8
    if bit == 255:
        return  # X25519 ignores the highest bit of a key
    with pytest.raises(OfferError):
        open_offer(bytes(sealed), BOB, now_us=NOW_US)


@given(st.binary(max_size=200))
def test_other_bytes_are_a_typed_error(data: bytes) -> None:
    with pytest.raises(OfferError):
        open_offer(data, BOB, now_us=NOW_US)


def test_candidates_where_nobody_can_be_are_left_out() -> None:
    bad = [
        Candidate(OFFERED[0], Address(host, 1))
        for host in ("127.0.0.1", "224.0.0.1", "::1", "0.0.0.0", "fe80::1", "localhost")
    ]
    good = Candidate(OFFERED[1], Address("203.0.113.1", 1))
    sealed = seal_offer(make([*bad, good]), ALICE, DRAW)
    assert open_offer(sealed, BOB, now_us=NOW_US).candidates == (good,)


def test_an_offer_is_admitted_once_and_the_memory_is_bounded() -> None:
    log, offer = OfferLog(), make()
    assert log.admit(offer, now_us=NOW_US)
    assert not log.admit(offer, now_us=NOW_US)
    for _ in range(2 * OFFERS_KEPT_MAX):
        log.admit(make(), now_us=NOW_US)
    assert len(log._seen) <= OFFERS_KEPT_MAX
    later = NOW_US + int(OFFER_S_MAX * 1e6)
    log.admit(replace(make(), expires_us=later + 1), now_us=later)
    assert len(log._seen) == 1


def test_secrets_are_not_shown() -> None:
    offer = make()
    assert offer.secret.hex() not in repr(offer)


@pytest.mark.parametrize("recipient", UNSOUND)
def test_to_an_id_that_is_no_key_nothing_is_sealed(recipient: PeerId) -> None:
    with pytest.raises(OfferError, match="wrong-key"):
        seal_offer(replace(make(), recipient=recipient), ALICE, DRAW)


def test_an_offer_that_cannot_be_answered_is_refused() -> None:
    sealed = seal_offer(replace(make(), sender=MIXED.peer), MIXED, DRAW)
    with pytest.raises(OfferError, match="wrong-key"):
        open_offer(sealed, BOB, now_us=NOW_US)
