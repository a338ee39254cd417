"""Who holds what: the acknowledged heights of one document, from which receipts are given."""

from collections.abc import Iterable, Mapping

from domain import limits
from domain.document import Document
from domain.identifiers import LogKey, PeerId
from domain.ledger.ledger import Height
from domain.operations.control import Role
from domain.operations.operation import Operation
from domain.ports.storage import OperationQueue


class Receipts:
    """Knows, durably, how many operations of each log each peer holds.

    Args:
        document: The document.
        queue: Keeps it.
    """

    def __init__(self, document: Document, queue: OperationQueue) -> None:
        self._document = document
        self._queue = queue
        self._held: dict[PeerId, dict[LogKey, int]] = {}

    async def load(self) -> None:
        """Recall what was known."""
        held = await self._queue.acknowledged(self._document.document)
        self._held = {peer: dict(counts) for peer, counts in held.items()}

    async def take(self, peer: PeerId, counts: Mapping[LogKey, int], *, is_complete: bool) -> bool:
        """Note what a peer says it holds; a complete account replaces the one before, downwards too.

        It may hold what has not reached us yet, so what it says is kept as it is, and compared with what we hold where
        that is asked for. Only what is about logs that we know goes to disk.

        Returns:
            Whether that was news.
        """
        known = self._held.setdefault(peer, {})
        if is_complete:
            counts = dict.fromkeys(known, 0) | dict(counts)
        changed = {log: count for log, count in counts.items() if known.get(log, 0) != count}
        known.update(changed)
        if len(known) > limits.HAVE_LOGS_MAX:
            self._held[peer] = {log: known[log] for log in self._document.heights if log in known}
        kept = {log: count for log, count in changed.items() if log in self._document.heights}
        if kept:
            await self._queue.acknowledge(peer, self._document.document, kept)
        return bool(changed)

    async def take_authors(self, operations: Iterable[Operation]) -> None:
        """Note that who wrote an operation holds it: nobody acknowledges what it wrote itself."""
        written: dict[PeerId, dict[LogKey, int]] = {}
        for operation in operations:
            log = operation.log
            written.setdefault(operation.author, {})[log] = operation.header.seq_num + 1
        for author, counts in written.items():
            known = self._held.get(author, {})
            higher = {log: count for log, count in counts.items() if count > known.get(log, 0)}
            await self.take(author, higher, is_complete=False)

    def pending(self, peer: PeerId) -> int:
        """Count the operations that a peer has not acknowledged."""
        known = self._held.get(peer, {})
        return sum(
            max(height.count - known.get(log, 0), 0)
            for log, height in self._document.heights.items()
        )

    def holders(self, target: Mapping[LogKey, Height]) -> list[PeerId]:
        """List the other member devices that may read and hold at least that much of each log.

        What was cut off here since, or counts no longer, reaches nobody any more: it is not asked for.
        """
        document = self._document
        members = document.ledger.membership.members()
        wanted = {
            log: min(height.count, present.count)
            for log, height in target.items()
            if (present := document.heights.get(log)) is not None
        }
        return [
            peer
            for peer, counts in self._held.items()
            if peer != document.key.peer
            and members.get(peer, Role.PULL) >= Role.READ
            and all(counts.get(log, 0) >= count for log, count in wanted.items())
        ]
