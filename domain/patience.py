"""Tells a passing trouble from one that lasts: what has held without a break for long is told, once.

It keeps no time by itself: `look` is called whenever something may have changed, and when `next_due` has come.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Generic, TypeVar

from domain import limits

M = TypeVar("M")


@dataclass(slots=True)
class _Since:
    when: float
    is_told: bool = False


class Patience(Generic[M]):
    """What holds at the moment, and since when.

    Args:
        stuck_s: For how many seconds something has to hold before it is told.
    """

    def __init__(self, stuck_s: float = limits.STUCK_S) -> None:
        self._stuck_s = stuck_s
        self._since: dict[M, _Since] = {}

    def look(self, holding: Collection[M], *, now: float) -> list[M]:
        """Note what holds now; give what has held for so long now, and was not told since it began."""
        for matter in self._since.keys() - set(holding):
            del self._since[matter]
        overdue = []
        for matter in holding:
            since = self._since.setdefault(matter, _Since(now))
            if not since.is_told and now >= since.when + self._stuck_s:
                since.is_told = True
                overdue.append(matter)
        return overdue

    def held_s(self, matter: M, *, now: float) -> float:
        """For how many seconds something has held; 0 for what does not hold."""
        since = self._since.get(matter)
        return 0.0 if since is None else now - since.when

    @property
    def next_due(self) -> float | None:
        """When to look again though nothing changes; None where nothing that holds is untold."""
        times = [each.when for each in self._since.values() if not each.is_told]
        return min(times) + self._stuck_s if times else None
