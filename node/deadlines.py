"""Times at which something is due, all in one heap: one timer of the event loop serves every peer."""

import heapq
from collections.abc import Hashable
from typing import Final, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
INSTANT_S: Final = 1e-6
"""What is due so soon is due: two clocks, and two sums of floats, differ in the last bit."""
STALE_MIN: Final = 64  # fewer are not worth the cleaning


class Deadlines(Generic[K]):
    """At most one deadline for each key.

    One that is moved or forgotten stays in the heap until its old time, or until such are the greater part of it.
    """

    def __init__(self) -> None:
        self._due: dict[K, float] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._count = 0

    def __len__(self) -> int:
        """Count the deadlines that are set."""
        return len(self._due)

    def set(self, key: K, when: float) -> None:
        """Set the deadline of a key, in place of the one that it had."""
        self._due[key] = when
        self._count += 1
        heapq.heappush(self._heap, (when, self._count, key))
        if len(self._heap) > STALE_MIN + 2 * len(self._due):
            self._heap = [entry for entry in self._heap if self._due.get(entry[2]) == entry[0]]
            heapq.heapify(self._heap)

    def forget(self, key: K) -> None:
        """Take the deadline of a key away, if it has one."""
        self._due.pop(key, None)

    def at(self, key: K) -> float | None:
        """Say when a key is due."""
        return self._due.get(key)

    def next(self) -> float | None:
        """Say when the first one is due."""
        while self._heap and self._due.get(self._heap[0][2]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def take_due(self, now: float) -> list[K]:
        """Take out what is due, the oldest first."""
        taken = []
        while (when := self.next()) is not None and when <= now:
            key = heapq.heappop(self._heap)[2]
            del self._due[key]
            taken.append(key)
        return taken
