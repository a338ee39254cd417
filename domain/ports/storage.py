"""What a node keeps: operations, acknowledged heights, and sealed records.

Stores keep and return bytes. They check nothing about operations but that a place in a log is taken once;
whether an operation is valid was decided before it came here.
"""

from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Protocol

from domain.identifiers import DocumentId, LogKey, OperationId, PeerId, Position

NO_RECORDS: Final[Mapping[bytes, bytes | None]] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredOperation:
    """An operation as it is kept."""

    operation_id: OperationId
    log: LogKey
    seq_num: int
    header: bytes
    body: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """A stored operation and its place in the order in which the operations of a document were stored (from 1).

    That order is causal: an operation is stored only after everything that it builds on.
    """

    index: int
    operation: StoredOperation


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Sealed state of a document that includes exactly the operations up to `arrival_index`."""

    arrival_index: int
    sealed: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerRecord:
    """What is known about how to reach a peer; `seen_us` is the last time, in microseconds since 1970 UTC, or 0."""

    peer: PeerId
    addresses: tuple[str, ...]
    seen_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LogCut:
    """The operations of `log` from sequence number `first` on belong to `rest`, a log without any, from now on."""

    log: LogKey
    first: int
    rest: LogKey


class OperationStore(Protocol):
    """Keeps documents: their operations in arrival order, and the sealed records beside them."""

    @abstractmethod
    async def append(
        self,
        document: DocumentId,
        operations: Sequence[StoredOperation],
        records: Mapping[bytes, bytes | None] = NO_RECORDS,
    ) -> int:
        """Store operations in the given order, all or none; durable on return (it survives power loss).

        `records` are sealed records of the document that change with the operations, by name: stored in the same
        transaction, each replacing the one of that name; None deletes it.

        An operation that is stored already (same id) is passed over, so repeating a call is allowed. Cancelled,
        the whole batch is stored or none of it.

        Returns:
            The arrival index of the last operation stored in the document.

        Raises:
            StorageError: Nothing of the batch was stored, for instance because the disk is full, or because another
                operation has the same place in a log.
        """

    @abstractmethod
    async def discard(self, document: DocumentId, logs: Mapping[LogKey, int]) -> None:
        """Delete the operations of these logs from those sequence numbers on, and the snapshot; durable on return.

        All or none. The others keep their order, with arrival indexes that have no gaps. To be used by who holds all of
        them: what is deleted must be nothing that any other builds on. Repeating a call is allowed.

        Raises:
            StorageCorruptError: Something that arrived after the first of them is not what was written.
            StorageError: Nothing was deleted.
        """

    @abstractmethod
    async def split(
        self,
        document: DocumentId,
        cut: LogCut,
        operations: Sequence[StoredOperation],
    ) -> int:
        """Let the end of a log be another log, and append operations.

        All or none; durable on return. What moves keeps its numbers and its place in the order of arrival; the snapshot
        is deleted. What is stored already is passed over, so repeating a call is allowed.

        Args:
            document: The document.
            cut: What becomes of which log.
            operations: What is appended then, as by `append`.

        Returns:
            The arrival index of the last operation stored in the document.

        Raises:
            StorageError: Nothing has changed.
        """

    @abstractmethod
    async def read(
        self, document: DocumentId, *, after: int, count_max: int, bytes_max: int
    ) -> Sequence[Arrival]:
        """Read in arrival order from after that index: at most so many, up to the one that reaches `bytes_max`.

        Raises:
            StorageCorruptError: A row is not what was written; the text says which.
        """

    @abstractmethod
    async def read_missing(
        self,
        document: DocumentId,
        have: Mapping[LogKey, int],
        *,
        after: int,
        count_max: int,
        bytes_max: int,
    ) -> Sequence[Arrival]:
        """Like `read`, without what somebody has: `have` gives, per log, the next sequence number that is lacked.

        A log that `have` does not name is lacked from its beginning.
        """

    @abstractmethod
    async def read_operation(
        self, document: DocumentId, position: Position
    ) -> StoredOperation | None:
        """Read the operation at that place, or None where there is none."""

    @abstractmethod
    async def positions(
        self, document: DocumentId, operation_ids: Collection[OperationId]
    ) -> Mapping[OperationId, Position]:
        """Find the places of operations by id; those that are not stored are left out."""

    @abstractmethod
    async def save_document(self, document: DocumentId, sealed: bytes) -> None:
        """Keep the sealed record of a document, replacing the one before; durable on return."""

    @abstractmethod
    async def documents(self) -> Mapping[DocumentId, bytes]:
        """Read the sealed records of all documents; an empty one, or no document, where the row is damaged."""

    @abstractmethod
    async def records(self, document: DocumentId) -> Mapping[bytes, bytes]:
        """Read the sealed records of a document that `append` was given, by name.

        Raises:
            StorageCorruptError: One is not what was written.
        """

    @abstractmethod
    async def forget(self, document: DocumentId) -> None:
        """Delete everything about a document; durable on return. Unknown documents are passed over."""

    @abstractmethod
    async def save_snapshot(self, document: DocumentId, snapshot: Snapshot) -> None:
        """Keep a snapshot, replacing the one before. It may be lost: a snapshot can always be made again."""

    @abstractmethod
    async def snapshot(self, document: DocumentId) -> Snapshot | None:
        """Read the snapshot, or None where there is none or it is damaged."""

    @abstractmethod
    async def save_peer(self, record: PeerRecord) -> None:
        """Keep how to reach a peer, replacing what was known."""

    @abstractmethod
    async def peers(self) -> Sequence[PeerRecord]:
        """Read how to reach the peers that we have met."""

    @abstractmethod
    async def save_own_record(self, name: bytes, sealed: bytes | None) -> None:
        """Keep a sealed record of the node itself, which belongs to no document; durable on return.

        It replaces the one of that name; None deletes it.
        """

    @abstractmethod
    async def own_records(self) -> Mapping[bytes, bytes]:
        """Read the sealed records of the node itself, by name; damaged rows are left out."""


class OperationQueue(Protocol):
    """What each peer has acknowledged. With the logs this *is* the outbound queue: a peer lacks what lies above.

    Durable: what `acknowledge` was told survives a restart, though the last second may be lost (a peer then
    acknowledges again).
    """

    @abstractmethod
    async def acknowledge(
        self, peer: PeerId, document: DocumentId, heights: Mapping[LogKey, int]
    ) -> None:
        """Set, per log, the number of operations that the peer holds; it may also go down (a restored backup)."""

    @abstractmethod
    async def acknowledged(self, document: DocumentId) -> Mapping[PeerId, Mapping[LogKey, int]]:
        """Read the number of operations that each peer holds, per log; damaged rows are left out."""
