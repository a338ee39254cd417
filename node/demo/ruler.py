"""Finds a character of a live document by the clock that its author gave it.

pycrdt's sticky indexes do that, but only where the text is ASCII: they mix UTF-16 units (which clocks count) with UTF-8
bytes (which indexes count), and then point elsewhere or panic. For other texts a second document follows the first,
with every update rewritten so that each UTF-16 unit is one `x`: the same structs at the same clocks, in ASCII.
"""

from typing import Any, Final

from pycrdt import Assoc, Doc, StickyIndex, Text, TransactionEvent

from domain.crdt.content import Budget, read_length
from domain.crdt.engine import state_of
from domain.crdt.varint import read_varint, write_varint
from domain.errors import UpdateError

KIND_BITS: Final = 0x1F
GONE_KINDS: Final = (0, 1, 10)  # collected, deleted, skipped: a length alone
TEXT_KIND: Final = 4
HAS_ORIGIN: Final = 0x80
HAS_RIGHT_ORIGIN: Final = 0x40
HAS_PARENT_KEY: Final = 0x20


class Ruler:
    """Measures a root text of a document.

    Args:
        doc: The document.
        name: The name of its text; the document must hold nothing else.
        is_ascii: Whether nothing but ASCII will ever be in it.
    """

    def __init__(self, doc: "Doc[Any]", name: str, *, is_ascii: bool) -> None:
        self._doc = doc
        self._text = self._measured = doc.get(name, type=Text)
        self._mirror: Doc[Any] | None = None
        if not is_ascii:
            self._mirror = Doc()
            self._measured = self._mirror.get(name, type=Text)
            self._follow(doc.get_update())
            self._subscription = doc.observe(self._take)

    @property
    def is_ascii(self) -> bool:
        """Whether it measures the document itself, also within a transaction."""
        return self._mirror is None

    def _take(self, event: TransactionEvent) -> None:
        self._follow(event.update)

    def _follow(self, update: bytes) -> None:
        assert self._mirror is not None
        self._mirror.apply_update(ascii_update(update))

    def clocks(self) -> dict[int, int]:
        """Give for each client the clock at which it goes on."""
        return state_of(self._doc)

    def _unit(self, client: int, clock: int, assoc: Assoc) -> int:
        encoded = b"\0" + write_varint(client) + write_varint(clock)
        encoded += b"\0" if assoc is Assoc.AFTER else b"\x41"
        return StickyIndex.decode(encoded, self._measured).get_index()

    def is_gone(self, client: int, clock: int) -> bool:
        """Whether a character that is known here is deleted."""
        return self._unit(client, clock, Assoc.AFTER) == self._unit(client, clock, Assoc.BEFORE)

    def offset_after(self, client: int, clock: int) -> int:
        """Give the UTF-8 offset after a character; where it was, if it is deleted.

        Args:
            client: Who typed it.
            clock: The clock of its last UTF-16 unit.
        """
        return self._offset(self._unit(client, clock, Assoc.BEFORE))

    def span(self, client: int, clock: int, units: int) -> tuple[int, int] | None:
        """Give the UTF-8 offsets of a character of so many UTF-16 units; None if it is deleted."""
        start = self._unit(client, clock, Assoc.AFTER)
        if start == self._unit(client, clock, Assoc.BEFORE):
            return None
        return self._offset(start), self._offset(start + units)

    def _offset(self, unit: int) -> int:
        if self._mirror is None:
            return unit
        encoded = str(self._text).encode("utf-16-le")[: 2 * unit]
        return len(encoded.decode("utf-16-le").encode())


def utf16_units(text: str) -> int:
    """Count the UTF-16 units of a text."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le")) // 2


def ascii_update(update: bytes) -> bytes:
    """Rewrite a v1 update of a text so that every UTF-16 unit of it becomes an `x`.

    Raises:
        UpdateError: It holds something other than text.
    """
    try:
        return _rewrite(update)
    except IndexError:
        raise UpdateError("truncated", "the update ends too early") from None


def _rewrite(update: bytes) -> bytes:
    budget = Budget()
    parts: list[bytes] = []
    kept = 0
    clients, position = read_varint(update, 0)
    for _ in range(clients):
        structs, position = read_varint(update, position)
        _, position = read_varint(update, position)
        _, position = read_varint(update, position)
        for _ in range(structs):
            info = update[position]
            kind = info & KIND_BITS
            position = _skip_place(update, position + 1, info)
            if kind in GONE_KINDS:
                _, position = read_length(update, position, budget)
            elif kind == TEXT_KIND:
                length, start = read_varint(update, position)
                units = utf16_units(update[start : start + length].decode())
                parts += (update[kept:position], write_varint(units), b"x" * units)
                kept = position = start + length
            else:
                raise UpdateError("content", f"a struct of kind {kind} in a document of text")
    return b"".join((*parts, update[kept:]))


def _skip_place(update: bytes, position: int, info: int) -> int:
    """Skip what a struct says about its neighbors, or else about its parent."""
    if info & KIND_BITS in (0, 10):
        return position
    for flag in (HAS_ORIGIN, HAS_RIGHT_ORIGIN):
        if info & flag:
            _, position = read_varint(update, position)
            _, position = read_varint(update, position)
    if not info & (HAS_ORIGIN | HAS_RIGHT_ORIGIN):
        is_root, position = read_varint(update, position)
        length, position = read_varint(update, position)
        position = position + length if is_root else read_varint(update, position)[1]
        if info & HAS_PARENT_KEY:
            length, position = read_varint(update, position)
            position += length
    return position
