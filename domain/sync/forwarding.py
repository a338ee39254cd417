"""When operations of others go on to a peer, and what it is told of what we have got of them.

Who acknowledges an operation says whether it wants more of that author from us: it does if we were the first to bring
it. So what each device writes spreads along a tree of those that were fastest, and hardly anything is sent twice; the
others wait. The tree mends itself: whoever misses something gets it from the first that has waited for long enough, and
goes on with that one. (After Leitao, Pereira and Rodrigues, "Epidemic Broadcast Trees", 2007; what they say in messages
of its own goes with the acknowledgements here.)
"""

from collections.abc import Mapping
from typing import Final

from domain.identifiers import LogKey, PeerId

UNTOLD_S: Final = 0.050
"""So long the first operation of an author waits for the peer to get it elsewhere."""
UNTOLD_LATER_S: Final = 0.5
"""And so long where the peer gets most authors elsewhere."""
LATE_S: Final = 2.5
"""So long those wait that the peer does not want from us."""
LATE_S_MAX: Final = 8.0
"""And so long if what was sent then came in vain: the peer is slow, and more does not make it faster."""
JITTER: Final = 0.5
"""Up to that much longer, so that of all who have waited one is the first."""
ACKNOWLEDGE_S: Final = 0.025
"""So soon a peer hears that we have got something elsewhere, for what it may send us meanwhile."""
ACKNOWLEDGE_LATER_S: Final = 1.0
"""And so soon if it knows that we do not want it from there; still well before it would send it."""


class Forwarding:
    """Knows what a peer wants from us, and what of it may go now. Times are those of one clock, in s.

    Args:
        wait_s: For how long operations of each author wait, as far as the peer has said; kept up to date, and of use
            for the next connection with it.
    """

    def __init__(self, wait_s: dict[PeerId, float]) -> None:
        self._wait_s = wait_s
        self._due: dict[LogKey, float] = {}
        self._tried: set[LogKey] = set()

    def hold(self, log: LogKey, *, now: float, share: float) -> None:
        """Keep back an operation of somebody else's that is on disk now, for as long as the peer may get it elsewhere.

        Args:
            log: Its log.
            now: The time.
            share: Drawn between 0 and 1.
        """
        wait_s = self._find_wait_s(log.author)
        if wait_s:
            self._due.setdefault(log, now + wait_s * (1 + JITTER * share))

    def _find_wait_s(self, author: PeerId) -> float:
        known = self._wait_s.get(author)
        if known is not None:
            return known
        unwanted = sum(map(bool, self._wait_s.values()))
        return UNTOLD_LATER_S if 2 * unwanted > len(self._wait_s) else UNTOLD_S

    def hear(self, log: LogKey, *, is_wanted: bool, now: float, share: float) -> None:
        """Take what a peer says with an acknowledgement: whether it wants more of that author from us.

        Args:
            log: The log, of which it has something new; one that we know, so that nobody makes up authors.
            is_wanted: Whether it does.
            now: The time.
            share: Drawn between 0 and 1.
        """
        if is_wanted:
            self._wait_s[log.author] = 0.0
            self._due = {each: due for each, due in self._due.items() if each.author != log.author}
        else:
            last_s = self._find_wait_s(log.author)
            in_vain_s = min(2 * last_s, LATE_S_MAX) if log in self._tried else 0.0
            self._wait_s[log.author] = wait_s = max(LATE_S, last_s, in_vain_s)
            if log in self._due:  # it does get them elsewhere
                self._due[log] = now + wait_s * (1 + JITTER * share)
        self._tried.discard(log)

    def release(self) -> None:
        """Keep nothing back any more of what is here already: the peer has asked for all of it."""
        self._due.clear()

    def ready(self, needed: Mapping[LogKey, int], *, now: float) -> dict[LogKey, int]:
        """Give what may be sent of what the peer lacks."""
        for log, due in tuple(self._due.items()):
            if log not in needed:
                del self._due[log]
            elif due <= now:
                del self._due[log]
                self._tried.add(log)
        return {log: count for log, count in needed.items() if log not in self._due}

    @property
    def next_due(self) -> float | None:
        """When the first of what is kept back may go."""
        return min(self._due.values(), default=None)


class Acknowledgements:
    """Collects what a peer is to be told that we have, until it is time. Times are those of one clock, in s."""

    def __init__(self) -> None:
        self.due: float | None = None
        """When it is to be told; None while there is nothing."""
        self._pending: dict[LogKey, tuple[int, bool | None]] = {}
        self._told: set[PeerId] = set()

    def note(
        self, log: LogKey, count: int, *, is_first: bool | None, is_author: bool, now: float
    ) -> None:
        """Add that so many operations of a log are on our disk.

        Args:
            log: The log.
            count: How many.
            is_first: Whether the peer was the first to bring us the last of them: it is told at once. None where nobody
                knows, as it waited here for what it builds on.
            is_author: Whether the peer has written them: it waits to hear who holds them.
            now: The time.
        """
        is_wanted = self._pending.get(log, (0, None))[1] if is_first is None else is_first
        self._pending[log] = (count, is_wanted)
        delay_s = (
            ACKNOWLEDGE_S if is_author or log.author not in self._told else ACKNOWLEDGE_LATER_S
        )
        due = now if is_first else now + delay_s
        self.due = due if self.due is None else min(self.due, due)

    def take(self, *, now: float) -> dict[bool | None, dict[LogKey, int]]:
        """Take out what is due: counts by log, and whether we want more of them from the peer, if that is known."""
        if self.due is None or self.due > now:
            return {}
        taken: dict[bool | None, dict[LogKey, int]] = {}
        for log, (count, is_wanted) in self._pending.items():
            taken.setdefault(is_wanted, {})[log] = count
        self._told.difference_update(log.author for log in taken.get(True, ()))
        self._told.update(log.author for log in taken.get(False, ()))
        self.due, self._pending = None, {}
        return taken
