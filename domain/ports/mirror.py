"""How something outside follows and edits one text of a document: the plain-file mirror."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class TextEdit:
    """Replace `deleted` code points at `position` (counted in code points of the text before any edit) by `inserted`.

    Edits of one call are sorted by position and do not overlap.
    """

    position: int
    deleted: int
    inserted: str


class TextReplica(Protocol):
    """One text of a document, as something outside sees it."""

    @abstractmethod
    def read(self) -> str:
        """The text as it is now, our own edits that are not yet durable included."""

    @abstractmethod
    def edit(self, edits: Sequence[TextEdit]) -> None:
        """Make the edits, in transactions of at most 64 KiB; visible at once, durable after `durable`.

        Raises:
            NotPermittedError: We may not write.
            NodeClosedError: The document is closed.
        """

    @abstractmethod
    async def durable(self) -> None:
        """Wait until everything in `read()` as of the call is on disk.

        Raises:
            UnsavedEditsError: It cannot be written now.
            RefusedEditsError: Some of our edits were taken back: `read()` has them no longer. The others are on disk.
        """

    @abstractmethod
    def void_count(self) -> int:
        """How many operations of ours that were on disk count no longer; what they brought leaves `read()` then.

        It grows before `read()` lacks them, and falls where they count again.
        """

    @abstractmethod
    async def changed(self) -> None:
        """Wait until the text differs from what it was when this was last called (or `read` first)."""
