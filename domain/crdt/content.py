"""Measures the contents of Yjs structs: how many clocks each takes and where it ends, without building it.

One reader per kind of content, in a table. Kinds that culm refuses have no reader, and neither have those that yrs
and Yjs read differently:

    2  JSON   yrs 0.28 reads one string more than it wrote: such a document can be saved but not loaded
    7  Type   only array, map, text, XML element, fragment and text; of a hook, yrs leaves the name unread
    9  Doc    a subdocument is a document of its own, with members of its own
    10 Skip   a hole in the clocks, over which yrs loses content
    11 Move   experimental, and refused by yrs

Every content takes at least one clock. pycrdt makes an empty string when an index falls inside a character, and its
own document is then no longer what others make of its updates.

Reading past the end raises IndexError and text that is not UTF-8 UnicodeDecodeError, see `domain.crdt.walker`.
"""

from collections.abc import Callable
from typing import Final

from domain.crdt.json_text import measure_json
from domain.crdt.varint import BITS, MORE, read_varint
from domain.errors import UpdateError
from domain.limits import UPDATE_ANY_DEPTH_MAX, UPDATE_VALUES_MAX

INTEGER_MAX: Final = 2**53 - 1  # doubles hold all integers up to it: JavaScript's limit


class Budget:
    """How many JSON and `any` values the rest of one update may still hold."""

    __slots__ = ("values",)

    def __init__(self) -> None:
        self.values = UPDATE_VALUES_MAX


Reader = Callable[[bytes, int, Budget], tuple[int, int]]


def read_length(data: bytes, position: int, _budget: Budget) -> tuple[int, int]:
    """Read a run of clocks without content, as in `Deleted` and `GC`.

    Returns:
        The clocks it takes, and the position after it. So do all readers.
    """
    length, position = read_varint(data, position)
    if not length:
        raise UpdateError("zero-length", "a struct takes no clock")
    return length, position


def skip_bytes(data: bytes, position: int) -> int:
    """Return the position after a length and as many bytes."""
    size, position = read_varint(data, position)
    if size > len(data) - position:
        raise UpdateError("truncated", f"{size} bytes announced, {len(data) - position} left")
    return position + size


def skip_text(data: bytes, position: int) -> int:
    """Return the position after a length and as many bytes of UTF-8."""
    size, position = read_varint(data, position)
    end = position + size
    if end > len(data):
        raise UpdateError("truncated", f"text of {size} bytes, {len(data) - position} left")
    text = data[position:end]
    if not text.isascii():
        text.decode()
    return end


def skip_any(data: bytes, position: int, count: int, budget: Budget) -> int:
    """Return the position after `count` values of lib0's `any` encoding."""
    around: list[tuple[int, bool]] = []  # what is left to read in the containers around this one
    keyed = False
    _spend(data, position, count, budget)
    while True:
        while not count:
            if not around:
                return position
            count, keyed = around.pop()
        count -= 1
        if keyed:
            position = skip_text(data, position)
        kind = data[position]
        position += 1
        size = _ANY_SIZES.get(kind)
        if size is not None:
            position += size
        elif kind in _ANY_CONTAINERS:
            around.append((count, keyed))
            if len(around) > UPDATE_ANY_DEPTH_MAX:
                raise UpdateError("too-deep", f"a value nested deeper than {UPDATE_ANY_DEPTH_MAX}")
            count, position = read_varint(data, position)
            keyed = kind == _ANY_OBJECT
            _spend(data, position, count, budget)
        elif kind in _ANY_SKIPPERS:
            position = _ANY_SKIPPERS[kind](data, position)
        else:
            raise UpdateError("content", f"a value of unknown kind {kind}")


def _spend(data: bytes, position: int, count: int, budget: Budget) -> None:
    # yrs makes room for `count` values before it reads the first.
    if count > len(data) - position:
        raise UpdateError("truncated", f"{count} values, {len(data) - position} bytes left")
    budget.values -= count
    if budget.values < 0:
        raise UpdateError("too-many", f"more than {UPDATE_VALUES_MAX} values")


def _skip_integer(data: bytes, position: int) -> int:
    # Six bits and a sign in the first byte, seven in the others.
    byte = data[position]
    position += 1
    if byte < MORE:
        return position
    high, position = read_varint(data, position)
    if not high:
        raise UpdateError("varint", "an integer is not in its shortest form")
    if (high << 6 | byte & BITS >> 1) > INTEGER_MAX:
        raise UpdateError("varint", "an integer of more than 53 bits in a value")
    return position


_ANY_SIZES: Final = {127: 0, 126: 0, 124: 4, 123: 8, 122: 8, 121: 0, 120: 0}
_ANY_SKIPPERS: Final = {125: _skip_integer, 119: skip_text, 116: skip_bytes}
_ANY_OBJECT: Final = 118
_ANY_ARRAY: Final = 117
_ANY_CONTAINERS: Final = (_ANY_OBJECT, _ANY_ARRAY)


def _read_binary(data: bytes, position: int, _budget: Budget) -> tuple[int, int]:
    return 1, skip_bytes(data, position)


def _read_string(data: bytes, position: int, _budget: Budget) -> tuple[int, int]:
    size, position = read_varint(data, position)
    end = position + size
    if end > len(data):
        raise UpdateError("truncated", f"text of {size} bytes, {len(data) - position} left")
    text = data[position:end]
    if not size:
        raise UpdateError("zero-length", "an empty string takes no clock")
    if text.isascii():
        return size, end
    return len(text.decode().encode("utf-16-le")) >> 1, end  # clocks count UTF-16 units


def _read_embed(data: bytes, position: int, budget: Budget) -> tuple[int, int]:
    end = skip_text(data, position)
    _, start = read_varint(data, position)
    budget.values -= measure_json(data[start:end], budget.values)
    return 1, end


def _read_format(data: bytes, position: int, budget: Budget) -> tuple[int, int]:
    return _read_embed(data, skip_text(data, position), budget)


def _read_type(data: bytes, position: int, _budget: Budget) -> tuple[int, int]:
    kind = data[position]
    if kind == _XML_ELEMENT:
        return 1, skip_text(data, position + 1)
    if kind not in _TYPES:
        raise UpdateError("content", f"a shared type of kind {kind}")
    return 1, position + 1


def _read_any(data: bytes, position: int, budget: Budget) -> tuple[int, int]:
    count, position = read_length(data, position, budget)
    return count, skip_any(data, position, count, budget)


_XML_ELEMENT: Final = 3
_TYPES: Final = frozenset((0, 1, 2, 4, 6))  # array, map, text, XML fragment, XML text

READERS: Final[dict[int, Reader]] = {
    1: read_length,
    3: _read_binary,
    4: _read_string,
    5: _read_embed,
    6: _read_format,
    7: _read_type,
    8: _read_any,
}
