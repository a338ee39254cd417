"""Who holds what: the acknowledged heights of one document, from which receipts are given."""

from collections.abc import Iterable, Mapping

from domain import limits
from domain.document import Document
from domain.identifiers import LogKey, OperationId, PeerId, Position
from domain.ledger.ledger import Height
from domain.operations.control import Role
from domain.operations.operation import Operation
from domain.ports.storage import OperationQueue
from node.archive import DocumentArchive


class Receipts:
    """Knows, durably, how many operations of each log each peer holds.

    Args:
        document: The document.
        archive: What is stored of it.
        queue: Keeps it.
    """

    def __init__(self, document: Document, archive: DocumentArchive, queue: OperationQueue) -> None:
        self._document = document
        self._archive = archive
        self._queue = queue
        self._held: dict[PeerId, dict[LogKey, int]] = {}
        self._doubted: set[tuple[PeerId, LogKey]] = set()
        """Who has something else than we in a log of ours, as after a backup: until we go on in new logs."""

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

    async def compare(
        self, peer: PeerId, counts: Mapping[LogKey, int], tips: Mapping[LogKey, OperationId]
    ) -> None:
        """Look whether what a peer says it holds of our logs is what we wrote there; before `take`.

        Counts say nothing about what is counted: after a backup a peer has other operations of ours at the same places.
        """
        stored = self._document.account.stored
        for log in self._document.own_logs:
            count, tip = counts.get(log, 0), tips.get(log)
            is_beyond = count > (stored[log].count if log in stored else 0)
            if is_beyond or (tip is not None and not await self._is_at(tip, log, count - 1)):
                self._doubted.add((peer, log))

    async def _is_at(self, tip: OperationId, log: LogKey, seq_num: int) -> bool:
        return (await self._archive.positions({tip})).get(tip) == Position(log, seq_num)

    def _count(self, peer: PeerId, log: LogKey) -> int:
        """Give how many of our operations of a log a peer holds, as far as that is known."""
        if (peer, log) in self._doubted and log in self._document.own_logs:
            return 0
        return self._held.get(peer, {}).get(log, 0)

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
        return sum(
            max(height.count - self._count(peer, log), 0)
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
            for peer in self._held
            if peer != document.key.peer
            and members.get(peer, Role.PULL) >= Role.READ
            and all(self._count(peer, log) >= count for log, count in wanted.items())
        ]
