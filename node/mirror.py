"""One text of a document, as the file mirror follows and edits it: code points outside, UTF-8 bytes inside.

It survives that the document is loaded anew (`DocumentReloaded`): its handle of the text is fetched again where `ydoc`
is another object. What it does not do: decide when to read or write, or keep anything.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from typing import Any, Final

from pycrdt import Doc, Subscription, Text, TextEvent

from domain.crdt.engine import failures_translated
from domain.errors import NotPermittedError, UsageError
from domain.limits import COALESCE_BYTES_MAX
from domain.portions import coarsened
from domain.ports.mirror import TextEdit, TextReplica
from domain.text import apply_edits, utf8_offsets
from node.document import Document
from node.transactions import report_observers

BODY: Final = "body"
"""The root text that plain files are mirrored to."""

_CODE_POINT_BYTES_MAX: Final = 4


class DocumentText(TextReplica):
    """A root text of an open document.

    Args:
        document: The document.
        name: The name of the text.
    """

    def __init__(self, document: Document, name: str = BODY) -> None:
        self._document = document
        self._name = name
        self._ydoc: Doc[Any] | None = None
        self._text: Text | None = None
        self._subscription: Subscription | None = None
        self._has_moved = True
        self._seen: str | None = None

    def read(self) -> str:
        """Give the text as it is now."""
        text = self._content()
        if self._seen is None:
            self._seen = text
        return text

    def edit(self, edits: Sequence[TextEdit]) -> None:
        """Make the edits, all or none of them, from the first to the last; very many neighbours are joined.

        The engine finds a place by walking over the text, and each edit leaves pieces behind that later walks pass:
        from the last to the first takes twice as long, and the work grows with the square of their number.
        """
        if not self._document.may_write:
            raise NotPermittedError(
                "this device may not write in the document: ask who manages it for the role write"
            )
        text = self._content()
        apply_edits(text, edits)
        _check_encodable(edits)
        edits = coarsened(text, edits)
        places = [
            place for edit in edits for place in (edit.position, edit.position + edit.deleted)
        ]
        offsets = _past_embedded(self._handle(), text, utf8_offsets(text, places))
        steps = _steps(edits, offsets)
        step = next(steps, None)
        while step is not None:
            step = self._make(step, steps)

    def _make(
        self, step: tuple[int, int, str], steps: Iterator[tuple[int, int, str]]
    ) -> tuple[int, int, str] | None:
        """Make steps in one transaction until it has 64 KiB; give the one that comes next."""
        handle = self._handle()
        size = 0
        following: tuple[int, int, str] | None = step
        try:
            with failures_translated(), self._document.ydoc.transaction():
                while following is not None and size < COALESCE_BYTES_MAX:
                    start, end, inserted = following
                    if end > start:
                        del handle[start:end]
                    if inserted:
                        handle.insert(start, inserted)
                    size += len(inserted.encode())
                    following = next(steps, None)
                    if (
                        following is not None
                        and size + len(following[2].encode()) > COALESCE_BYTES_MAX
                    ):
                        break
        except ExceptionGroup as error:  # the edit is made all the same
            report_observers(error)
        return following

    async def durable(self) -> None:
        """Wait until what `read` gives is on disk."""
        await self._document.durable("disk")

    def void_count(self) -> int:
        """How many operations of this device in the document count no longer."""
        return self._document.void_count

    async def changed(self) -> None:
        """Wait until the text differs from what it was when this was last called."""
        if self._seen is None:
            self._seen = self._content()
        await self._document.wait_until(self._differs)
        self._seen = self._content()

    def close(self) -> None:
        """Follow the text no longer."""
        if self._text is not None and self._subscription is not None:
            self._text.unobserve(self._subscription)
        self._ydoc = self._text = self._subscription = None

    def _differs(self) -> bool:
        handle = self._handle()
        if self._has_moved and _content(handle) == self._seen:
            self._has_moved = False
        return self._has_moved

    def _content(self) -> str:
        return _content(self._handle())

    def _handle(self) -> Text:
        """Give the text of the present `ydoc`, and follow it."""
        ydoc = self._document.ydoc
        if self._text is None or ydoc is not self._ydoc:
            self._ydoc, self._text = ydoc, self._document.text(self._name)
            self._subscription = self._text.observe(self._note)
            self._has_moved = True
        return self._text

    def _note(self, _event: TextEvent) -> None:
        self._has_moved = True


def _content(text: Text) -> str:
    with failures_translated():
        return str(text)


def _past_embedded(handle: Text, text: str, offsets: Sequence[int]) -> Sequence[int]:
    """Find the places in a text that has things embedded, as pictures are: to the engine each is a place more.

    What is inserted comes after them; those that a deletion only touches stay.
    """
    with failures_translated():
        if len(handle) == len(text.encode()):
            return offsets
        pieces = [piece for piece, _ in handle.diff()]
    embedded: list[int] = []
    offset = 0
    for piece in pieces:
        if isinstance(piece, str):
            offset += len(piece.encode())
        else:
            embedded.append(offset)
    found: list[int] = []
    for start, end in zip(offsets[::2], offsets[1::2], strict=True):
        before = bisect_right(embedded, start)
        found += [start + before, end + max(before, bisect_left(embedded, end))]
    return found


def _check_encodable(edits: Sequence[TextEdit]) -> None:
    for edit in edits:
        try:
            edit.inserted.encode()
        except UnicodeEncodeError:
            raise UsageError("half a character (a lone surrogate) cannot be inserted") from None


def _steps(edits: Sequence[TextEdit], offsets: Sequence[int]) -> Iterator[tuple[int, int, str]]:
    """Yield what to do, first place first: byte offsets of what to delete, and at most 64 KiB to insert there."""
    piece = COALESCE_BYTES_MAX // _CODE_POINT_BYTES_MAX
    shift = 0  # by how much the steps so far have moved what follows
    for number, edit in enumerate(edits):
        start, end = offsets[2 * number] + shift, offsets[2 * number + 1] + shift
        inserted = edit.inserted
        yield start, end, inserted[:piece]
        offset = start + len(inserted[:piece].encode())
        for at in range(piece, len(inserted), piece):
            part = inserted[at : at + piece]
            yield offset, offset, part
            offset += len(part.encode())
        shift += offset - end
