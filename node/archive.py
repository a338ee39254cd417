"""One document and the store: bringing it up, rebuilding it, adding to its log, keeping snapshots."""

import logging
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Collection,
    Iterable,
    Mapping,
    Sequence,
)
from dataclasses import replace

from domain import limits
from domain.crdt.judged import Judged
from domain.crdt.replica import Replica
from domain.document import Document
from domain.errors import SealError, StorageCorruptError, StorageError
from domain.identifiers import LogKey, OperationId, PeerId, Position
from domain.ledger.branch import Fork
from domain.ledger.ledger import Height
from domain.operations.operation import Operation
from domain.ports.storage import Arrival, LogCut, Snapshot
from domain.record import DocumentRecord
from domain.sealing import NONCE_BYTES, open_record, seal_record
from node.environment import Environment
from node.recent import RecentOperations
from node.stored import from_stored, to_stored
from node.transactions import until_none_open

logger = logging.getLogger(__name__)

REPLAY_OPERATIONS_MAX = 1_024
RECENT_OPERATIONS_MAX = (
    512  # kept in memory so that live operations are not read back from the store
)
RECENT_BYTES_MAX = 4 * limits.MIB
SNAPSHOT_LABEL = "snapshot"
RECORD_LABEL = "document"

UntilRead = Callable[[Callable[[], Awaitable[Sequence[Arrival]]]], Awaitable[Sequence[Arrival]]]
"""Reads something, again and again until it can be read."""


