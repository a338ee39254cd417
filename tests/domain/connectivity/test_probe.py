"""Probes: only the two peers can make or answer them, none counts twice, and none amplifies."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.connectivity.address import Address
from domain.connectivity.probe import (
    NONCE_BYTES,
    PROBE_BYTES,
    RANDOM_BYTES,
    WINDOW_PROBES,
    Ping,
    Pong,
    ProbeError,
    ProbeKey,
    ReplayWindow,
    make_nonce,
)
from domain.identifiers import PeerId

ALICE, BOB = PeerId(b"a" * 32), PeerId(b"b" * 32)
NONCES = st.binary(min_size=NONCE_BYTES, max_size=NONCE_BYTES)
HOSTS = st.one_of(
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6).map(str),
)
ADDRESSES = st.builds(Address.from_host, HOSTS, st.integers(0, 65_535))


def keys(secret: bytes = b"s" * 32, context: bytes = b"c") -> tuple[ProbeKey, ProbeKey]:
    return (
        ProbeKey(secret, context=context, own=ALICE, peer=BOB),
        ProbeKey(secret, context=context, own=BOB, peer=ALICE),
    )


@given(NONCES, ADDRESSES)
def test_the_peer_reads_what_was_written(nonce: bytes, observed: Address) -> None:
    alice, bob = keys()
    assert alice.key_id == bob.key_id
    assert bob.open(alice.ping(nonce)) == Ping(nonce)
    assert bob.open(alice.pong(nonce, observed)) == Pong(nonce, observed)


@given(NONCES, ADDRESSES)
def test_an_answer_is_no_longer_than_what_asked_for_it(nonce: bytes, observed: Address) -> None:
    alice, _ = keys()
    assert len(alice.ping(nonce)) == len(alice.pong(nonce, observed)) == PROBE_BYTES


@given(NONCES, st.integers(0, PROBE_BYTES * 8 - 1))
def test_a_changed_bit_makes_it_nobodys(nonce: bytes, bit: int) -> None:
    alice, bob = keys()
    changed = bytearray(alice.ping(nonce))
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(ProbeError):
        bob.open(bytes(changed))


@given(st.binary(max_size=80))
def test_other_bytes_are_a_typed_error(data: bytes) -> None:
    with pytest.raises(ProbeError):
        keys()[0].open(data)


def test_ones_own_probe_sent_back_is_not_the_peers() -> None:
    alice, _ = keys()
    with pytest.raises(ProbeError, match="code"):
        alice.open(alice.ping(bytes(NONCE_BYTES)))


def test_another_secret_context_or_peer_is_another_key() -> None:
    names = {
        keys()[0].key_id,
        keys(secret=b"t" * 32)[0].key_id,
        keys(context=b"d")[0].key_id,
        ProbeKey(b"s" * 32, context=b"c", own=ALICE, peer=PeerId(b"c" * 32)).key_id,
    }
    assert len(names) == 4


def test_a_key_does_not_show_itself() -> None:
    alice, _ = keys()
    assert repr(alice) == f"ProbeKey({alice.key_id.hex()})"


@given(st.lists(st.integers(0, 200)))
def test_a_nonce_is_admitted_once_and_never_when_it_is_old(counters: list[int]) -> None:
    window, seen, highest = ReplayWindow(), set[int](), -1
    for counter in counters:
        expected = counter not in seen and counter > highest - WINDOW_PROBES
        assert window.admit(make_nonce(counter, bytes(RANDOM_BYTES))) == expected
        seen.add(counter)
        highest = max(highest, counter)
