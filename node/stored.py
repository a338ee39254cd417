"""Operations as the domain has them, and as the store keeps them."""

from domain.errors import OperationError, StorageCorruptError
from domain.operations.operation import Operation, decode_operation
from domain.ports.storage import StoredOperation


def to_stored(operation: Operation) -> StoredOperation:
    """Give an operation as the store keeps it."""
    return StoredOperation(
        operation_id=operation.operation_id,
        log=operation.log,
        seq_num=operation.header.seq_num,
        header=operation.header_bytes,
        body=operation.body or None,
    )


def from_stored(stored: StoredOperation) -> Operation:
    """Give a stored operation as the domain has it.

    Raises:
        StorageCorruptError: It is not what was stored.
    """
    try:
        operation = decode_operation(stored.header, stored.body or b"")
    except OperationError as error:
        raise StorageCorruptError(
            f"operation {stored.operation_id.short} is damaged on disk: {error}"
        ) from None
    if operation.operation_id != stored.operation_id:
        raise StorageCorruptError(
            f"operation {stored.operation_id.short} is damaged on disk: it has another id"
        )
    return operation.in_branch(stored.log)
