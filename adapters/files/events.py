"""What a mirror tells: where it stands, and what it did or met."""

from dataclasses import dataclass
from enum import Enum

from domain.errors import CulmError


class MirrorState(Enum):
    """Where the mirror is."""

    STARTING = "starting"
    """The two sides have not been compared yet."""
    EQUAL = "equal"
    """As far as we know, file and document are the same."""
    CHANGING = "changing"
    """One side has changed and the other one has not followed yet."""
    TROUBLED = "troubled"
    """Something is wrong that somebody must mend; `problem` says what."""
    STOPPED = "stopped"
    """It runs no longer."""


class MirrorChange(Enum):
    """What an event tells."""

    FILE_READ = "file-read"
    """What an editor saved is in the document."""
    FILE_WRITTEN = "file-written"
    """What the document had is in the file."""
    FILE_KEPT = "file-kept"
    """What the file had, and the document has not taken or has no longer, is in a file beside it."""
    FAILED = "failed"
    """Something is wrong; it is tried again until it is mended."""
    RECOVERED = "recovered"
    """It is mended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorEvent:
    """What the mirror did or met.

    Args:
        path: The file.
        change: What.
        code_points: How many changed.
        error: That of `FAILED`.
        kept: The path of the file that keeps something, for `FILE_KEPT`.
    """

    path: str
    change: MirrorChange
    code_points: int = 0
    error: CulmError | None = None
    kept: str | None = None
