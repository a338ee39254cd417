"""Operations on one direction of a channel: what was said before need not be said again."""

from domain import limits
from domain.connectivity.close_codes import CloseCode
from domain.errors import OperationError, PeerError
from domain.identifiers import DocumentId, LogKey, OperationId
from domain.operations.kind import Kind
from domain.operations.operation import Extension, Operation, rebuild
from domain.sync.message import BodyPart, CompactOperation, LogReference, Message

Last = tuple[int, int, OperationId]
"""The last operation of a log on this direction: sequence number, timestamp, id."""


class OutgoingWire:
    """Makes messages of operations for the peer."""

    def __init__(self) -> None:
        self._numbers: dict[LogKey, int] = {}
        self._last: dict[LogKey, Last] = {}

    def refer(self, log: LogKey) -> LogReference:
        """Name a log: in full the first time, then by number."""
        number = self._numbers.get(log)
        if number is not None:
            return number
        if len(self._numbers) < limits.HAVE_LOGS_MAX:
            self._numbers[log] = len(self._numbers)
        return log

    def compact(self, operation: Operation) -> list[Message]:
        """Give the messages that carry an operation: itself, and its body in parts where that is large."""
        log, seq_num, extension = operation.log, operation.header.seq_num, operation.extension
        last = self._last.get(log)
        follows = last is not None and last[0] == seq_num - 1
        before = last[1] if follows and last is not None else 0
        self._last[log] = (seq_num, extension.timestamp, operation.operation_id)
        is_large = len(operation.body) > limits.BODY_PART_BYTES_MAX
        messages: list[Message] = [
            CompactOperation(
                log=self.refer(log),
                seq_num=seq_num,
                signature=operation.header.signature,
                timestamp=extension.timestamp - before,
                kind=extension.kind,
                prune=extension.prune,
                backlink=None if follows else operation.header.backlink,
                previous=extension.previous,
                secret=extension.secret,
                body=len(operation.body) if is_large else operation.body,
                root=None if operation.branch is None else extension.log_id,
            )
        ]
        if is_large:
            step = limits.BODY_PART_BYTES_MAX
            parts = (operation.body[at : at + step] for at in range(0, len(operation.body), step))
            messages.extend(BodyPart(data=part) for part in parts)
        return messages


class IncomingWire:
    """Rebuilds operations from the peer's messages.

    Args:
        document: The document that the channel is about.
    """

    def __init__(self, document: DocumentId) -> None:
        self._document = document
        self._logs: list[LogKey] = []
        self._known: set[LogKey] = set()
        self._last: dict[LogKey, Last] = {}
        self._partial: CompactOperation | None = None
        self._parts = bytearray()  # one buffer: a list of one-byte parts takes eight times as much
        self._missing_bytes = 0

    def resolve(self, reference: LogReference) -> LogKey:
        """Give the log that the peer means.

        Raises:
            PeerError: It used a number that it has not given, or names more logs than a document may have.
        """
        if not isinstance(reference, int):
            if reference not in self._known:
                if len(self._logs) >= limits.HAVE_LOGS_MAX:
                    raise PeerError(CloseCode.PROTOCOL_ERROR, "too many logs on one channel")
                self._logs.append(reference)
                self._known.add(reference)
            return reference
        if reference >= len(self._logs):
            raise PeerError(
                CloseCode.PROTOCOL_ERROR, f"log number {reference} was never introduced"
            )
        return self._logs[reference]

    def take(self, message: CompactOperation) -> tuple[LogKey, Operation | None]:
        """Rebuild an operation; None while parts of its body are still to come.

        Raises:
            PeerError: A body is still incomplete, or what was left out cannot be known.
            OperationError: It is not well formed.
        """
        if self._partial is not None:
            raise PeerError(CloseCode.PROTOCOL_ERROR, "an operation in the middle of a body")
        log = self.resolve(message.log)
        if isinstance(message.body, int):
            self._partial, self._missing_bytes = message, message.body
            return log, None
        return log, self._rebuild(message, log, message.body)

    def take_part(self, part: BodyPart) -> tuple[LogKey, Operation | None]:
        """Take the next part of a body, and rebuild the operation with the last one.

        Raises:
            PeerError: No part was announced, or it is larger than what is missing.
            OperationError: The operation is not well formed.
        """
        message = self._partial
        if message is None or len(part.data) > self._missing_bytes:
            raise PeerError(CloseCode.PROTOCOL_ERROR, "a part of a body that was not announced")
        self._parts += part.data
        self._missing_bytes -= len(part.data)
        log = self.resolve(message.log)
        if self._missing_bytes:
            return log, None
        body = bytes(self._parts)
        self._partial = None
        self._parts.clear()
        return log, self._rebuild(message, log, body)

    def _rebuild(self, message: CompactOperation, log: LogKey, body: bytes) -> Operation:
        seq_num = message.seq_num
        backlink, timestamp = message.backlink, message.timestamp
        if seq_num and backlink is None:
            last = self._last.get(log)
            if last is None or last[0] != seq_num - 1:
                raise PeerError(
                    CloseCode.PROTOCOL_ERROR, "an operation whose backlink cannot be known"
                )
            _, before, backlink = last
            timestamp += before
        is_genesis = message.kind == Kind.GENESIS
        extension = Extension(
            log_id=message.root or log.log_id,
            timestamp=min(timestamp, limits.TIMESTAMP_MAX),
            prune=message.prune,
            kind=message.kind,
            document=None if is_genesis or (seq_num and not message.prune) else self._document,
            previous=message.previous,
            secret=message.secret,
        )
        if message.root == log.log_id:
            raise OperationError("malformed", "a log that did not fork is no branch of itself")
        if not seq_num and backlink is not None:
            raise OperationError("wrong-backlink", "the first operation of a log has none")
        header = rebuild(
            author=log.author,
            signature=message.signature,
            seq_num=seq_num,
            backlink=backlink,
            extension=extension,
            body=body,
        )
        operation = Operation.assemble(header, body).in_branch(log)
        self._last[log] = (seq_num, extension.timestamp, operation.operation_id)
        return operation
