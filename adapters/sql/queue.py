"""The operation queue on SQL: acknowledged heights.

Heights gather in memory and are written after a second, or along with any change before that: an acknowledgement costs
no commit of its own. They do not ride along with operations, because somebody waits for those: a person who types.
"""

import asyncio
import logging
from collections.abc import Mapping
from typing import TypeAlias

from sqlalchemy import Connection, bindparam, delete, insert, select

from adapters.sql import schema
from adapters.sql.head import Heads
from adapters.sql.reader import Reader
from adapters.sql.writer import ChangeWork, Rider, Writer
from domain.errors import IdentifierError, StorageError
from domain.identifiers import DocumentId, LogId, LogKey, PeerId
from domain.limits import ACKNOWLEDGED_FLUSH_S, ACKNOWLEDGED_PENDING_MAX
from domain.ports.storage import OperationQueue

logger = logging.getLogger(__name__)

Heights: TypeAlias = dict[DocumentId, dict[PeerId, dict[LogKey, int]]]


class SqlOperationQueue(OperationQueue, Rider):
    """Keeps acknowledged heights in a database.

    Args:
        writer: Writes; carries this along.
        reader: Reads.
    """

    def __init__(self, writer: Writer, reader: Reader) -> None:
        self._writer = writer
        self._reader = reader
        self._pending: Heights = {}
        self._writing: Heights = {}
        self._pending_count = 0
        self._written = 0
        self._timer: asyncio.TimerHandle | None = None
        self._is_due = False
        self._has_failed = False
        self._is_closed = False
        writer.carry(self)

    async def acknowledge(
        self, peer: PeerId, document: DocumentId, heights: Mapping[LogKey, int]
    ) -> None:
        if not heights:
            return
        if self._pending_count + len(heights) > ACKNOWLEDGED_PENDING_MAX:
            await self.flush()
        _merge(self._pending, document, peer, heights)
        self._pending_count += len(heights)
        self._set_timer()

    async def acknowledged(self, document: DocumentId) -> Mapping[PeerId, Mapping[LogKey, int]]:
        while True:
            written = self._written
            stored = await self._reader.read(lambda connection: _read(connection, document))
            # What was committed while we read is in neither the answer nor in memory: read again.
            if written == self._written:
                break
        state: Heights = {document: stored}
        for newer in (self._writing, self._pending):
            for peer, heights in newer.get(document, {}).items():
                _merge(state, document, peer, heights)
        return state[document]

    async def flush(self) -> None:
        """Write what has gathered; durable on return."""
        # A transaction with nothing in it carries what has gathered.
        self._has_failed = False
        await self._writer.change(_nothing)

    def board(self, *, is_hurried: bool) -> ChangeWork | None:
        is_called = self._is_due or not (is_hurried or self._has_failed)
        if not (is_called and self._pending):
            return None
        self._is_due = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._writing, self._pending = self._pending, {}
        self._pending_count = 0
        return _HeightsWork(self, self._writing)

    def on_written(self) -> None:
        """Note that what boarded is committed."""
        self._writing = {}
        self._written += 1

    def on_failed(self, error: StorageError) -> None:
        """Keep what boarded for another try in a while."""
        logger.warning("storage.heights.failed", extra={"error": type(error).__name__})
        older, newer = self._writing, self._pending
        self._writing = {}
        for document, peers in newer.items():
            for peer, heights in peers.items():
                _merge(older, document, peer, heights)
        self._pending = older
        self._pending_count = _count(older)
        self._has_failed = True
        self._set_timer()

    def close(self) -> None:
        """Let the last transaction of the writer carry what has gathered; nothing is written later."""
        self._is_closed = self._is_due = True
        self._has_failed = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set_timer(self) -> None:
        if self._timer is None and not self._is_closed:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(ACKNOWLEDGED_FLUSH_S, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._is_due = True
        self._has_failed = False
        self._writer.wake()


class _HeightsWork(ChangeWork):
    """Heights on their way to the database."""

    def __init__(self, queue: SqlOperationQueue, heights: Heights) -> None:
        super().__init__(self._write, rows=_count(heights))
        self._queue = queue
        self._heights = heights

    def succeed(self, result: int) -> None:
        if not self.is_over:
            super().succeed(result)
            self._queue.on_written()

    def fail(self, error: StorageError) -> None:
        if not self.is_over:
            super().succeed(0)  # nobody waits for it
            self._queue.on_failed(error)

    def _write(self, connection: Connection, heads: Heads) -> None:
        table = schema.acknowledged
        rows: list[dict[str, object]] = []
        for document, peers in self._heights.items():
            head = heads.get(connection, document)
            logs = {log for heights in peers.values() for log in heights}
            log_rows = heads.log_rows(connection, document, logs)
            rows += [
                {
                    "document": head.row,
                    "peer_id": peer,
                    "log": log_rows[log],
                    "height": height,
                    "of_peer": peer,
                    "of_log": log_rows[log],
                }
                for peer, heights in peers.items()
                for log, height in heights.items()
            ]
        if not rows:
            return
        of_same = (
            table.c.log == bindparam("of_log"),
            table.c.peer_id == bindparam("of_peer"),
        )
        keys = [{"of_log": row["of_log"], "of_peer": row["of_peer"]} for row in rows]
        connection.execute(delete(table).where(*of_same), keys)
        values = [{name: row[name] for name in _COLUMNS} for row in rows]
        connection.execute(insert(table), values)


_COLUMNS = ("document", "peer_id", "log", "height")


def _merge(
    state: Heights, document: DocumentId, peer: PeerId, heights: Mapping[LogKey, int]
) -> None:
    state.setdefault(document, {}).setdefault(peer, {}).update(heights)


def _count(state: Heights) -> int:
    return sum(len(heights) for peers in state.values() for heights in peers.values())


def _nothing(_connection: Connection, _heads: Heads) -> None:
    """Change nothing."""


def _read(connection: Connection, document: DocumentId) -> dict[PeerId, dict[LogKey, int]]:
    table, logs, documents = schema.acknowledged, schema.logs, schema.documents
    query = (
        select(table.c.peer_id, logs.c.author, logs.c.log_id, table.c.height)
        .join(logs, logs.c.id == table.c.log)
        .join(documents, documents.c.id == table.c.document)
        .where(documents.c.document_id == document)
    )
    state: Heights = {document: {}}
    for row in connection.execute(query):
        try:
            peer, log, height = _held(*row)
        except (IdentifierError, TypeError):
            # Peers say it again when they are connected next.
            logger.warning("storage.height.damaged", extra={"document": document.short})
        else:
            _merge(state, document, peer, {log: height})
    return state[document]


def _held(peer: bytes, author: bytes, log_id: bytes, height: object) -> tuple[PeerId, LogKey, int]:
    if type(height) is not int:
        raise TypeError("a column of another type than was written")
    return PeerId(peer), LogKey(PeerId(author), LogId(log_id)), height
