"""The stores of a simulated node, on a simulated disk.

They hold bytes in memory and check nothing about them, as the ports say; what survives a crash is the disk's concern.
"""

from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Self

from adapters.simulation.content import DiskContent, Ledger
from adapters.simulation.disk import Mount, SimulatedDisk, corrupt
from domain.identifiers import DocumentId, LogKey, OperationId, PeerId, Position
from domain.ports.storage import (
    NO_RECORDS,
    Arrival,
    LogCut,
    OperationQueue,
    OperationStore,
    PeerRecord,
    Snapshot,
    StoredOperation,
)


class MemoryOperationStore(OperationStore):
    """The operation store on a simulated disk; dead once the machine has crashed.

    Args:
        disk: Where everything lives.
    """

    def __init__(self, disk: SimulatedDisk) -> None:
        self._mount: Mount = disk.mount()

    async def append(
        self,
        document: DocumentId,
        operations: Sequence[StoredOperation],
        records: Mapping[bytes, bytes | None] = NO_RECORDS,
    ) -> int:
        batch, changes = tuple(operations), dict(records)
        return await self._mount.write(lambda content: content.append(document, batch, changes))

    async def discard(self, document: DocumentId, logs: Mapping[LogKey, int]) -> None:
        ends = dict(logs)
        await self._mount.write(lambda content: content.discard(document, ends))

    async def split(
        self,
        document: DocumentId,
        cut: LogCut,
        operations: Sequence[StoredOperation],
    ) -> int:
        batch = tuple(operations)
        return await self._mount.write(lambda content: content.split(document, cut, batch))

    async def read(
        self, document: DocumentId, *, after: int, count_max: int, bytes_max: int
    ) -> Sequence[Arrival]:
        return await self.read_missing(
            document, {}, after=after, count_max=count_max, bytes_max=bytes_max
        )

    async def read_missing(
        self,
        document: DocumentId,
        have: Mapping[LogKey, int],
        *,
        after: int,
        count_max: int,
        bytes_max: int,
    ) -> Sequence[Arrival]:
        def look(content: DiskContent) -> Sequence[Arrival]:
            ledger = content.ledger(document)
            found: list[Arrival] = []
            size_bytes = 0
            for index in range(max(after, 0) + 1, len(ledger.operations) + 1):
                if len(found) >= count_max or size_bytes >= bytes_max:
                    break
                operation = ledger.operations[index - 1]
                if operation.seq_num >= have.get(operation.log, 0):
                    _check_undamaged(ledger, document, index)
                    found.append(Arrival(index=index, operation=operation))
                    size_bytes += len(operation.header) + len(operation.body or b"")
            return found

        return await self._mount.read(look)

    async def read_operation(
        self, document: DocumentId, position: Position
    ) -> StoredOperation | None:
        def look(content: DiskContent) -> StoredOperation | None:
            ledger = content.ledger(document)
            index = ledger.arrivals.get(position)
            if index is None:
                return None
            _check_undamaged(ledger, document, index)
            return ledger.operations[index - 1]

        return await self._mount.read(look)

    async def positions(
        self, document: DocumentId, operation_ids: Collection[OperationId]
    ) -> Mapping[OperationId, Position]:
        def look(content: DiskContent) -> Mapping[OperationId, Position]:
            places = content.ledger(document).places
            return {each: places[each] for each in operation_ids if each in places}

        return await self._mount.read(look)

    async def save_document(self, document: DocumentId, sealed: bytes) -> None:
        def change(content: DiskContent) -> None:
            content.records[document] = sealed

        await self._mount.write(change)

    async def documents(self) -> Mapping[DocumentId, bytes]:
        return await self._mount.read(lambda content: dict(content.records))

    async def records(self, document: DocumentId) -> Mapping[bytes, bytes]:
        return await self._mount.read(
            lambda content: dict(content.document_records.get(document, {}))
        )

    async def forget(self, document: DocumentId) -> None:
        await self._mount.forget(document)

    async def save_snapshot(self, document: DocumentId, snapshot: Snapshot) -> None:
        def change(content: DiskContent) -> None:
            content.snapshots[document] = snapshot

        await self._mount.write(change)

    async def snapshot(self, document: DocumentId) -> Snapshot | None:
        return await self._mount.read(lambda content: content.snapshots.get(document))

    async def save_peer(self, record: PeerRecord) -> None:
        def change(content: DiskContent) -> None:
            content.peers[record.peer] = record

        await self._mount.write(change)

    async def peers(self) -> Sequence[PeerRecord]:
        return await self._mount.read(lambda content: list(content.peers.values()))

    async def save_own_record(self, name: bytes, sealed: bytes | None) -> None:
        def change(content: DiskContent) -> None:
            if sealed is None:
                content.own_records.pop(name, None)
            else:
                content.own_records[name] = sealed

        await self._mount.write(change)

    async def own_records(self) -> Mapping[bytes, bytes]:
        return await self._mount.read(lambda content: dict(content.own_records))

    async def close(self) -> None:
        """Stop using the disk in good order."""
        self._mount.unmount()


class MemoryOperationQueue(OperationQueue):
    """The acknowledged heights on a simulated disk; a crash loses those of the last second.

    Args:
        disk: Where everything lives.
    """

    def __init__(self, disk: SimulatedDisk) -> None:
        self._mount: Mount = disk.mount()

    async def acknowledge(
        self, peer: PeerId, document: DocumentId, heights: Mapping[LogKey, int]
    ) -> None:
        told = dict(heights)
        before: dict[LogKey, int | None] = {}

        def change(content: DiskContent) -> None:
            logs = content.heights.setdefault(document, {}).setdefault(peer, {})
            before.update({log: logs.get(log) for log in told})
            logs.update(told)

        def undo(content: DiskContent) -> None:
            logs = content.heights[document][peer]
            for log, height in before.items():
                if height is None:
                    del logs[log]
                else:
                    logs[log] = height

        self._mount.write_lazily(document, change, undo)

    async def acknowledged(self, document: DocumentId) -> Mapping[PeerId, Mapping[LogKey, int]]:
        def look(content: DiskContent) -> Mapping[PeerId, Mapping[LogKey, int]]:
            return {peer: dict(logs) for peer, logs in content.heights.get(document, {}).items()}

        return await self._mount.read(look)

    async def close(self) -> None:
        """Stop using the disk in good order: everything that was told is kept."""
        self._mount.unmount()


class MemoryDatabase:
    """Both stores of one run of a node; made by `open`, in the shape of the real database.

    Args:
        disk: Where everything lives.
    """

    def __init__(self, disk: SimulatedDisk) -> None:
        self.store = MemoryOperationStore(disk)
        self.queue = MemoryOperationQueue(disk)

    @classmethod
    @asynccontextmanager
    async def open(cls, disk: SimulatedDisk) -> AsyncIterator[Self]:
        """Open what lives on a disk; close it in good order at the end, unless the machine crashed."""
        database = cls(disk)
        try:
            yield database
        finally:
            await database.close()

    @property
    def workers(self) -> tuple[Callable[[], Coroutine[None, None, None]], ...]:
        """What `node.runtime` has to run: nothing."""
        return ()

    async def check(self) -> None:
        """Look for damage: it shows when it is read."""

    async def close(self) -> None:
        """Let everything be durable; may be repeated."""
        await self.store.close()
        await self.queue.close()


def _check_undamaged(ledger: Ledger, document: DocumentId, arrival_index: int) -> None:
    if arrival_index in ledger.damaged:
        raise corrupt(document, arrival_index)
