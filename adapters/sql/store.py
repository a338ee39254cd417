"""The operation store on SQL.

Reading goes in two steps: places and sizes first, then exactly the rows that fit, so that a few large bodies never
come into memory by accident.
"""

import logging
from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import Connection, delete, insert, select, update

from adapters.sql import schema
from adapters.sql.append import chunks
from adapters.sql.discard import discard
from adapters.sql.head import Heads
from adapters.sql.read import Page, read_after, read_at, read_lacked
from adapters.sql.reader import Reader
from adapters.sql.row import damaged, snapshot_check
from adapters.sql.split import split
from adapters.sql.writer import Writer
from domain.codec import CodecError, decode_array, encode, take_text
from domain.errors import IdentifierError, StorageCorruptError
from domain.identifiers import DocumentId, LogId, LogKey, OperationId, PeerId, Position
from domain.limits import ADDRESS_BYTES_MAX, KIB
from domain.ports.storage import (
    NO_RECORDS,
    Arrival,
    LogCut,
    OperationStore,
    PeerRecord,
    Snapshot,
    StoredOperation,
)

logger = logging.getLogger(__name__)

_ADDRESSES_BYTES_MAX = 64 * KIB


class SqlOperationStore(OperationStore):
    """Keeps operations in a database.

    Args:
        writer: Writes.
        reader: Reads.
    """

    def __init__(self, writer: Writer, reader: Reader) -> None:
        self._writer = writer
        self._reader = reader

    async def append(
        self,
        document: DocumentId,
        operations: Sequence[StoredOperation],
        records: Mapping[bytes, bytes | None] = NO_RECORDS,
    ) -> int:
        return await self._writer.append(document, operations, records)

    async def discard(self, document: DocumentId, logs: Mapping[LogKey, int]) -> None:
        def change(connection: Connection, heads: Heads) -> None:
            discard(connection, heads, document, logs)

        await self._writer.change(change)

    async def split(
        self,
        document: DocumentId,
        cut: LogCut,
        operations: Sequence[StoredOperation],
    ) -> int:
        last = 0

        def change(connection: Connection, heads: Heads) -> None:
            nonlocal last
            last = split(connection, heads, document, cut, operations)

        await self._writer.change(change)
        return last

    async def read(
        self, document: DocumentId, *, after: int, count_max: int, bytes_max: int
    ) -> Sequence[Arrival]:
        page = Page(after=after, count_max=count_max, bytes_max=bytes_max)
        return await self._reader.read(lambda connection: read_after(connection, document, page))

    async def read_missing(
        self,
        document: DocumentId,
        have: Mapping[LogKey, int],
        *,
        after: int,
        count_max: int,
        bytes_max: int,
    ) -> Sequence[Arrival]:
        page = Page(after=after, count_max=count_max, bytes_max=bytes_max)
        return await self._reader.read(
            lambda connection: read_lacked(connection, document, have, page)
        )

    async def read_operation(
        self, document: DocumentId, position: Position
    ) -> StoredOperation | None:
        return await self._reader.read(lambda connection: read_at(connection, document, position))

    async def positions(
        self, document: DocumentId, operation_ids: Collection[OperationId]
    ) -> Mapping[OperationId, Position]:
        wanted = list(operation_ids)

        def read(connection: Connection) -> dict[OperationId, Position]:
            found: dict[OperationId, Position] = {}
            operations, logs, documents = schema.operations, schema.logs, schema.documents
            query = (
                select(
                    operations.c.operation_id, logs.c.author, logs.c.log_id, operations.c.seq_num
                )
                .join(logs, logs.c.id == operations.c.log)
                .join(documents, documents.c.id == operations.c.document)
                .where(documents.c.document_id == document)
            )
            for some in chunks(wanted):
                rows = connection.execute(query.where(operations.c.operation_id.in_(some)))
                for operation_id, author, log_id, seq_num in rows:
                    log = LogKey(PeerId(author), LogId(log_id))
                    found[OperationId(operation_id)] = Position(log, seq_num)
            return found

        return await self._reader.read(read)

    async def save_document(self, document: DocumentId, sealed: bytes) -> None:
        def change(connection: Connection, heads: Heads) -> None:
            head = heads.get(connection, document)
            table = schema.documents
            statement = update(table).where(table.c.id == head.row).values(sealed=sealed)
            connection.execute(statement)

        await self._writer.change(change, size=len(sealed))

    async def documents(self) -> Mapping[DocumentId, bytes]:
        def read(connection: Connection) -> dict[DocumentId, bytes]:
            table = schema.documents
            query = select(table.c.document_id, table.c.sealed).where(table.c.sealed.is_not(None))
            found: dict[DocumentId, bytes] = {}
            for document, sealed in connection.execute(query):
                try:
                    found[DocumentId(document)] = sealed if type(sealed) is bytes else b""
                except (IdentifierError, TypeError):
                    logger.error("storage.document.damaged")  # noqa: TRY400 - no stack helps
            return found

        return await self._reader.read(read)

    async def records(self, document: DocumentId) -> Mapping[bytes, bytes]:
        def read(connection: Connection) -> dict[bytes, bytes]:
            table, documents = schema.records, schema.documents
            query = (
                select(table.c.name, table.c.sealed)
                .join(documents, documents.c.id == table.c.document)
                .where(documents.c.document_id == document)
            )
            found: dict[bytes, bytes] = {}
            for name, sealed in connection.execute(query):
                if not (type(name) is bytes and type(sealed) is bytes):
                    raise damaged(document, "a record of its keys")
                found[name] = sealed
            return found

        return await self._reader.read(read)

    async def forget(self, document: DocumentId) -> None:
        def change(connection: Connection, heads: Heads) -> None:
            heads.drop(document)
            query = select(schema.documents.c.id).where(schema.documents.c.document_id == document)
            row = connection.execute(query).scalar_one_or_none()
            if row is None:
                return
            for table in (
                schema.acknowledged,
                schema.snapshots,
                schema.records,
                schema.operations,
                schema.logs,
            ):
                connection.execute(delete(table).where(table.c.document == row))
            connection.execute(delete(schema.documents).where(schema.documents.c.id == row))

        await self._writer.change(change)

    async def save_snapshot(self, document: DocumentId, snapshot: Snapshot) -> None:
        check = snapshot_check(document, snapshot.arrival_index, snapshot.sealed)

        def change(connection: Connection, heads: Heads) -> None:
            head = heads.get(connection, document)
            table = schema.snapshots
            connection.execute(delete(table).where(table.c.document == head.row))
            values = {
                "document": head.row,
                "arrival": snapshot.arrival_index,
                "row_check": check,
                "sealed": snapshot.sealed,
            }
            connection.execute(insert(table), values)

        await self._writer.change(change, size=len(snapshot.sealed))

    async def snapshot(self, document: DocumentId) -> Snapshot | None:
        def read(connection: Connection) -> Snapshot | None:
            table = schema.snapshots
            query = (
                select(table.c.arrival, table.c.row_check, table.c.sealed)
                .join(schema.documents, schema.documents.c.id == table.c.document)
                .where(schema.documents.c.document_id == document)
            )
            row = connection.execute(query).one_or_none()
            if row is None:
                return None
            if snapshot_check(document, row.arrival, row.sealed) != row.row_check:
                raise damaged(document, "its snapshot")
            return Snapshot(arrival_index=row.arrival, sealed=row.sealed)

        try:
            return await self._reader.read(read)
        except StorageCorruptError:
            logger.warning("storage.snapshot.damaged", extra={"document": document.short})
            return None

    async def save_peer(self, record: PeerRecord) -> None:
        addresses = encode(list(record.addresses))

        def change(connection: Connection, _heads: Heads) -> None:
            table = schema.peers
            connection.execute(delete(table).where(table.c.peer_id == record.peer))
            values = {"peer_id": record.peer, "seen_us": record.seen_us, "addresses": addresses}
            connection.execute(insert(table), values)

        await self._writer.change(change, size=len(addresses))

    async def peers(self) -> Sequence[PeerRecord]:
        def read(connection: Connection) -> list[PeerRecord]:
            table = schema.peers
            query = select(table.c.peer_id, table.c.addresses, table.c.seen_us)
            records: list[PeerRecord] = []
            for peer, addresses, seen_us in connection.execute(query):
                try:
                    records.append(_peer_record(peer, addresses, seen_us))
                except (CodecError, IdentifierError, TypeError):
                    # An address is a hint: without it the peer is found in other ways.
                    logger.warning("storage.peer.damaged")
            return records

        return await self._reader.read(read)

    async def save_own_record(self, name: bytes, sealed: bytes | None) -> None:
        def change(connection: Connection, _heads: Heads) -> None:
            table = schema.own_records
            connection.execute(delete(table).where(table.c.name == name))
            if sealed is not None:
                connection.execute(insert(table), {"name": name, "sealed": sealed})

        await self._writer.change(change, size=len(sealed or b""))

    async def own_records(self) -> Mapping[bytes, bytes]:
        def read(connection: Connection) -> dict[bytes, bytes]:
            table = schema.own_records
            found: dict[bytes, bytes] = {}
            for name, sealed in connection.execute(select(table.c.name, table.c.sealed)):
                if type(name) is bytes and type(sealed) is bytes:
                    found[name] = sealed
                else:
                    logger.warning("storage.own_record.damaged")
            return found

        return await self._reader.read(read)


def _peer_record(peer: object, addresses: object, seen_us: object) -> PeerRecord:
    if not (type(peer) is bytes and type(addresses) is bytes and type(seen_us) is int):
        raise TypeError("a column of another type than was written")
    values = decode_array(addresses, bytes_max=_ADDRESSES_BYTES_MAX)
    texts = (take_text(value, bytes_max=ADDRESS_BYTES_MAX) for value in values)
    return PeerRecord(peer=PeerId(peer), addresses=tuple(texts), seen_us=seen_us)
