"""Whether an operation has the form that its place in its log asks for."""

from typing import NamedTuple

from domain import limits
from domain.errors import OperationError
from domain.identifiers import DocumentId, SecretId
from domain.operations.kind import Kind, is_content
from domain.operations.operation import Operation


class LogEnd(NamedTuple):
    """What the next operation of a log is checked against: what kind of log it is, its last timestamp and secret."""

    is_content: bool
    timestamp: int
    secret: SecretId | None


def is_genesis(operation: Operation, document: DocumentId) -> bool:
    """Whether that operation founded the document."""
    return bytes(operation.operation_id) == bytes(document)


def check_form(
    operation: Operation, document: DocumentId, end: LogEnd | None, device_logs: int
) -> None:
    """Check what depends on the operation, the end of its log, and how many logs its author had before.

    Args:
        operation: The operation.
        document: The document.
        end: What it follows in its log; None where it begins one.
        device_logs: How many logs its author has in its causal past.

    Raises:
        OperationError: No replica takes it there.
    """
    extension, seq_num = operation.extension, operation.header.seq_num
    genesis = is_genesis(operation, document)
    named = None if genesis or (seq_num and not extension.prune) else document
    if extension.document != named:
        raise OperationError(
            "wrong-document", "it names another document, or names one where it must not"
        )
    if genesis != (extension.kind == Kind.GENESIS):
        raise OperationError(
            "wrong-genesis", "a document has one genesis operation, whose id is its own"
        )
    content = is_content(extension.kind)
    if extension.prune and not content:
        raise OperationError("wrong-prune", "control logs are never pruned")
    if content != (
        extension.secret is not None or (content and end is not None and end.secret is not None)
    ):
        raise OperationError(
            "wrong-secret",
            "content names the secret that seals it, control operations name none",
        )
    if end is None:
        if device_logs >= limits.LOGS_PER_DEVICE_MAX:
            raise OperationError("too-many-logs", f"the device has {device_logs} logs already")
        return
    if content != end.is_content:
        raise OperationError("wrong-log", "control operations and content do not share a log")
    if extension.timestamp < end.timestamp:
        raise OperationError("wrong-timestamp", "timestamps of a log never go back")
