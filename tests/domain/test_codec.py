"""Deterministic CBOR: one value, one form; everything else is a CodecError."""

import random
from collections.abc import Callable

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import codec
from domain.codec import CodecError, Value
from tests.strategies import codec_values


def as_lists(value: object) -> object:
    return [as_lists(one) for one in value] if isinstance(value, list | tuple) else value


@given(codec_values)
def test_value_comes_back(value: Value) -> None:
    assert codec.decode(codec.encode(value)) == as_lists(value)


@given(st.binary(max_size=80))
def test_bytes_give_their_own_encoding_or_an_error(data: bytes) -> None:
    try:
        value = codec.decode(data)
    except CodecError:
        return
    assert codec.encode(value) == data  # type: ignore[arg-type]


@given(codec_values, st.binary(min_size=1, max_size=3))
def test_trailing_bytes_are_refused(value: Value, rest: bytes) -> None:
    with pytest.raises(CodecError):
        codec.decode(codec.encode(value) + rest)


@given(codec_values)
def test_truncated_bytes_are_refused(value: Value) -> None:
    data = codec.encode(value)
    for size in range(len(data)):
        with pytest.raises(CodecError):
            codec.decode(data[:size])


@given(codec_values, st.data())
def test_altered_byte_gives_another_value_or_an_error(value: Value, data: st.DataObject) -> None:
    encoded = bytearray(codec.encode(value))
    at = data.draw(st.integers(0, len(encoded) - 1))
    encoded[at] ^= data.draw(st.integers(1, 255))
    try:
        other = codec.decode(bytes(encoded))
    except CodecError:
        return
    assert codec.encode(other) == encoded  # type: ignore[arg-type]


OTHER_FORMS = {
    "an integer in two bytes": "1801",
    "an integer in nine bytes": "1b0000000000000001",
    "a long length of bytes": "580101",
    "bytes of indefinite length": "5f4101ff",
    "text of indefinite length": "7f6161ff",
    "an array of indefinite length": "9f01ff",
    "a map": "a10102",
    "an empty map": "a0",
    "a float": "fb3ff0000000000000",
    "a half": "f93c00",
    "not a number": "f97e00",
    "undefined": "f7",
    "a simple value": "f0",
    "a break": "ff",
    "a date": "c074323031332d30332d32315432303a30343a30305a",
    "a big integer": "c249010000000000000000",
    "a fraction of nothing": "d81e820100",
    "a regular expression": "d823622828",
    "a shared value": "82d81c01d81d00",
    "a value that holds itself": "d81c81d81d00",
    "a set": "d9010283010203",
    "a long number of elements": "9bffffffffffffffff",
    "a long number of bytes": "5bffffffffffffffff",
    "a long text": "7b7fffffffffffffff",
    "text that is not UTF-8": "61ff",
    "a surrogate": "63eda080",
    "nothing": "",
}


@pytest.mark.parametrize("data", OTHER_FORMS.values(), ids=OTHER_FORMS)
def test_other_form_is_refused(data: str) -> None:
    with pytest.raises(CodecError):
        codec.decode(bytes.fromhex(data))


def test_tags_of_every_number_are_refused(seed: int) -> None:
    chosen = random.Random(seed)
    inside = [0, -1, 2**62, b"", "x", "((", [1, 0], [2**62, 3], [[1]], {}, None, "2020-99-99"]
    for tag in (*range(300), *(chosen.randrange(2**64) for _ in range(100))):
        data = cbor2.dumps(cbor2.CBORTag(tag, 0))[:-1] + cbor2.dumps(chosen.choice(inside))
        with pytest.raises(CodecError):
            codec.decode(data)


def nested(depth: int) -> bytes:
    return b"\x81" * depth + b"\0"


def test_depth_is_bounded() -> None:
    codec.decode(nested(codec.DEPTH_MAX - 1))
    for depth in (codec.DEPTH_MAX + 1, 1_000, 1_000_000):
        with pytest.raises(CodecError):
            codec.decode(nested(depth))


def test_array_of_too_many_bytes_is_not_read() -> None:
    data = codec.encode([b"12345"])
    assert codec.decode_array(data, bytes_max=len(data)) == [b"12345"]
    with pytest.raises(CodecError, match="too-large"):
        codec.decode_array(data, bytes_max=len(data) - 1)
    with pytest.raises(CodecError, match="wrong-type"):
        codec.decode_array(codec.encode(1), bytes_max=10)


def test_integer_of_more_than_64_bits_is_refused() -> None:
    assert codec.decode(codec.encode(2**64 - 1)) == 2**64 - 1
    assert codec.decode(codec.encode(-(2**63))) == -(2**63)
    for value in (2**64, -(2**63) - 1, -(2**64)):
        with pytest.raises(CodecError):
            codec.decode(codec.encode(value))


def test_takers_accept_their_type_within_its_bounds_alone() -> None:
    assert codec.take_int(3, minimum=3, maximum=3) == 3
    assert codec.take_bytes(b"ab", minimum=2, maximum=2) == b"ab"
    assert codec.take_text("é", bytes_max=2) == "é"
    assert codec.take_bool(value=True) is True
    assert codec.take_list([1], maximum=1) == [1]
    refused: list[Callable[[], object]] = [
        lambda: codec.take_int(4, maximum=3),
        lambda: codec.take_int(2, minimum=3, maximum=9),
        lambda: codec.take_int(value=True, maximum=9),
        lambda: codec.take_bytes(b"a", minimum=2, maximum=2),
        lambda: codec.take_bytes(b"abc", maximum=2),
        lambda: codec.take_bytes("a", maximum=2),
        lambda: codec.take_text("éé", bytes_max=3),
        lambda: codec.take_text(b"a", bytes_max=3),
        lambda: codec.take_bool(1),
        lambda: codec.take_list([1, 2], maximum=1),
        lambda: codec.take_list((1,), maximum=1),
    ]
    for take in refused:
        with pytest.raises(CodecError, match="wrong-type"):
            take()
