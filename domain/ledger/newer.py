"""What a newer culm wrote into a document, which this one must not go on writing in.

An operation of a kind that is unknown here makes the document read-only if it counts and its author is a manager: as of
its causal past, and of whom no change that counts has taken that at the same time. Else any member could put an end to
all writing, and who once managed the document could as well, by pretending not to have heard of its demotion.
"""

from typing import NamedTuple, Self

from domain import codec, limits
from domain.identifiers import PeerId
from domain.ledger.counting import Counting
from domain.ledger.membership import Membership
from domain.ledger.reach import Vector
from domain.operations.control import DOCUMENT_FORMAT, Role


class _Unknown(NamedTuple):
    """An operation of an unknown kind: who wrote it, its place, and its causal past, itself included."""

    kind: int
    author: PeerId
    slot: int
    seq_num: int
    past: Vector


class Newer:
    """What is in a ledger that needs a newer culm.

    Args:
        membership: The members.
    """

    def __init__(self, membership: Membership) -> None:
        self._membership = membership
        self._format = DOCUMENT_FORMAT
        self._unknown: list[_Unknown] = []
        self._found_at: int | None = None
        self._reason: str | None = None

    def found(self, document_format: int) -> None:
        """Note the format that a document was founded with."""
        self._format, self._found_at = document_format, None

    def note(self, kind: int, author: PeerId, slot: int, seq_num: int, past: Vector) -> None:
        """Note a control operation of an unknown kind; `past` is its causal past, itself included."""
        if self._membership.role_at(author, past) == Role.MANAGE:
            self._unknown.append(_Unknown(kind, author, slot, seq_num, dict(past)))

    def reason(self, counting: Counting, control_count: int) -> str | None:
        """Say why nobody writes here; None where anybody may.

        Args:
            counting: What counts now.
            control_count: How many control operations there are; while that is the same, so is the answer.
        """
        if self._found_at != control_count:
            self._reason, self._found_at = self._find_reason(counting), control_count
        return self._reason

    def _find_reason(self, counting: Counting) -> str | None:
        if self._format > DOCUMENT_FORMAT:
            return f"its format is {self._format}, which needs a newer culm"
        for one in self._unknown:
            if one.seq_num < counting.counted(one.slot) and self._is_by_a_manager(one):
                return f"it holds an operation of kind {one.kind}, which needs a newer culm"
        return None

    def _is_by_a_manager(self, one: _Unknown) -> bool:
        is_taken = any(
            one.seq_num >= taker.past.get(one.slot, 0) and not taker.is_in(one.past)
            for taker in self._membership.takers_from(one.author, Role.MANAGE)
        )
        before = {**one.past, one.slot: one.seq_num}
        return not is_taken and self._membership.supports(one.author, before, Role.MANAGE)

    def to_value(self) -> codec.Value:
        """Give what `from_value` reads."""
        return (self._format, [(*one[:-1], list(one.past.items())) for one in self._unknown])

    @classmethod
    def from_value(cls, membership: Membership, value: object) -> Self:
        """Read what `to_value` gave."""
        newer = cls(membership)
        document_format, unknown = codec.take_list(value, maximum=2)
        newer._format = codec.take_int(document_format, maximum=2**16 - 1)
        for entry in codec.take_list(unknown, maximum=2**32):
            kind, author, slot, seq_num, past = codec.take_list(entry, maximum=5)
            pairs = [
                codec.take_list(pair, maximum=2) for pair in codec.take_list(past, maximum=2**32)
            ]
            newer._unknown.append(
                _Unknown(
                    codec.take_int(kind, maximum=63),
                    PeerId(codec.take_bytes(author, maximum=32)),
                    codec.take_int(slot, maximum=limits.HAVE_LOGS_MAX),
                    codec.take_int(seq_num, maximum=limits.SEQ_NUM_MAX),
                    {
                        codec.take_int(log, maximum=2**32): codec.take_int(height, maximum=2**32)
                        for log, height in pairs
                    },
                )
            )
        return newer
