"""A text in memory, for what follows and edits texts; with a disk that can be slow or full.

It is no CRDT: edits of others (`edit_remotely`) and our own are made in the order of the calls.
"""

import asyncio
from collections.abc import Sequence

from domain.errors import NodeClosedError, NotPermittedError, RefusedEditsError, UnsavedEditsError
from domain.ports.mirror import TextEdit, TextReplica
from domain.text import apply_edits, three_way


class MemoryTextReplica(TextReplica):
    """One text.

    Args:
        text: What it is in the beginning, on disk already.

    Attributes:
        saved: The text that a crash would leave.
        may_write: Whether our own edits are permitted.
        is_disk_full: Whether `durable` fails from now on.
        has_refused_others: Whether the next `durable` tells of refused edits that are not in this text.
        saves_left: After how many more calls of `durable` that save something the disk is full; None for never.
    """

    def __init__(self, text: str = "") -> None:
        self._text = self.saved = text
        self._seen: str | None = None
        self._waiting: set[asyncio.Future[None]] = set()
        self._is_closed = False
        self._is_disk_held = False
        self._saving = 0
        self._void_count = 0
        self._before_own: str | None = (
            None  # the text without those of our edits that are not saved
        )
        self._with_own = text
        self.may_write = True
        self.is_disk_full = False
        self.has_refused_others = False
        self.saves_left: int | None = None

    def read(self) -> str:
        if self._seen is None:
            self._seen = self._text
        return self._text

    def edit(self, edits: Sequence[TextEdit]) -> None:
        if self._is_closed:
            raise NodeClosedError("the document is closed")
        if not self.may_write:
            raise NotPermittedError("our role in the document is read: ask a manager for write")
        if self._before_own is None:
            self._before_own = self._text
        self.edit_remotely(edits)
        self._with_own = self._text

    def edit_remotely(self, edits: Sequence[TextEdit]) -> None:
        """Make the edits of somebody else."""
        self._text = apply_edits(self._text, edits)
        self._wake()

    async def durable(self) -> None:
        text = self._text
        self._saving += 1
        try:
            while self._is_disk_held:
                await self._next()
        finally:
            self._saving -= 1
        if self.saves_left is not None and text != self.saved:
            self.is_disk_full |= not self.saves_left
            self.saves_left = max(0, self.saves_left - 1)
        if self.is_disk_full:
            raise UnsavedEditsError("the disk is full: make room")
        if not self.may_write and self._before_own is not None:
            self._take_back()
            raise RefusedEditsError("edits were refused and taken back")
        self._before_own = None
        self.saved = text
        if self.has_refused_others:
            self.has_refused_others = False
            raise RefusedEditsError("edits of another text were refused and taken back")

    def void_count(self) -> int:
        return self._void_count

    def make_void(self, edits: Sequence[TextEdit]) -> None:
        """Let what we wrote count no longer, and take it out by these edits."""
        self._void_count += 1
        self.edit_remotely(edits)

    def _take_back(self) -> None:
        """Undo our edits that are not saved; what others did meanwhile stays."""
        assert self._before_own is not None
        self.edit_remotely(three_way(self._with_own, self._text, self._before_own))
        self._before_own = None

    @property
    def is_awaited(self) -> bool:
        """Whether somebody waits for the disk."""
        return self._is_disk_held and self._saving > 0

    async def changed(self) -> None:
        if self._seen is None:
            self._seen = self._text
        while self._text == self._seen and not self._is_closed:
            await self._next()
        self._seen = self._text
        if self._is_closed:
            raise NodeClosedError("the document is closed")

    def hold_disk(self) -> None:
        """Let every call of `durable` wait from now on."""
        self._is_disk_held = True

    def release_disk(self) -> None:
        """Let them go on."""
        self._is_disk_held = False
        self._wake()

    def close(self) -> None:
        """Close the document."""
        self._is_closed = True
        self._wake()

    async def _next(self) -> None:
        """Wait until something happens to the text or to the disk."""
        future = asyncio.get_running_loop().create_future()
        self._waiting.add(future)
        try:
            await future
        finally:
            self._waiting.discard(future)

    def _wake(self) -> None:
        for future in self._waiting:
            if not future.done():
                future.set_result(None)
