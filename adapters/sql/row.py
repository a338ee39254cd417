"""How an operation becomes a row, and a row an operation again.

Each row carries a check of all that it says and of where it stands. It guards against a disk that returns something
else than was written, not against somebody who writes on purpose: signatures do that. A row that fails its check
is never delivered.
"""

import struct
from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from blake3 import blake3
from sqlalchemy import Row

from domain.errors import CulmError, StorageCorruptError
from domain.identifiers import DocumentId, LogKey, OperationId
from domain.ports.storage import Arrival, StoredOperation

_CHECK_BYTES: Final = 16
_CONTEXT: Final = b"culm row check v1\0"
_SNAPSHOT_CONTEXT: Final = b"culm snapshot check v1\0"
_PLACE: Final = struct.Struct(">QQQ?")
_ARRIVAL: Final = struct.Struct(">Q")


def operation_check(document: DocumentId, arrival: int, operation: StoredOperation) -> bytes:
    """Compute the check of an operation that stands at that place of the document."""
    body = operation.body
    place = _PLACE.pack(arrival, operation.seq_num, len(operation.header), body is not None)
    parts = (
        _CONTEXT,
        document,
        operation.log.author,
        operation.log.log_id,
        operation.operation_id,
        place,
        operation.header,
        body or b"",
    )
    return blake3(b"".join(parts)).digest(length=_CHECK_BYTES)


def snapshot_check(document: DocumentId, arrival: int, sealed: bytes) -> bytes:
    """Compute the check of a snapshot."""
    parts = (_SNAPSHOT_CONTEXT, document, _ARRIVAL.pack(arrival), sealed)
    return blake3(b"".join(parts)).digest(length=_CHECK_BYTES)


def to_row(
    document: DocumentId,
    *,
    document_row: int,
    log_row: int,
    arrival: int,
    operation: StoredOperation,
) -> dict[str, Any]:
    """Make the values of a row of `schema.operations`."""
    return {
        "document": document_row,
        "arrival": arrival,
        "log": log_row,
        "seq_num": operation.seq_num,
        "operation_id": operation.operation_id,
        "row_check": operation_check(document, arrival, operation),
        "header": operation.header,
        "body": operation.body,
    }


WholeRow: TypeAlias = Row[int, int, int, bytes, bytes, bytes, bytes | None]
"""The columns arrival, log, seq_num, operation_id, row_check, header, body."""


def from_row(document: DocumentId, logs: Mapping[int, LogKey], row: WholeRow) -> Arrival:
    """Make an operation of a row.

    Raises:
        StorageCorruptError: It is not what was written.
    """
    arrival, log, seq_num, operation_id, row_check, header, body = row
    try:
        operation = StoredOperation(
            operation_id=OperationId(operation_id),
            log=logs[log],
            seq_num=seq_num,
            header=header,
            body=body,
        )
        if operation_check(document, arrival, operation) == row_check:
            return Arrival(index=arrival, operation=operation)
    except (CulmError, LookupError, TypeError, struct.error):
        pass  # a flipped bit may change the type or the length of a column as well
    raise damaged(document, f"operation {_name(operation_id)} (number {arrival} to arrive)")


def _name(operation_id: object) -> str:
    return operation_id.hex() if isinstance(operation_id, bytes) else repr(operation_id)[:80]


def damaged(document: DocumentId, what: str) -> StorageCorruptError:
    """Say that something of a document is not what was written."""
    return StorageCorruptError(
        f"document {document}: {what} is damaged on disk: check the disk, put a backup in place,"
        " or forget the document and join it again"
    )
