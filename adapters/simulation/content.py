"""What a simulated disk holds: the state that a database would have."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from domain.errors import StorageCorruptError, StorageError
from domain.identifiers import DocumentId, LogKey, OperationId, PeerId, Position
from domain.ports.storage import LogCut, PeerRecord, Snapshot, StoredOperation

Heights = dict[PeerId, dict[LogKey, int]]


@dataclass(slots=True)
class Ledger:
    """The operations of one document, in arrival order, and where to find them."""

    operations: list[StoredOperation] = field(default_factory=list)
    places: dict[OperationId, Position] = field(default_factory=dict)
    arrivals: dict[Position, int] = field(default_factory=dict)
    damaged: set[int] = field(default_factory=set)

    def append(self, operations: Sequence[StoredOperation]) -> int:
        """Add those that are new, all or none, and give the arrival index of the last operation.

        Raises:
            StorageError: Another operation has the same place in a log; nothing was added.
        """
        fresh: dict[Position, StoredOperation] = {}
        for operation in operations:
            if operation.operation_id in self.places:
                continue
            position = Position(operation.log, operation.seq_num)
            if position in self.arrivals or fresh.get(position, operation) != operation:
                raise StorageError(
                    f"another operation is stored as number {operation.seq_num} of a log of"
                    f" {operation.log.author.short}"
                )
            fresh[position] = operation
        for position, operation in fresh.items():
            self.operations.append(operation)
            self.arrivals[position] = len(self.operations)
            self.places[operation.operation_id] = position
        return len(self.operations)

    def with_split(self, cut: LogCut) -> "Ledger":
        """Give the operations, those of a log from that number on as those of another."""
        changed = Ledger(damaged=self.damaged)
        changed.append(
            [
                replace(each, log=cut.rest)
                if each.log == cut.log and each.seq_num >= cut.first
                else each
                for each in self.operations
            ]
        )
        return changed

    def without(self, logs: Mapping[LogKey, int]) -> "Ledger":
        """Give the operations but for the ends of some logs.

        Raises:
            StorageCorruptError: Something that would have to be written again is damaged.
        """
        cut = (index for log, end in logs.items() if (index := self._first(log, end)) is not None)
        first = min(cut, default=len(self.operations) + 1)
        if any(index >= first for index in self.damaged):
            raise StorageCorruptError("an operation is damaged on disk")
        rest = Ledger(damaged=self.damaged)
        rest.append(
            [
                each
                for each in self.operations
                if each.seq_num < logs.get(each.log, each.seq_num + 1)
            ]
        )
        return rest

    def _first(self, log: LogKey, seq_num: int) -> int | None:
        """Give the arrival index of the first operation of a log from that number on."""
        return min(
            (
                index
                for position, index in self.arrivals.items()
                if position.log == log and position.seq_num >= seq_num
            ),
            default=None,
        )


@dataclass(slots=True)
class DiskContent:
    """Everything on one disk."""

    records: dict[DocumentId, bytes] = field(default_factory=dict)
    document_records: dict[DocumentId, dict[bytes, bytes]] = field(default_factory=dict)
    ledgers: dict[DocumentId, Ledger] = field(default_factory=dict)
    snapshots: dict[DocumentId, Snapshot] = field(default_factory=dict)
    peers: dict[PeerId, PeerRecord] = field(default_factory=dict)
    own_records: dict[bytes, bytes] = field(default_factory=dict)
    heights: dict[DocumentId, Heights] = field(default_factory=dict)

    def ledger(self, document: DocumentId) -> Ledger:
        """The operations of a document; none, not yet kept, if it is unknown."""
        return self.ledgers.get(document) or Ledger()

    def append(
        self,
        document: DocumentId,
        operations: Sequence[StoredOperation],
        records: Mapping[bytes, bytes | None],
    ) -> int:
        """Add operations to a document and change its records, all or none.

        Raises:
            StorageError: Another operation has the same place in a log; nothing was added.
        """
        ledger = self.ledger(document)
        last = ledger.append(operations)
        if last:
            self.ledgers[document] = ledger
        kept = self.document_records.setdefault(document, {})
        for name, sealed in records.items():
            if sealed is None:
                kept.pop(name, None)
            else:
                kept[name] = sealed
        return last

    def split(
        self,
        document: DocumentId,
        cut: LogCut,
        operations: Sequence[StoredOperation],
    ) -> int:
        """Cut a log in two, add operations, and drop the snapshot, all or none.

        Raises:
            StorageError: Another operation has the same place in a log; nothing has changed.
        """
        ledger = self.ledger(document).with_split(cut)
        last = ledger.append(operations)
        self.ledgers[document] = ledger
        self.snapshots.pop(document, None)
        return last

    def discard(self, document: DocumentId, logs: Mapping[LogKey, int]) -> None:
        """Drop the ends of logs, and the snapshot."""
        self.ledgers[document] = self.ledger(document).without(logs)
        self.snapshots.pop(document, None)

    def forget(self, document: DocumentId) -> None:
        """Drop everything about a document."""
        self.records.pop(document, None)
        self.document_records.pop(document, None)
        self.ledgers.pop(document, None)
        self.snapshots.pop(document, None)
        self.heights.pop(document, None)
