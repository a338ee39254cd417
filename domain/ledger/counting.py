"""How far each log counts, by all changes of membership that are here, and what is told to others.

An operation whose author was removed or demoted counts if and only if it is in the causal past of what removed or
demoted it. Along a log that holds from one place on (who is added again starts new logs), so a number for each log
says it all. What does not count is *void*. It is told to others only where something that counts builds on it, if it is
a change of membership, as these decide together, or if it begins a branch: what is not told must not make replicas
differ in whether a log forked.

Invariant: both numbers of a log are a function of the set of operations that are told to others, so replicas that have
told each other everything agree on them.
"""

from collections.abc import Collection, Sequence

from domain.identifiers import PeerId
from domain.ledger.log import LogState
from domain.ledger.membership import Membership
from domain.ledger.reach import Vector, join
from domain.operations.control import Role


class Counting:
    """How far each log counts.

    Args:
        membership: The members.
        logs: The logs of the ledger, by slot; grows.
    """

    def __init__(self, membership: Membership, logs: Sequence[LogState]) -> None:
        self._membership = membership
        self._logs = logs
        self._counted: dict[int, int] = {}
        self._is_stale = False
        self._told: dict[int, int] | None = None
        self.version = 0
        """Grows whenever an operation that was here before may have begun or ceased to count, or to be told."""

    @property
    def void_slots(self) -> Collection[int]:
        """The logs of which not everything counts."""
        return self._void_from.keys()

    @property
    def _void_from(self) -> dict[int, int]:
        """The logs of which not everything counts, each with the first operation that does not."""
        if self._is_stale:
            self._is_stale = False
            self._counted = self._count_all()
        return self._counted

    def counted(self, slot: int) -> int:
        """Give how many operations of a log count, from its first; changes of membership beyond may count as well."""
        return self._void_from.get(slot, self._logs[slot].count)

    def told(self, slot: int) -> int:
        """Give how many operations of a log others are told of, from its first."""
        if slot not in self._void_from:
            return self._logs[slot].count
        if self._told is None:
            self._told = self._find_told()
        return self._told[slot]

    @property
    def void_count(self) -> int:
        """How many operations do not count."""
        return sum(self._logs[slot].count - counted for slot, counted in self._void_from.items())

    def void_content_of(self, author: PeerId) -> int:
        """How many operations with content of an author, in whichever logs, do not count."""
        logs = (self._logs[slot] for slot in self._void_from)
        own = (log for log in logs if log.is_content and log.key.author == author)
        return sum(log.count - self._void_from[log.slot] for log in own)

    def take(self, log: LogState, past: Vector) -> None:
        """Take the last operation of a log into account; `past` is its causal past, itself included."""
        if self._is_stale:
            return  # all will be counted
        if self._void_from:
            self._told = None
            self.version += 1  # what it builds on may be told from now on
        seq_num = log.count - 1
        if log.slot not in self._void_from and (
            log.parent in self._void_from or not self._does_count(log, seq_num, past)
        ):
            self._void_from[log.slot] = seq_num
            self._told = None
            self.version += 1

    def recount(self) -> None:
        """Count all logs anew once that is asked for, since the changes of membership that count may have changed.

        At each of many that come together it would take a minute for some hundreds, which any member can write.
        """
        self._is_stale = True
        self._told = None
        self.version += 1

    def _count_all(self) -> dict[int, int]:
        void_from: dict[int, int] = {}
        for log in self._logs:  # what a branch goes on from comes before it
            first = log.base if log.parent in void_from else self._first_void(log)
            if first < log.count:
                void_from[log.slot] = first
        return void_from

    def _does_count(self, log: LogState, seq_num: int, past: Vector) -> bool:
        author, need = log.key.author, _need(log)
        if any(
            seq_num >= taker.past.get(log.slot, 0) and not taker.is_in(past)
            for taker in self._membership.takers_from(author, need)
        ):
            return False
        return self._membership.supports(author, {**past, log.slot: seq_num}, need)

    def _first_void(self, log: LogState) -> int:
        """Find the first operation of a log that does not count; the count of the log where there is none."""
        author, need = log.key.author, _need(log)
        first = log.count
        for taker in self._membership.takers_from(author, need):
            beyond = max(taker.past.get(log.slot, 0), log.base)
            if beyond < first and not taker.is_in(log.vector_before(beyond + 1)):
                first = beyond
        if self._membership.is_at_odds:
            slots = [change.slot for change in self._membership.last_changes()]
            for seq_num in log.steps_of(slots):
                if seq_num >= first:
                    break
                past = {**log.vector_before(seq_num + 1), log.slot: seq_num}
                if not self._membership.supports(author, past, need):
                    return seq_num
        return first

    def _find_told(self) -> dict[int, int]:
        """Find how much of the void logs is told: what counts, all changes, forks, and what these build on."""
        told = {
            slot: max(count, log.base + 1) if (log := self._logs[slot]).is_branch else count
            for slot, count in self._void_from.items()
        }
        for change in self._membership.last_changes():
            if change.slot in told:
                told[change.slot] = max(told[change.slot], change.seq_num + 1)
        reached: Vector = {}
        for log in self._logs:
            join(reached, log.heights_before(told.get(log.slot, log.count), told))
        return {slot: max(count, reached.get(slot, 0)) for slot, count in told.items()}


def _need(log: LogState) -> Role:
    return Role.WRITE if log.is_content else Role.PULL
