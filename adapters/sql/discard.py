"""How the ends of logs are deleted: what came after the first of them is written again, so that no gap stays."""

from collections.abc import Mapping

from sqlalchemy import Connection, delete

from adapters.sql import schema
from adapters.sql.append import Append, append
from adapters.sql.head import Heads
from adapters.sql.read import Page, read_after, read_first
from domain.identifiers import DocumentId, LogKey

EVERYTHING = 2**62


def discard(
    connection: Connection, heads: Heads, document: DocumentId, logs: Mapping[LogKey, int]
) -> None:
    """Delete the ends of logs; see `OperationStore.discard`.

    Args:
        connection: In a transaction, which must be given up if this fails.
        heads: What is known of the documents; changed, so to be cleared if this fails.
        document: The document.
        logs: From which sequence number on each log goes.

    Raises:
        StorageCorruptError: Something that arrived after the first of them is not what was written.
    """
    first = read_first(connection, document, logs)
    if first is None:
        return
    page = Page(after=first - 1, count_max=EVERYTHING, bytes_max=EVERYTHING)
    arrivals = read_after(connection, document, page)
    kept = [
        arrival.operation
        for arrival in arrivals
        if arrival.operation.seq_num < logs.get(arrival.operation.log, EVERYTHING)
    ]
    head = heads.get(connection, document)
    operations, snapshots = schema.operations, schema.snapshots
    connection.execute(
        delete(operations).where(operations.c.document == head.row, operations.c.arrival >= first)
    )
    connection.execute(delete(snapshots).where(snapshots.c.document == head.row))
    heads.drop(document)
    append(connection, heads, [Append(document, kept)], is_careful=False)
