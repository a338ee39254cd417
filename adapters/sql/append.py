"""How operations are inserted: those of many callers in one statement.

At first all are taken for new, as they mostly are. If one is not, the insertion fails, its transaction with it, and
the caller concerned is served alone and with care: what is stored already is passed over, and two operations
that want the same place are named.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy import Connection, delete, insert, select

from adapters.sql import schema
from adapters.sql.errors import PlaceTakenError
from adapters.sql.head import Heads
from adapters.sql.row import to_row
from adapters.sql.work import Work
from domain.identifiers import DocumentId, LogKey, OperationId
from domain.limits import QUERY_VALUES_MAX
from domain.ports.storage import StoredOperation

T = TypeVar("T")


class WriteWork(Work[int]):
    """Something to be written; `rows` and `size` (in bytes) say about how much it is."""

    rows: int
    size: int


@dataclass(frozen=True, slots=True)
class Append:
    """Operations to be appended to a document, and records that change with them."""

    document: DocumentId
    operations: Sequence[StoredOperation]
    records: Mapping[bytes, bytes | None] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """How many bytes that is, about."""
        size = sum(len(each.header) + len(each.body or b"") for each in self.operations)
        return size + sum(len(sealed or b"") for sealed in self.records.values())


class AppendWork(WriteWork):
    """An append that somebody waits for; its result is the document's last arrival index."""

    def __init__(self, append: Append) -> None:
        super().__init__()
        self.append = append
        self.rows = len(append.operations) + len(append.records)
        self.size = append.size


def append(
    connection: Connection,
    heads: Heads,
    appends: Sequence[Append],
    *,
    is_careful: bool,
) -> list[int]:
    """Insert all operations, in order.

    Args:
        connection: In a transaction, which must be given up if this fails.
        heads: What is known of the documents; changed, so to be cleared if this fails.
        appends: What to insert.
        is_careful: Whether to look first which operations are stored already.

    Returns:
        For each the last arrival index of its document.

    Raises:
        PlaceTakenError: An operation is stored already (without care), or another has its place.
    """
    logs: dict[DocumentId, set[LogKey]] = defaultdict(set)
    for each in appends:
        logs[each.document].update(operation.log for operation in each.operations)
    rows: list[dict[str, Any]] = []
    results: list[int] = []
    for each in appends:
        operations = each.operations
        head = heads.get(connection, each.document)
        log_rows = heads.log_rows(connection, each.document, logs[each.document])
        if is_careful:
            operations = _without_stored(connection, head.row, operations)
            _check_places(connection, each.document, log_rows, operations)
        for operation in operations:
            head.arrival += 1
            row = to_row(
                each.document,
                document_row=head.row,
                log_row=log_rows[operation.log],
                arrival=head.arrival,
                operation=operation,
            )
            rows.append(row)
        results.append(head.arrival)
    if rows:
        connection.execute(insert(schema.operations), rows)
    for each in appends:
        if each.records:
            head = heads.get(connection, each.document)
            _change_records(connection, head.row, each.records)
    return results


def _change_records(
    connection: Connection, document_row: int, records: Mapping[bytes, bytes | None]
) -> None:
    table = schema.records
    for names in chunks(list(records)):
        connection.execute(
            delete(table).where(table.c.document == document_row, table.c.name.in_(names))
        )
    values = [
        {"document": document_row, "name": name, "sealed": sealed}
        for name, sealed in records.items()
        if sealed is not None
    ]
    if values:
        connection.execute(insert(table), values)


def chunks(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """Cut values into pieces that a query can list."""
    for start in range(0, len(values), QUERY_VALUES_MAX):
        yield values[start : start + QUERY_VALUES_MAX]


def _without_stored(
    connection: Connection, document_row: int, operations: Sequence[StoredOperation]
) -> list[StoredOperation]:
    """Leave out what is stored, and what comes twice."""
    unique = {each.operation_id: each for each in operations}
    table = schema.operations
    for wanted in chunks(list(unique)):
        query = select(table.c.operation_id).where(
            table.c.document == document_row, table.c.operation_id.in_(wanted)
        )
        for (stored,) in connection.execute(query):
            del unique[OperationId(stored)]
    return list(unique.values())


def _check_places(
    connection: Connection,
    document: DocumentId,
    log_rows: dict[LogKey, int],
    operations: Sequence[StoredOperation],
) -> None:
    """Check that every operation has its place for itself."""
    table = schema.operations
    places: dict[tuple[int, int], OperationId] = {}
    for operation in operations:
        place = (log_rows[operation.log], operation.seq_num)
        if place in places:
            raise _taken(document, operation, places[place])
        query = select(table.c.operation_id).where(
            table.c.log == place[0], table.c.seq_num == place[1]
        )
        found = connection.execute(query).scalar_one_or_none()
        if found is not None:
            raise _taken(document, operation, OperationId(found))
        places[place] = operation.operation_id


def _taken(document: DocumentId, operation: StoredOperation, other: OperationId) -> PlaceTakenError:
    return PlaceTakenError(
        f"document {document}: operation {operation.operation_id} cannot be stored, because"
        f" {other} has the same place: number {operation.seq_num} of log"
        f" {operation.log.log_id.short} by {operation.log.author.short}"
    )
