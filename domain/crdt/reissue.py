"""Updates under other client ids, structs, origins, parents, deletions and all.

Who has to go on in new logs takes along what counts no longer in the old ones: the updates are the same, but for the
client id of the structs from some clock on, which start again at clock 0 under the new one. So do the branches of a
forked log, which use the same clocks of the same client.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Final

from domain.crdt.content import READERS, Budget, read_length, skip_text
from domain.crdt.varint import read_varint, write_varint
from domain.crdt.walker import (
    HAS_ANY_ORIGIN,
    HAS_ORIGIN,
    HAS_PARENT_KEY,
    HAS_RIGHT_ORIGIN,
    KIND_BITS,
)

IS_ROOT: Final = 1

Names = Mapping[int, Sequence[tuple[int, int]]]
"""For client ids their new names: (since, to), ascending: from the clock `since` on, up to the next, it is `to`, whose
clocks start at 0 there. Clocks before the first stay."""


class _Mover:
    """Copies an update and puts other client ids for those that have new names."""

    def __init__(self, data: bytes, names: Names) -> None:
        self._data = data
        self._names = names
        self._position = 0
        self._copied = 0
        self._out: list[bytes] = []
        self._budget = Budget()

    def move(self) -> bytes:
        for _ in range(self._number()):
            structs = self._number()
            self._identifier()
            for _ in range(structs):
                self._struct()
        self._flush(self._position)
        self._out.append(self._deletes())
        return b"".join(self._out)

    def _number(self) -> int:
        value, self._position = read_varint(self._data, self._position)
        return value

    def _flush(self, until: int) -> None:
        self._out.append(self._data[self._copied : until])
        self._copied = self._position

    def _identifier(self) -> None:
        """Copy a client and a clock."""
        start = self._position
        client, clock = self._number(), self._number()
        pieces = self._names.get(client, ())
        index = bisect_right(pieces, clock, key=_since)
        if index:
            since, to = pieces[index - 1]
            self._flush(start)
            self._out.append(write_varint(to) + write_varint(clock - since))

    def _struct(self) -> None:
        data = self._data
        info = data[self._position]
        self._position += 1
        if info & HAS_ANY_ORIGIN:
            if info & HAS_ORIGIN:
                self._identifier()
            if info & HAS_RIGHT_ORIGIN:
                self._identifier()
        elif info:
            is_root = data[self._position] == IS_ROOT
            self._position += 1
            if is_root:
                self._position = skip_text(data, self._position)
            else:
                self._identifier()
            if info & HAS_PARENT_KEY:
                self._position = skip_text(data, self._position)
        reader = READERS.get(info & KIND_BITS, read_length)
        _, self._position = reader(data, self._position, self._budget)

    def _deletes(self) -> bytes:
        """Give the delete set: what it has of a client is cut where its names change."""
        ranges: dict[int, list[tuple[int, int]]] = {}
        for _ in range(self._number()):
            client, count = self._number(), self._number()
            for _ in range(count):
                start, size = self._number(), self._number()
                for name, first, end in self._cut(client, start, start + size):
                    ranges.setdefault(name, []).append((first, end))
        targets = {to for pieces in self._names.values() for _, to in pieces}
        numbers = [len(ranges)]
        for client, known in ranges.items():
            listed = _joined(known) if client in targets else known
            numbers += [client, len(listed)]
            for first, end in listed:
                numbers += [first, end - first]
        return b"".join(map(write_varint, numbers))

    def _cut(self, client: int, start: int, end: int) -> Iterable[tuple[int, int, int]]:
        borders = [(0, client), *self._names.get(client, ()), (end, client)]
        for (since, name), (until, _) in pairwise(borders):
            first, last = max(start, since), min(end, until)
            if first < last:
                yield name, first - since, last - since


def _since(piece: tuple[int, int]) -> int:
    return piece[0]


def _joined(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Sort ranges of clocks, and join those that overlap or touch: some may have been named both ways."""
    joined: list[tuple[int, int]] = []
    for start, end in sorted(ranges):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def rename(update: bytes, names: Names) -> bytes:
    """Put other client ids for some in a well-formed update.

    Args:
        update: An update that `walk_update` has passed.
        names: The new names. A section goes on under the name of its first clock.
    """
    return _Mover(update, names).move() if names else update
