"""Branches: what becomes of a log in which its author gave one place to two operations.

Such a log ends before that place, and each of the operations begins a *branch*, a log of its own to all who hold it.
Its name follows from the log and from its first operation, so everybody who knows of the fork gives the same names. A
branch may fork again. The operations themselves stay what they are: their headers name the log that was forked.

A device may write in many logs at the same time, and show each to others. So whoever forks a log gains nothing over who
starts two, and what honest members built on either branch stays.
"""

from dataclasses import dataclass

from blake3 import blake3

from domain import limits
from domain.identifiers import LogId, LogKey, OperationId
from domain.ledger.log import LogState
from domain.operations.operation import Operation


def branch_of(root: LogKey, first: OperationId) -> LogKey:
    """Name the branch of a log that begins with an operation."""
    name = blake3(root.log_id + first, derive_key_context="culm branch v1").digest()
    return LogKey(root.author, LogId(name))


def branch_client(client: int, branch: LogKey) -> int:
    """Give the client id that stands for one of a forked log in one of its branches: both use the same clocks."""
    data = client.to_bytes(8, "little") + branch.author + branch.log_id
    digest = blake3(data, derive_key_context="culm branch client v1").digest()
    return int.from_bytes(digest[:8], "little") % (limits.CLIENT_ID_MAX + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fork:
    """A fork that was found: what we have from a place on becomes a branch, and so does what came now.

    Args:
        log: The log, or branch, that ends before the place.
        first: The place: the sequence number of both operations.
        held: The branch that begins with the operation that we have there.
        rival: The other operation, as the first of its own branch.
    """

    log: LogKey
    first: int
    held: LogKey
    rival: Operation


class Forks:
    """Which logs of a document forked, and where."""

    def __init__(self) -> None:
        self.logs: dict[LogKey, list[LogState]] = {}
        """Of each forked log what it consists of: what came before its forks, if anything, and its branches."""
        self._before: set[bytes] = set()

    def note(self, operation: Operation, log: LogState | None) -> None:
        """Note a fork right before an operation; `log` is what its log has so far, if that has not forked yet."""
        self.logs.setdefault(operation.root, [] if log is None else [log])
        self._before.add(_before(operation))

    def restore(self, branch: LogState, parent: LogState | None) -> None:
        """Note a fork by a branch that begins there."""
        self.logs.setdefault(branch.root, [] if parent is None else [parent])
        before = branch.root.log_id if parent is None else parent.tip
        assert before is not None
        self._before.add(before)

    def find(self, operation: Operation) -> LogKey | None:
        """Find the branch of an operation of a forked log, as far as it begins one or goes on at its end."""
        before = _before(operation)
        if before in self._before:
            return branch_of(operation.root, operation.operation_id)
        if operation.header.backlink is None:
            return operation.root  # it forked later
        return next((log.key for log in self.logs[operation.root] if log.tip == before), None)

    def parent_of(self, operation: Operation) -> LogState | None:
        """Find what an operation that begins a branch follows; None for others, and where it begins its log."""
        if operation.branch is None:
            return None
        before = operation.header.backlink
        return next((log for log in self.logs[operation.root] if log.tip == before), None)


def _before(operation: Operation) -> bytes:
    """Name what an operation follows in its log: the one before it, or the log where it is the first."""
    return operation.header.backlink or operation.extension.log_id
