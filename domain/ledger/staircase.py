"""A number that changes along a log, kept in one array: 8 bytes a step, whatever the length of the log."""

from array import array
from bisect import bisect_left
from collections.abc import Sequence
from typing import Final, Self

from domain import codec

HALF_BITS: Final = 32
"""A step is an operation and a number in one: each has 32 bits, as sequence numbers and clocks do."""
VALUE_MASK: Final = (1 << HALF_BITS) - 1


class Staircase:
    """Maps how many operations of a log one has to a number that never falls; or its clocks to one that may.

    `before(count)` is the number after the first `count` operations.
    """

    __slots__ = ("_steps",)

    def __init__(self, steps: Sequence[int] = ()) -> None:
        self._steps = array("Q", steps)

    def raise_to(self, seq_num: int, value: int) -> None:
        """Say that operation `seq_num` (not below any said before) makes the number `value`."""
        step = step_of(seq_num, value)
        if self._steps and self._steps[-1] >> HALF_BITS == seq_num:
            self._steps[-1] = step
        else:
            self._steps.append(step)

    def before(self, count: int) -> int:
        """Give the number after the first `count` operations of the log."""
        index = bisect_left(self._steps, count << HALF_BITS)
        return self._steps[index - 1] & VALUE_MASK if index else 0

    @property
    def last(self) -> int:
        """The number after all operations."""
        return self._steps[-1] & VALUE_MASK if self._steps else 0

    def first_at(self, value: int, default: int) -> int:
        """Give the operation that raises a number that never falls to at least that; the default where none does."""
        index = bisect_left(self._steps, value, key=lambda step: step & VALUE_MASK)
        return self._steps[index] >> HALF_BITS if index < len(self._steps) else default

    @property
    def first(self) -> int | None:
        """The first operation that changed it; None where none did."""
        return self._steps[0] >> HALF_BITS if self._steps else None

    @property
    def steps(self) -> list[int]:
        """The operations that changed it, ascending; a list that is made for the caller."""
        return [step >> HALF_BITS for step in self._steps]

    def to_value(self) -> codec.Value:
        """Give what `from_value` reads."""
        return to_bytes(self._steps)

    @classmethod
    def from_value(cls, value: object) -> Self:
        """Read what `to_value` gave."""
        return cls(from_bytes(value))


def step_of(seq_num: int, value: int) -> int:
    """Put an operation and a number in one, so that steps are in the order of their operations.

    Raises:
        ValueError: One of them has more than 32 bits.
    """
    if (seq_num | value) >> HALF_BITS:
        raise ValueError(f"operation {seq_num} or number {value} has more than {HALF_BITS} bits")
    return seq_num << HALF_BITS | value


IS_BIG_ENDIAN = array("H", [1]).tobytes() == b"\0\1"


def to_bytes(numbers: "array[int]") -> bytes:
    """Encode as little-endian integers of 64 bits, whatever the machine."""
    if IS_BIG_ENDIAN:
        numbers = numbers[:]
        numbers.byteswap()
    return numbers.tobytes()


def from_bytes(value: object) -> "array[int]":
    """Read what `to_bytes` gave.

    Raises:
        ValueError: It is not made of integers of 64 bits.
    """
    numbers = array("Q")
    numbers.frombytes(codec.take_bytes(value, maximum=2**32))
    if IS_BIG_ENDIAN:
        numbers.byteswap()
    return numbers
