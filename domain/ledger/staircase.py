"""A number that changes along a log, kept in two arrays: 16 bytes a step, whatever the length of the log."""

from array import array
from bisect import bisect_left
from collections.abc import Sequence
from typing import Self

from domain import codec


class Staircase:
    """Maps how many operations of a log one has to a number that never falls; or its clocks to one that may.

    `before(count)` is the number after the first `count` operations.
    """

    __slots__ = ("_at", "_value")

    def __init__(self) -> None:
        self._at = array("Q")
        self._value = array("Q")

    def raise_to(self, seq_num: int, value: int) -> None:
        """Say that operation `seq_num` (not below any said before) makes the number `value`."""
        if self._at and self._at[-1] == seq_num:
            self._value[-1] = value
        else:
            self._at.append(seq_num)
            self._value.append(value)

    def before(self, count: int) -> int:
        """Give the number after the first `count` operations of the log."""
        index = bisect_left(self._at, count)
        return self._value[index - 1] if index else 0

    @property
    def last(self) -> int:
        """The number after all operations."""
        return self._value[-1] if self._value else 0

    def first_at(self, value: int, default: int) -> int:
        """Give the operation that raises a number that never falls to at least that; the default where none does."""
        index = bisect_left(self._value, value)
        return self._at[index] if index < len(self._at) else default

    @property
    def steps(self) -> Sequence[int]:
        """The operations that changed it, ascending."""
        return self._at

    def to_value(self) -> codec.Value:
        """Give what `from_value` reads."""
        return (_to_bytes(self._at), _to_bytes(self._value))

    @classmethod
    def from_value(cls, value: object) -> Self:
        """Read what `to_value` gave."""
        at, values = codec.take_list(value, maximum=2)
        staircase = cls()
        staircase._at = _from_bytes(at)
        staircase._value = _from_bytes(values)
        return staircase


IS_BIG_ENDIAN = array("H", [1]).tobytes() == b"\0\1"


def _to_bytes(numbers: "array[int]") -> bytes:
    """Encode as little-endian integers of 64 bits, whatever the machine."""
    if IS_BIG_ENDIAN:
        numbers = numbers[:]
        numbers.byteswap()
    return numbers.tobytes()


def _from_bytes(value: object) -> "array[int]":
    numbers = array("Q")
    numbers.frombytes(codec.take_bytes(value, maximum=2**32))
    if IS_BIG_ENDIAN:
        numbers.byteswap()
    return numbers
