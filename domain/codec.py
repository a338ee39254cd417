"""Deterministic CBOR: the one way in which values become bytes that are hashed, signed or sent.

The subset: unsigned and negative integers of 64 bits, byte strings, text, arrays, booleans and null, of definite length
and in their shortest form (RFC 8949, 4.2.1). No maps, no floats, no tags: nothing whose encoding leaves a choice.
Decoding refuses everything else by comparing with what encoding the result gives.
"""

from collections.abc import Sequence
from typing import Final

import cbor2

from domain.errors import CodedError

Value = int | bytes | str | bool | None | Sequence["Value"]

DEPTH_MAX: Final = 12


class CodecError(CodedError):
    """Bytes that are not the deterministic encoding of a value."""


def encode(value: Value) -> bytes:
    """Encode a value; the same value always gives the same bytes."""
    return cbor2.dumps(value)


def decode(data: bytes) -> object:
    """Decode bytes that `encode` can have made.

    Returns:
        Integers, bytes, text, booleans, None, and lists of these.

    Raises:
        CodecError: They are truncated, too deep, of another type, not in their shortest form, or something follows.
    """
    try:
        value = cbor2.loads(data, max_depth=DEPTH_MAX, allow_indefinite=False)
        again = cbor2.dumps(value)
    except (cbor2.CBORError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise CodecError("malformed", f"not deterministic CBOR: {error}") from None
    if again != data:
        raise CodecError("not-canonical", "the bytes differ from the encoding of their own value")
    _check_types(value)
    return value


def decode_array(data: bytes, *, bytes_max: int) -> list[object]:
    """Decode bytes that hold an array.

    Args:
        data: The bytes.
        bytes_max: More bytes than this are refused unread.

    Raises:
        CodecError: They are too long, not deterministic, or no array.
    """
    if len(data) > bytes_max:
        raise CodecError("too-large", f"{len(data)} bytes, of at most {bytes_max}")
    value = decode(data)
    if not isinstance(value, list):
        raise CodecError("wrong-type", "not an array")
    return value


def take_int(value: object, *, maximum: int, minimum: int = 0) -> int:
    """Check that a decoded value is an integer in a range."""
    if type(value) is not int or not minimum <= value <= maximum:
        raise CodecError("wrong-type", f"not an integer from {minimum} to {maximum}")
    return value


def take_bytes(value: object, *, minimum: int = 0, maximum: int) -> bytes:
    """Check that a decoded value is bytes of a length in a range."""
    if type(value) is not bytes or not minimum <= len(value) <= maximum:
        raise CodecError("wrong-type", f"not {minimum} to {maximum} bytes")
    return value


def take_text(value: object, *, bytes_max: int) -> str:
    """Check that a decoded value is text of at most so many UTF-8 bytes."""
    if type(value) is not str or len(value.encode()) > bytes_max:
        raise CodecError("wrong-type", f"not text of at most {bytes_max} bytes")
    return value


def take_bool(value: object) -> bool:
    """Check that a decoded value is a boolean."""
    if type(value) is not bool:
        raise CodecError("wrong-type", "not a boolean")
    return value


def take_list(value: object, *, maximum: int) -> list[object]:
    """Check that a decoded value is an array of at most so many elements."""
    if type(value) is not list or len(value) > maximum:
        raise CodecError("wrong-type", f"not an array of at most {maximum} elements")
    return value


def _check_types(value: object) -> None:
    kind = type(value)
    if kind is list:
        for element in value:  # type: ignore[attr-defined]
            _check_types(element)
    elif kind is int:
        if not -(2**63) <= value < 2**64:  # type: ignore[operator]
            raise CodecError("wrong-type", "an integer of more than 64 bits")
    elif value is not None and kind not in (bytes, str, bool):
        raise CodecError("wrong-type", f"{kind.__name__} has no place here")
