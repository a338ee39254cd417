"""What the writer remembers of documents, so that an append asks the database nothing.

Only the writer uses this, inside its transactions. When one fails, everything is forgotten and read again.
"""

from dataclasses import dataclass, field

from sqlalchemy import Connection, func, insert, select

from adapters.sql import schema
from domain.identifiers import DocumentId, LogId, LogKey, PeerId
from domain.limits import HEADS_CACHED_MAX


@dataclass(slots=True, kw_only=True)
class Head:
    """A document: its row, its last arrival index, and the rows of its logs."""

    row: int
    arrival: int
    log_rows: dict[LogKey, int] = field(default_factory=dict)
    last_log_row: int = 0


class Heads:
    """The heads of documents, read when first needed."""

    def __init__(self) -> None:
        self._heads: dict[DocumentId, Head] = {}

    def clear(self) -> None:
        """Forget everything: a transaction failed, or a document is gone."""
        self._heads.clear()

    def drop(self, document: DocumentId) -> None:
        """Forget one document."""
        self._heads.pop(document, None)

    def get(self, connection: Connection, document: DocumentId) -> Head:
        """Find the head of a document; a new document gets a row."""
        head = self._heads.get(document)
        if head is None:
            if len(self._heads) >= HEADS_CACHED_MAX:
                self.clear()
            head = _read_head(connection, document)
            self._heads[document] = head
        return head

    def log_rows(
        self, connection: Connection, document: DocumentId, logs: set[LogKey]
    ) -> dict[LogKey, int]:
        """Find the rows of logs of a document; new logs get rows."""
        head = self.get(connection, document)
        if not logs <= head.log_rows.keys():
            _read_logs(connection, head)
            new = sorted(logs - head.log_rows.keys())
            if new:
                values = [
                    {"document": head.row, "author": log.author, "log_id": log.log_id}
                    for log in new
                ]
                connection.execute(insert(schema.logs), values)
                _read_logs(connection, head)
        return head.log_rows


def _read_head(connection: Connection, document: DocumentId) -> Head:
    last = (
        select(func.max(schema.operations.c.arrival))
        .where(schema.operations.c.document == schema.documents.c.id)
        .scalar_subquery()
    )
    query = select(schema.documents.c.id, last).where(schema.documents.c.document_id == document)
    found = connection.execute(query).one_or_none()
    if found is not None:
        return Head(row=found[0], arrival=found[1] or 0)
    connection.execute(insert(schema.documents), {"document_id": document})
    found = connection.execute(query).one()
    return Head(row=found[0], arrival=0)


def _read_logs(connection: Connection, head: Head) -> None:
    """Read the logs whose rows came after those already known."""
    table = schema.logs
    query = (
        select(table.c.id, table.c.author, table.c.log_id)
        .where(table.c.document == head.row, table.c.id > head.last_log_row)
        .order_by(table.c.id)
    )
    for row, author, log_id in connection.execute(query):
        head.log_rows[LogKey(PeerId(author), LogId(log_id))] = row
        head.last_log_row = row
