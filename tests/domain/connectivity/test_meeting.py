"""Names under which members meet: each place, peer and hour has its own, and none tells another."""

from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from domain.connectivity.meeting import (
    hours_around,
    invite_discovery_key,
    nearby_name,
    rendezvous_tag,
)
from domain.identifiers import DocumentId, PeerId

BYTES_32 = st.binary(min_size=32, max_size=32)


def test_names_differ_by_purpose_key_peer_and_hour() -> None:
    names = set()
    for key, peer, hour in product((b"k" * 32, b"l" * 32), (b"p", b"q"), (1, 2)):
        names.add(rendezvous_tag(key, PeerId(peer * 32), hour=hour)[:16])
        names.add(nearby_name(key, PeerId(peer * 32), hour=hour))
    assert len(names) == 16


@given(BYTES_32, BYTES_32, st.integers(1, 2**40))
def test_clocks_that_differ_by_less_than_an_hour_agree_on_a_name(
    key: bytes, peer: bytes, hour: int
) -> None:
    own = {rendezvous_tag(key, PeerId(peer), hour=each) for each in hours_around(hour)}
    for other in (hour - 1, hour, hour + 1):
        assert rendezvous_tag(key, PeerId(peer), hour=other) in own


@given(BYTES_32, BYTES_32, BYTES_32)
def test_each_invite_to_each_document_has_a_key_of_its_own(
    document: bytes, invite: bytes, other: bytes
) -> None:
    keys = {
        invite_discovery_key(DocumentId(a), PeerId(b))
        for a, b in product((document, other), (invite, other))
    }
    assert len(keys) == len(set(product((document, other), (invite, other))))
    assert not keys & {document, invite, other}
