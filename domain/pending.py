"""Local edits on their way from a transaction to an operation, and edits of others on their way to being shown."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from pycrdt import Doc

from domain import limits
from domain.crdt.engine import apply, state_of
from domain.crdt.varint import read_varint
from domain.crdt.walker import follow, walk_update
from domain.errors import UpdateError

EMPTY_UPDATE = b"\0\0"
GONE = "they build on something that is gone"


class PendingEdits:
    """What `ydoc` has and the replica has not, and the other way round.

    Args:
        client: The client id of our edits.
    """

    def __init__(self, client: int) -> None:
        self.client = client
        self.size = 0
        """Bytes that wait."""
        self.total_bytes = 0
        """Bytes of all updates that were ever taken."""
        self.total_count = 0
        """How many updates were ever taken."""
        self._updates: deque[bytes] = deque()
        self._deferred: list[bytes] = []
        self._is_showing = False
        self.refused: list[range] = []
        """Which of all updates that were ever taken were given back as refused, ascending."""
        self._carried = 0
        self._staged_before = 0

    @property
    def staged_count(self) -> int:
        """How many of all updates that were ever taken no longer wait."""
        if self._carried > 0:
            return self._staged_before
        return self.total_count - len(self._updates)

    @property
    def is_carrying(self) -> bool:
        """Whether something that waits was written before, and is to be written again."""
        return self._carried > 0

    @property
    def is_hidden(self) -> bool:
        """Whether edits of others wait to be shown."""
        return bool(self._deferred)

    def __bool__(self) -> bool:
        """Whether edits wait."""
        return bool(self._updates)

    def __iter__(self) -> Iterator[bytes]:
        """Go through what waits, the oldest first."""
        return iter(tuple(self._updates))

    def take(self, update: bytes) -> bool:
        """Take the update that a transaction emitted; False where it is nothing of ours."""
        if self._is_showing or update == EMPTY_UPDATE:
            return False
        self._updates.append(update)
        self.size += len(update)
        self.total_bytes += len(update)
        self.total_count += 1
        return True

    def go_on_from(self, other: "PendingEdits") -> None:
        """Count on where others that this replaces have stopped: what this has is what waited there, and more.

        What waited there counts as staged when all of it is.
        """
        self.carry()
        self._staged_before = other.staged_count
        self.total_count, self.total_bytes = other.total_count, other.total_bytes
        self.refused = list(other.refused)

    def carry(self) -> None:
        """Note that what waits now was written before, and is to be written again."""
        self._carried = len(self._updates)

    def split(self) -> tuple[list[bytes], list[bytes], str]:
        """Give what waits up to the first update that nobody accepts; that one, and all that was made after it; why."""
        updates = list(self._updates)
        for index, update in enumerate(updates):
            try:
                walk_update(update)
            except UpdateError as error:
                return updates[:index], updates[index:], str(error)
        return updates, [], ""

    def next_group(self) -> list[bytes]:
        """Take out what the next operation carries: at most 64 KiB (or one larger update), 1,024 updates."""
        group: list[bytes] = []
        size = 0
        # What was carried along is written by itself: nothing that comes with it may have it refused.
        count_max = limits.COALESCE_EDITS_MAX
        if self._carried > 0:
            count_max = min(count_max, self._carried)
        while self._updates and len(group) < count_max:
            size += len(self._updates[0])
            if group and size > limits.COALESCE_BYTES_MAX:
                break
            group.append(self._updates.popleft())
        self.size -= sum(map(len, group))
        self._carried -= len(group)
        return group

    def put_back(self, group: Sequence[bytes]) -> None:
        """Undo `next_group`."""
        self._updates.extendleft(reversed(group))
        self.size += sum(map(len, group))
        self._carried += len(group)

    def refuse(self, group: Sequence[bytes]) -> tuple[bytes, ...]:
        """Take out everything, with a group that was taken out before: nobody accepts it, or what it builds on."""
        self.note_refused(max(self.staged_count - len(group), self._staged_before))
        refused = (*group, *self._updates)
        self._updates.clear()
        self.size = self._carried = 0
        return refused

    def note_refused(self, first: int) -> None:
        """Note that of all updates that were ever taken those from that one on are given back as refused."""
        while self.refused and self.refused[-1].stop >= first:
            first = min(first, self.refused.pop().start)
        self.refused.append(range(first, self.total_count))
        if len(self.refused) > limits.REFUSALS_KEPT_MAX:
            oldest, older, *rest = self.refused
            self.refused = [range(oldest.start, older.stop), *rest]

    @property
    def refused_end(self) -> int:
        """After which of all updates that were ever taken none has been refused."""
        return self.refused[-1].stop if self.refused else 0

    def count_refused(self, first: int, end: int) -> int:
        """Count those from one to another of all updates that were ever taken which were given back as refused."""
        parts = (range(max(one.start, first), min(one.stop, end)) for one in self.refused)
        return sum(map(len, parts))

    def move_to(self, doc: "Doc[Any]") -> tuple[tuple[bytes, ...], str]:
        """Apply what waits to a document that takes the place of the one where it was made.

        Returns:
            All that waited, taken out as refused, and why, where some of it cannot be placed there: it builds on an
            edit that was taken back, for instance. None of it is applied then. Else nothing.

        Raises:
            EngineError: The engine failed; the document may be damaged.
        """
        state = state_of(doc)
        try:
            why = "" if all(follow(update, state) for update in self._updates) else GONE
        except UpdateError as error:
            why = str(error)
        if why:
            return self.refuse(()), why
        for update in self._updates:
            apply(doc, update)
        return (), ""

    def foreign_clients(
        self,
        group: Sequence[bytes],
        is_ours: Callable[[int], bool | None],
        next_clock: Callable[[int], int],
    ) -> set[int]:
        """Find client ids that a group brings and nobody owns; they have to be claimed first.

        Args:
            group: Updates that our transactions emitted.
            is_ours: Whether a client id belongs to us; None where it is free.
            next_clock: How far a client's structs are known: what is known already needs no claim.

        Raises:
            UpdateError: A client id belongs to somebody else, or an update is malformed.
        """
        unclaimed: set[int] = set()
        for update in group:
            if self._is_plain(update):
                continue
            for section in walk_update(update).sections:
                ours = True if section.client == self.client else is_ours(section.client)
                if ours or section.end <= next_clock(section.client):
                    continue
                if ours is False:
                    raise UpdateError(
                        "foreign-client", f"client {section.client} belongs to another author"
                    )
                unclaimed.add(section.client)
        return unclaimed

    def ends(self, group: Sequence[bytes]) -> dict[int, int]:
        """Give the clock that each client of a group reaches, by the updates themselves.

        Of updates that bring structs of our own client alone only the last is looked at, since it reaches furthest.

        Raises:
            UpdateError: An update is malformed.
        """
        ends: dict[int, int] = {}
        for update in reversed(group):
            if update[0] == 0 or (self.client in ends and self._is_plain(update)):
                continue
            for section in walk_update(update).sections:
                ends[section.client] = max(section.end, ends.get(section.client, 0))
        return ends

    def _is_plain(self, update: bytes) -> bool:
        """Whether an update brings structs of our own client alone, told from its first bytes."""
        if update[:1] == b"\0":
            return True
        if update[:1] != b"\1":
            return False
        try:
            _, position = read_varint(update, 1)
            return read_varint(update, position)[0] == self.client
        except IndexError:
            return False

    def defer(self, update: bytes) -> None:
        """Keep an update of others until it can be shown."""
        self._deferred.append(update)

    def forget_deferred(self) -> None:
        """Forget what was to be shown: a fresh document has it."""
        self._deferred.clear()

    @contextmanager
    def showing(self) -> Iterator[Sequence[bytes]]:
        """Hand out what is to be shown; what the document emits meanwhile is not ours."""
        updates, self._deferred = self._deferred, []
        self._is_showing = True
        try:
            yield updates
        finally:
            self._is_showing = False
