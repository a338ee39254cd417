"""How operations are read in arrival order.

Arrival indexes of a document have no gaps, and each log arrives in its order: reading relies on both, and a gap is
damage.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, func, select

from adapters.sql import schema
from adapters.sql.append import chunks
from adapters.sql.row import damaged, from_row
from domain.errors import IdentifierError
from domain.identifiers import DocumentId, LogId, LogKey, PeerId, Position
from domain.limits import READ_LOGS_MAX, READ_ROWS_MAX
from domain.ports.storage import Arrival, StoredOperation

_table = schema.operations
_size = func.length(_table.c.header) + func.coalesce(func.length(_table.c.body), 0)
_whole = select(
    _table.c.arrival,
    _table.c.log,
    _table.c.seq_num,
    _table.c.operation_id,
    _table.c.row_check,
    _table.c.header,
    _table.c.body,
)


@dataclass(slots=True, kw_only=True)
class Page:
    """What is asked for, and the arrival indexes chosen so far."""

    after: int
    count_max: int
    bytes_max: int
    size: int = 0
    arrivals: list[int] = field(default_factory=list)

    @property
    def is_full(self) -> bool:
        """Whether nothing more goes on it."""
        return len(self.arrivals) >= self.count_max or self.size >= self.bytes_max

    def add(self, arrival: int, size: int) -> None:
        """Choose an operation of that many bytes."""
        self.arrivals.append(arrival)
        self.size += size


@dataclass(frozen=True, slots=True, kw_only=True)
class _Document:
    """A document and its logs, as they were at the moment of reading."""

    document: DocumentId
    row: int
    logs: dict[int, LogKey]


def read_after(connection: Connection, document: DocumentId, page: Page) -> list[Arrival]:
    """Read a page of everything; see `OperationStore.read`."""
    found = _find(connection, document)
    if found is None:
        return []
    cursor = page.after
    while not page.is_full:
        rows_max = min(READ_ROWS_MAX, page.count_max - len(page.arrivals))
        query = (
            select(_table.c.arrival, _size)
            .where(_table.c.document == found.row, _table.c.arrival > cursor)
            .order_by(_table.c.arrival)
            .limit(rows_max)
        )
        rows = connection.execute(query).all()
        for arrival, size in rows:
            cursor += 1
            if arrival != cursor and page.arrivals:
                raise damaged(document, f"operation number {cursor} to arrive")
            cursor = arrival
            page.add(arrival, size)
            if page.is_full:
                break
        if len(rows) < rows_max:
            break
    return _fetch(connection, found, page.arrivals)


def read_lacked(
    connection: Connection, document: DocumentId, have: Mapping[LogKey, int], page: Page
) -> list[Arrival]:
    """Read a page of what somebody lacks; see `OperationStore.read_missing`."""
    found = _find(connection, document)
    if found is None:
        return []
    lacked: dict[int, int] = {}
    count = 0
    for row, height in _heights(connection, found).items():
        first = have.get(found.logs[row], 0)
        if first < height:
            lacked[row] = first
            count += height - first
    if len(lacked) <= READ_LOGS_MAX:
        if count <= READ_ROWS_MAX:
            _choose_by_log(connection, lacked, page)
            return _fetch(connection, found, page.arrivals)
        page.after = max(page.after, _first_lacked(connection, lacked) - 1)
    if lacked:
        _choose_by_arrival(connection, found, lacked, page)
    return _fetch(connection, found, page.arrivals)


def read_first(
    connection: Connection, document: DocumentId, lacked: Mapping[LogKey, int]
) -> int | None:
    """Find the arrival index of the first operation that is at or after those places; None where there is none."""
    found = _find(connection, document)
    if found is None:
        return None
    rows = {row: lacked[log] for row, log in found.logs.items() if log in lacked}
    held = _heights(connection, found)
    rows = {row: first for row, first in rows.items() if first < held.get(row, 0)}
    return _first_lacked(connection, rows) if rows else None


def read_at(
    connection: Connection, document: DocumentId, position: Position
) -> StoredOperation | None:
    """Read the operation at a place, if there is one."""
    logs, documents = schema.logs, schema.documents
    query = (
        _whole.join(logs, logs.c.id == _table.c.log)
        .join(documents, documents.c.id == logs.c.document)
        .where(
            documents.c.document_id == document,
            logs.c.author == position.log.author,
            logs.c.log_id == position.log.log_id,
            _table.c.seq_num == position.seq_num,
        )
    )
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    arrival = from_row(document, {row.log: position.log}, row)
    if arrival.operation.seq_num != position.seq_num:
        raise damaged(document, f"operation {arrival.operation.operation_id}")
    return arrival.operation


def _find(connection: Connection, document: DocumentId) -> _Document | None:
    query = select(schema.documents.c.id).where(schema.documents.c.document_id == document)
    row = connection.execute(query).scalar_one_or_none()
    if row is None:
        return None
    logs: dict[int, LogKey] = {}
    table = schema.logs
    log_query = select(table.c.id, table.c.author, table.c.log_id).where(table.c.document == row)
    for log_row, author, log_id in connection.execute(log_query):
        try:
            logs[log_row] = LogKey(PeerId(author), LogId(log_id))
        except (IdentifierError, TypeError):
            raise damaged(document, f"log number {log_row}") from None
    return _Document(document=document, row=row, logs=logs)


def _heights(connection: Connection, found: _Document) -> dict[int, int]:
    """Find, per log, the sequence number after the last."""
    logs = schema.logs
    last = select(func.max(_table.c.seq_num)).where(_table.c.log == logs.c.id).scalar_subquery()
    query = select(logs.c.id, last).where(logs.c.document == found.row)
    rows = connection.execute(query)
    return {log: height + 1 for log, height in rows if height is not None}


def _choose_by_log(connection: Connection, lacked: Mapping[int, int], page: Page) -> None:
    """Choose from few operations: look them all up, log by log."""
    places: list[tuple[int, int]] = []
    for log, first in lacked.items():
        query = select(_table.c.arrival, _size).where(
            _table.c.log == log, _table.c.seq_num >= first, _table.c.arrival > page.after
        )
        places += [(arrival, size) for arrival, size in connection.execute(query)]
    for arrival, size in sorted(places):
        if page.is_full:
            break
        page.add(arrival, size)


def _first_lacked(connection: Connection, lacked: Mapping[int, int]) -> int:
    """Find the arrival index of the first operation that is lacked."""
    arrivals: list[int] = []
    for log, first in lacked.items():
        query = (
            select(_table.c.arrival)
            .where(_table.c.log == log, _table.c.seq_num >= first)
            .order_by(_table.c.seq_num)
            .limit(1)
        )
        arrivals += connection.execute(query).scalars()
    return min(arrivals, default=1)


def _choose_by_arrival(
    connection: Connection, found: _Document, lacked: Mapping[int, int], page: Page
) -> None:
    """Choose from many operations: walk through all of them in arrival order."""
    cursor = page.after
    columns = (_table.c.arrival, _table.c.log, _table.c.seq_num, _size)
    while not page.is_full:
        query = (
            select(*columns)
            .where(_table.c.document == found.row, _table.c.arrival > cursor)
            .order_by(_table.c.arrival)
            .limit(READ_ROWS_MAX)
        )
        rows = connection.execute(query).all()
        for arrival, log, seq_num, size in rows:
            cursor = arrival
            if log in lacked and seq_num >= lacked[log]:
                page.add(arrival, size)
                if page.is_full:
                    break
        if len(rows) < READ_ROWS_MAX:
            break


def _fetch(connection: Connection, found: _Document, arrivals: Sequence[int]) -> list[Arrival]:
    """Read the operations with these arrival indexes, which ascend."""
    if not arrivals:
        return []
    of_document = _whole.where(_table.c.document == found.row).order_by(_table.c.arrival)
    if arrivals[-1] - arrivals[0] + 1 == len(arrivals):
        queries = [of_document.where(_table.c.arrival.between(arrivals[0], arrivals[-1]))]
    else:
        queries = [of_document.where(_table.c.arrival.in_(some)) for some in chunks(arrivals)]
    result: list[Arrival] = []
    for query in queries:
        rows = connection.execute(query)
        result += [from_row(found.document, found.logs, row) for row in rows]
    for wanted, arrival in zip(arrivals, result, strict=False):
        if wanted != arrival.index:
            raise damaged(found.document, f"operation number {wanted} to arrive")
    if len(result) != len(arrivals):
        raise damaged(found.document, f"operation number {arrivals[len(result)]} to arrive")
    return result
