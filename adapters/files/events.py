"""What a mirror tells: where it stands, and what it did or met."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from domain.errors import CulmError

logger = logging.getLogger(__name__)


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


class MirrorReporter:
    """Tells what a mirror does and meets; each trouble once.

    Args:
        path: The file.
        on_event: Is told; must not wait.
    """

    def __init__(self, path: str, on_event: Callable[[MirrorEvent], None]) -> None:
        self._path = path
        self._on_event = on_event
        self.problem: CulmError | None = None

    def tell(self, change: MirrorChange, *, code_points: int = 0) -> None:
        """Tell what was done."""
        self._on_event(MirrorEvent(path=self._path, change=change, code_points=code_points))

    def tell_kept(self, kept: str) -> None:
        """Tell that a file beside the mirrored one keeps something."""
        logger.warning("mirror.kept", extra={"path": self._path, "kept": kept})
        self._on_event(MirrorEvent(path=self._path, change=MirrorChange.FILE_KEPT, kept=kept))

    def fail(self, error: CulmError) -> None:
        """Tell about a trouble, unless it is told already."""
        if self.problem is not None and str(self.problem) == str(error):
            return
        self.problem = error
        logger.warning("mirror.failed", extra={"path": self._path, "error": type(error).__name__})
        self._on_event(MirrorEvent(path=self._path, change=MirrorChange.FAILED, error=error))

    def recover(self) -> None:
        """Tell that it is mended, if there was a trouble."""
        if self.problem is not None:
            self.problem = None
            self.tell(MirrorChange.RECOVERED)
