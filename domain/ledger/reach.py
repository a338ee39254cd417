"""How much of the other logs the operations of one log build on.

Of most logs a log builds on all at once, and never on more: their authors wrote once, or before it began. That takes 8
bytes for each, without an object of its own: a document in which a thousand devices wrote has millions of such pairs.
"""

from array import array
from collections.abc import Iterable
from typing import Self

from domain import codec, limits
from domain.ledger.staircase import (
    HALF_BITS,
    VALUE_MASK,
    Staircase,
    from_bytes,
    step_of,
    to_bytes,
)

Vector = dict[int, int]
"""A causally closed set of operations: for each log, by its slot, how many operations of it belong to the set."""


class Reach:
    """Maps how many operations of a log one has to how much of each other log these build on.

    Args:
        slot: That of the log itself, which is none of the others.
    """

    __slots__ = ("_often", "_once", "_slot")

    def __init__(self, slot: int) -> None:
        self._slot = slot
        self._once = array("Q")
        """By slot, the one step of a log of which more was built on once; 0 where that never was, or more often."""
        self._often: dict[int, Staircase] = {}

    def extend(self, seq_num: int, past: Vector) -> None:
        """Take the causal past of operation `seq_num`, the next of the log."""
        once, often = self._once, self._often
        for slot, height in past.items():
            if slot == self._slot or not height:
                continue
            if slot >= len(once):
                once.frombytes(bytes(once.itemsize * (slot + 1 - len(once))))
            steps = often.get(slot)
            if steps is not None:
                if height > steps.last:
                    steps.raise_to(seq_num, height)
            elif not once[slot]:
                once[slot] = step_of(seq_num, height)
            elif height > once[slot] & VALUE_MASK:
                often[slot] = Staircase((once[slot], step_of(seq_num, height)))
                once[slot] = 0

    def before(self, count: int) -> Vector:
        """Give how much the first `count` operations build on, of each log of which that is anything."""
        end = count << HALF_BITS
        past = {
            slot: step & VALUE_MASK for slot, step in enumerate(self._once) if step and step < end
        }
        for slot, steps in self._often.items():
            if height := steps.before(count):
                past[slot] = height
        return past

    def before_of(self, count: int, slots: Iterable[int]) -> Vector:
        """Give the same of some logs alone."""
        once, often, end = self._once, self._often, count << HALF_BITS
        past = {}
        for slot in slots:
            if slot < len(once) and (step := once[slot]):
                if step < end:
                    past[slot] = step & VALUE_MASK
            elif (steps := often.get(slot)) is not None and (height := steps.before(count)):
                past[slot] = height
        return past

    def steps_of(self, slots: Iterable[int]) -> set[int]:
        """Give the operations that are the first to build on more of one of some logs."""
        once, often = self._once, self._often
        found = set()
        for slot in slots:
            if slot < len(once) and (step := once[slot]):
                found.add(step >> HALF_BITS)
            elif (steps := often.get(slot)) is not None:
                found.update(steps.steps)
        return found

    def first_at(self, slot: int, height: int, default: int) -> int:
        """Find the first operation that builds on so many of a log; the default where none does."""
        if slot < len(self._once) and (step := self._once[slot]):
            return step >> HALF_BITS if height <= step & VALUE_MASK else default
        steps = self._often.get(slot)
        return default if steps is None else steps.first_at(height, default)

    def to_value(self) -> codec.Value:
        """Give what `from_value` reads."""
        often = [(slot, steps.to_value()) for slot, steps in self._often.items()]
        return (to_bytes(self._once), often)

    @classmethod
    def from_value(cls, slot: int, value: object) -> Self:
        """Read what `to_value` gave."""
        once, often = codec.take_list(value, maximum=2)
        reach = cls(slot)
        reach._once = from_bytes(once)
        for entry in codec.take_list(often, maximum=limits.HAVE_LOGS_MAX):
            other, steps = codec.take_list(entry, maximum=2)
            known = Staircase.from_value(steps)
            reach._often[codec.take_int(other, maximum=limits.HAVE_LOGS_MAX)] = known
        return reach


def join(into: Vector, other: Vector) -> None:
    """Add a causal past to another."""
    for slot, height in other.items():
        if height > into.get(slot, 0):
            into[slot] = height
