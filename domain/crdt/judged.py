"""What became of operations that are in the log, and why something that is there is not in the document."""

from dataclasses import dataclass, field
from enum import Enum

from domain.operations.operation import Operation


@dataclass(frozen=True, slots=True)
class Judged:
    """What became of committed operations.

    Args:
        applied: Those that are applied now, each with its update (empty for pure merges).
        refused: Those that no replica applies, with the reason.
        blocked: Those that wait, with the reason.
    """

    applied: list[tuple[Operation, bytes]] = field(default_factory=list)
    refused: list[tuple[Operation, str]] = field(default_factory=list)
    blocked: list[tuple[Operation, str]] = field(default_factory=list)

    def without_applied(self) -> "Judged":
        """Keep what is worth telling, and let go of the rest: a whole log can be large."""
        return Judged(refused=self.refused, blocked=self.blocked)


class Block(Enum):
    """Why something that is in the log is not in the document."""

    PAST = "past"
    """It builds on something that is blocked."""
    ENGINE = "engine"
    """pycrdt fails on it."""
    VERSION = "version"
    """Its kind belongs to a newer version."""
    SECRET = "secret"  # noqa: S105 - a reason
    """The secret that seals it is not here."""
