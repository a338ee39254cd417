"""Signals: round trip, and everything else is a typed error."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.codec import encode
from domain.connectivity.signal import (
    Deliver,
    Forward,
    Nobody,
    Register,
    Signal,
    decode_signal,
    encode_signal,
)
from domain.errors import PeerError
from domain.limits import OFFER_BYTES_MAX, RENDEZVOUS_TAGS_MAX

TAGS = st.binary(min_size=32, max_size=32)
SEALED = st.binary(min_size=1, max_size=OFFER_BYTES_MAX)
SIGNALS = st.one_of(
    st.builds(Register, st.lists(TAGS, max_size=8).map(tuple)),
    st.builds(Forward, TAGS, SEALED),
    st.builds(Deliver, SEALED),
    st.builds(Nobody, TAGS),
)


@given(SIGNALS)
def test_what_is_written_is_read(signal: Signal) -> None:
    assert decode_signal(encode_signal(signal)) == signal


@given(st.binary(max_size=100))
def test_other_bytes_are_a_typed_error(data: bytes) -> None:
    try:
        assert encode_signal(decode_signal(data)) == data
    except PeerError:
        return


@pytest.mark.parametrize(
    "value",
    [
        [],
        [9],
        [0, [bytes(31)]],
        [0, [bytes(32)] * (RENDEZVOUS_TAGS_MAX + 1)],
        [1, bytes(32), b""],
        [1, bytes(32), bytes(OFFER_BYTES_MAX + 1)],
        [2, bytes(1), bytes(1)],
    ],
)
def test_wrong_shapes_and_sizes_are_refused(value: list[object]) -> None:
    with pytest.raises(PeerError):
        decode_signal(encode(value))  # type: ignore[arg-type]