class DocumentArchive:
    """What is stored of one document.

    Args:
        document: The document.
        environment: Where it is stored.
    """

    def __init__(self, document: Document, environment: Environment) -> None:
        self.recent = RecentOperations(count_max=RECENT_OPERATIONS_MAX, bytes_max=RECENT_BYTES_MAX)
        self._document = document
        self._store = environment.store
        self._entropy = environment.entropy
        self._storage_key = environment.storage_key
        self._arrival_index = 0
        self._snapshot_index = 0
        self.is_reading_waiting = False
        """Whether content that waited is being read: not all of it is shown yet."""

    async def load(self) -> list[Judged]:
        """Bring the document up from its snapshot and what was stored since; give what became of the latter.

        Raises:
            StorageError: It cannot be read.
        """
        record = self._document.record
        rescue = record.rescue
        if rescue is not None and rescue.discard:
            await self._store.discard(self._document.document, rescue.discard)
            # Once, since peers will give back what was there, and others build on that.
            record = replace(record, rescue=replace(rescue, discard={}))
            await self.save_record(record)
            self._document.record = record
        await self._load_snapshot()
        try:
            judged = await self._replay()
        except StorageCorruptError as error:
            if not self._snapshot_index:
                raise
            self._warn_of_snapshot(error)
            self._document.start_over()
            self._arrival_index = self._snapshot_index = 0
            judged = await self._replay()
        self._document.account.commit((), await self.told_ends())
        if self._document.rebuild_reason is not None:
            judged = await self.rebuild()
        else:
            self._document.open_ydoc()
        for update in rescue.updates if rescue is not None else ():
            self._document.adopt(update)
        self._document.pending.carry()
        return judged

    def start_again(self, arrival_index: int) -> None:
        """Go on after the ends of logs were deleted, with so many operations left."""
        self.recent = RecentOperations(count_max=RECENT_OPERATIONS_MAX, bytes_max=RECENT_BYTES_MAX)
        self._arrival_index, self._snapshot_index = arrival_index, 0

    @property
    def arrival_index(self) -> int:
        """How many operations are stored."""
        return self._arrival_index

    async def save_record(self, record: DocumentRecord) -> None:
        """Keep what there is of the document besides its operations; durable on return."""
        document = self._document.document
        nonce = self._entropy.draw(NONCE_BYTES)
        sealed = seal_record(
            self._storage_key, RECORD_LABEL, document, record.encode(), nonce=nonce
        )
        await self._store.save_document(document, sealed)

    async def operation_at(self, position: Position) -> Operation | None:
        """Read the operation at a place; None where there is none."""
        stored = await self._store.read_operation(self._document.document, position)
        return None if stored is None else from_stored(stored)

    async def operation_of(self, operation_id: OperationId) -> Operation | None:
        """Read an operation by its id; None where it is not stored."""
        position = (await self.positions([operation_id])).get(operation_id)
        return None if position is None else await self.operation_at(position)

    async def positions(
        self, operation_ids: Collection[OperationId]
    ) -> dict[OperationId, Position]:
        """Find the places of operations; those that are not stored are left out."""
        return dict(await self._store.positions(self._document.document, operation_ids))

    async def split(self, fork: Fork) -> None:
        """Store a fork: what there is of the log from its place on is a branch, and so is the rival; durable on return.

        Raises:
            StorageError: Nothing was stored.
        """
        cut = LogCut(log=fork.log, first=fork.first, rest=fork.held)
        document = self._document.document
        self._arrival_index = await self._store.split(document, cut, [to_stored(fork.rival)])

    async def rest_of(self, log: LogKey, first: int) -> list[Operation]:
        """Read a log from a place on."""
        found = []
        while (operation := await self.operation_at(Position(log, first))) is not None:
            found.append(operation)
            first += 1
        return found

    async def told_ends(self) -> dict[Position, OperationId]:
        """Look up the operations at which our account to others ends, where the rest of a log does not count."""
        ends: dict[Position, OperationId] = {}
        for position in self._document.account.unknown_ends():
            stored = await self._store.read_operation(self._document.document, position)
            if stored is not None:
                ends[position] = stored.operation_id
        return ends

    async def farewell(self, peer: PeerId) -> dict[LogKey, Height]:
        """Give how far the logs go that a former member may have: to its removal, with all that this builds on."""
        heights = {}
        for log, count in self._document.ledger.farewell(peer).items():
            stored = await self._store.read_operation(
                self._document.document, Position(log, count - 1)
            )
            if stored is not None:
                heights[log] = Height(count=count, tip=stored.operation_id)
        return heights

    async def _replay(self) -> list[Judged]:
        judged = []
        while operations := await self._read(self._arrival_index):
            await self.place(operations)
            judged.append(self._document.replay(operations).without_applied())
        return judged

    async def _load_snapshot(self) -> None:
        document = self._document.document
        snapshot = await self._store.snapshot(document)
        if snapshot is None:
            return
        try:
            self._document.restore(
                open_record(self._storage_key, SNAPSHOT_LABEL, document, snapshot.sealed)
            )
        except (SealError, StorageCorruptError) as error:
            self._warn_of_snapshot(error)
        else:
            self._arrival_index = self._snapshot_index = snapshot.arrival_index

    def _warn_of_snapshot(self, error: Exception) -> None:
        """Say that a snapshot is of no use: the log is the truth, and everything can be made again from it."""
        document = self._document.document
        logger.warning(
            "archive.snapshot_unusable", extra={"document": document.short, "error": str(error)}
        )

    async def _read(self, after: int) -> list[Operation]:
        """Read the next page of the log, and note how far it goes."""
        arrivals = await self._store.read(
            self._document.document,
            after=after,
            count_max=REPLAY_OPERATIONS_MAX,
            bytes_max=limits.PARKED_BYTES_MAX,
        )
        if arrivals:
            self._arrival_index = arrivals[-1].index
        return [from_stored(arrival.operation) for arrival in arrivals]

    async def rebuild(self) -> list[Judged]:
        """Read the whole log into a new replica; again while the engine fails on yet another operation.

        Returns:
            What became of the operations of the log.

        Raises:
            StorageError: The log cannot be read.
        """
        document = self._document
        logger.warning(
            "archive.rebuild",
            extra={"document": document.document.short, "reason": document.rebuild_reason},
        )
        replica = document.start_rebuild()
        while (judged := await self._feed(replica)) is None:
            document.replica = replica
            replica = document.start_rebuild()
        await until_none_open(document)
        document.finish_rebuild(replica)
        return judged

    async def _feed(self, replica: Replica) -> list[Judged] | None:
        """Feed the log to a replica; None where the engine failed on an operation, which is in quarantine now."""
        self._arrival_index = 0
        everything = []
        while operations := await self._read(self._arrival_index):
            judged = self._document.feed(replica, operations)
            if judged is None:
                return None
            everything.append(judged.without_applied())
        return everything

    async def place(self, operations: Iterable[Operation]) -> None:
        """Look up where the things are that operations build on, as far as memory has forgotten it."""
        ledger = self._document.ledger
        unplaced = {previous for operation in operations for previous in ledger.unplaced(operation)}
        if unplaced:
            positions = await self._store.positions(self._document.document, unplaced)
            for operation_id, position in positions.items():
                ledger.place(operation_id, position)

    async def stored(self, operation_ids: set[OperationId]) -> set[OperationId]:
        """Tell which operations are stored."""
        return (
            set(await self._store.positions(self._document.document, operation_ids))
            if operation_ids
            else set()
        )

    async def read_waiting(
        self, waiting: Mapping[LogKey, int], until_read: UntilRead
    ) -> AsyncIterator[list[Operation]]:
        """Read, in arrival order, all operations of some logs from given ones on, as long as it takes.

        Until all are read, and what was done with the last of them is over, no snapshot is kept: it would say that they
        are in the replica.

        Raises:
            StorageCorruptError: They are not what was stored.
        """
        self.is_reading_waiting = True
        document = self._document.document
        have = {log: height.count for log, height in self._document.heights.items()}
        after = 0

        async def read() -> Sequence[Arrival]:
            return await self._store.read_missing(
                document,
                have | dict(waiting),
                after=after,
                count_max=REPLAY_OPERATIONS_MAX,
                bytes_max=limits.PARKED_BYTES_MAX,
            )

        while arrivals := await until_read(read):
            after = arrivals[-1].index
            yield [from_stored(arrival.operation) for arrival in arrivals]
        self.is_reading_waiting = False

    async def append(
        self, operations: Sequence[Operation], records: Mapping[bytes, bytes | None]
    ) -> None:
        """Add operations to the log and change records, all or none; durable on return.

        Raises:
            StorageError: Nothing was stored.
        """
        stored = [to_stored(operation) for operation in operations]
        self._arrival_index = await self._store.append(self._document.document, stored, records)
        self.recent.extend(operations)

    async def keep_snapshot(self, *, at_least: int = limits.SNAPSHOT_OPERATIONS_MAX) -> None:
        """Keep a snapshot, where at least so many operations came since the last one; failing to is no harm."""
        is_new = self._arrival_index - self._snapshot_index >= at_least
        if self.is_reading_waiting or not is_new:
            return
        data = self._document.snapshot()
        if data is None:
            return
        document, arrival_index = self._document.document, self._arrival_index
        nonce = self._entropy.draw(NONCE_BYTES)
        sealed = seal_record(self._storage_key, SNAPSHOT_LABEL, document, data, nonce=nonce)
        self._snapshot_index = arrival_index
        try:
            await self._store.save_snapshot(
                document, Snapshot(arrival_index=arrival_index, sealed=sealed)
            )
        except StorageError as error:
            logger.warning(
                "archive.snapshot_failed", extra={"document": document.short, "error": str(error)}
            )
