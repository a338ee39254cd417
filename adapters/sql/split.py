"""How a log is cut in two: the rows of the end are written again as those of another log, at their places."""

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import Connection, delete, select, update

from adapters.sql import schema
from adapters.sql.append import Append, append
from adapters.sql.head import Heads
from adapters.sql.read import read_at
from adapters.sql.row import operation_check
from domain.identifiers import DocumentId, Position
from domain.ports.storage import LogCut, StoredOperation


def split(
    connection: Connection,
    heads: Heads,
    document: DocumentId,
    cut: LogCut,
    operations: Sequence[StoredOperation],
) -> int:
    """Cut a log in two; see `OperationStore.split`.

    Args:
        connection: In a transaction, which must be given up if this fails.
        heads: What is known of the documents; changed, so to be cleared if this fails.
        document: The document.
        cut: What moves where.
        operations: What is appended then.

    Returns:
        The last arrival index of the document.

    Raises:
        StorageCorruptError: What moves is not what was written.
    """
    head = heads.get(connection, document)
    rows = heads.log_rows(connection, document, {cut.log, cut.rest})
    table, snapshots = schema.operations, schema.snapshots
    query = select(table.c.id, table.c.arrival, table.c.seq_num).where(
        table.c.log == rows[cut.log], table.c.seq_num >= cut.first
    )
    for row, arrival, seq_num in connection.execute(query).all():
        stored = read_at(connection, document, Position(cut.log, seq_num))
        assert stored is not None
        moved = replace(stored, log=cut.rest)
        check = operation_check(document, arrival, moved)
        change = update(table).where(table.c.id == row).values(log=rows[cut.rest], row_check=check)
        connection.execute(change)
    connection.execute(delete(snapshots).where(snapshots.c.document == head.row))
    [last] = append(connection, heads, [Append(document, operations)], is_careful=True)
    return last
