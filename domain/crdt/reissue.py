"""Edits of ours under another client id, structs, origins, parents, deletions and all.

Who has to go on in new logs takes along what counts no longer in the old ones: the updates are the same, but for the
client id of the structs from some clock on, which start again at clock 0 under the new one.
"""

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


class _Mover:
    """Copies an update and puts one client id for another where it names clocks from `since` on."""

    def __init__(self, data: bytes, client: int, since: int, to: int) -> None:
        self._data = data
        self._client = client
        self._since = since
        self._to = to
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
        if client == self._client and clock >= self._since:
            self._flush(start)
            self._out.append(write_varint(self._to) + write_varint(clock - self._since))

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
        """Give the delete set: what it has of the client from `since` on, it has of the new one."""
        ranges: dict[int, list[tuple[int, int]]] = {}
        for _ in range(self._number()):
            client, count = self._number(), self._number()
            for _ in range(count):
                start, size = self._number(), self._number()
                end, border = start + size, max(start, min(start + size, self._since))
                if client != self._client:
                    border = end
                if start < border:
                    ranges.setdefault(client, []).append((start, border - start))
                if border < end:
                    moved = (border - self._since, end - border)
                    ranges.setdefault(self._to, []).append(moved)
        numbers = [len(ranges)]
        for client, known in ranges.items():
            numbers += [client, len(known), *(number for each in known for number in each)]
        return b"".join(map(write_varint, numbers))


def move_client(update: bytes, client: int, *, since: int, to: int) -> bytes:
    """Put one client id for another in a well-formed update.

    Args:
        update: An update that `walk_update` has passed, with no struct of the client from before `since`.
        client: The old id.
        since: The clock from which on the client's structs move, to clock 0 and on.
        to: The new id, which the update does not name.
    """
    return _Mover(update, client, since, to).move()
