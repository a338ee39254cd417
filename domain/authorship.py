"""Writing operations of our own: signed, chained, and kept until they are durable.

An author never reuses a sequence number. So what has been signed stays `staged`, the very same bytes, until the store
has it; nothing new is signed on top of a place that was given away.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from domain import limits
from domain.crdt.walker import Walk, walk_update
from domain.errors import OperationError
from domain.identifiers import DocumentId, LogId, LogKey, OperationId, Position
from domain.identity import DeviceKey
from domain.ledger.announcements import LedgerPlace
from domain.ledger.ledger import Ledger
from domain.operations.control import ControlBody, Role, encode_body
from domain.operations.device import DeviceMetadata
from domain.operations.kind import Kind
from domain.operations.operation import Extension, Operation, sign
from domain.ports.environment import Entropy
from domain.record import DocumentRecord
from domain.sealing import NONCE_BYTES, DocumentSecret, seal_body

EMPTY_UPDATE = b"\0\0"


@dataclass(frozen=True, slots=True)
class Staged:
    """An own operation that is signed and not yet durable; content with its update."""

    operation: Operation
    update: bytes | None = None
    walk: Walk | None = None


class Author:
    """Writes our two logs of one document.

    Args:
        key: Our device key.
        document: The document.
        record: Which logs are ours.
        ledger: Everything that is committed.
        secret: Gives the secret to seal with, where there is one.
        tips: Gives the operations that we have applied and no other such one builds on.
    """

    def __init__(
        self,
        key: DeviceKey,
        document: DocumentId,
        record: DocumentRecord,
        ledger: Ledger,
        secret: Callable[[], DocumentSecret | None],
        tips: Callable[[], Collection[OperationId]],
    ) -> None:
        self._key = key
        self._document = document
        self._ledger = ledger
        self._secret = secret
        self._tips = tips
        self.staged: list[Staged] = []
        self.control_log = LogKey(key.peer, record.control_log)
        self.content_log = LogKey(key.peer, record.content_log)

    def settle(self, durable: Iterable[Operation]) -> None:
        """Say that staged operations are durable and in the ledger."""
        settled = {operation.operation_id for operation in durable}
        self.staged = [
            entry for entry in self.staged if entry.operation.operation_id not in settled
        ]

    def next_seq_num(self, log: LogKey) -> int:
        """Give the sequence number of the next operation in a log of ours."""
        state = self._ledger.log(log)
        staged = sum(entry.operation.log == log for entry in self.staged)
        return (state.count if state is not None else 0) + staged

    def write_control(
        self, kind: Kind, body: ControlBody, *, now_us: int, entropy: Entropy
    ) -> Operation:
        """Sign and stage a control operation.

        Raises:
            OperationError: Every replica would refuse it, this one when it opens the document again; nothing is staged.
        """
        self._merge_tips(self.control_log, now_us, entropy)
        operation = self._write(self.control_log, kind, encode_body(body), None, now_us=now_us)
        try:
            self._ledger.examine(operation)
        except OperationError:
            self.staged.pop()
            raise
        return operation

    def write_update(
        self, update: bytes, walk: Walk, *, now_us: int, entropy: Entropy
    ) -> Operation:
        """Seal, sign and stage an update."""
        self._merge_tips(self.content_log, now_us, entropy)
        return self._write_update(update, walk, now_us, entropy)

    def write_metadata(
        self, metadata: DeviceMetadata, *, now_us: int, entropy: Entropy
    ) -> Operation:
        """Seal, sign and stage what our device says about itself."""
        self._merge_tips(self.content_log, now_us, entropy)
        return self._write_content(Kind.DEVICE_METADATA, metadata.encode(), now_us, entropy)

    def _write_update(self, update: bytes, walk: Walk, now_us: int, entropy: Entropy) -> Operation:
        operation = self._write_content(Kind.UPDATE, update, now_us, entropy)
        self.staged[-1] = Staged(operation, update, walk)
        return operation

    def _write_content(self, kind: Kind, plain: bytes, now_us: int, entropy: Entropy) -> Operation:
        log, secret = self.content_log, self._secret()
        assert secret is not None  # content is staged only where there is one
        position = Position(log, self.next_seq_num(log))
        nonce = entropy.draw(NONCE_BYTES)
        body = seal_body(secret, self._document, position, kind, plain, nonce=nonce)
        return self._write(log, kind, body, self._name_secret(secret), now_us=now_us)

    def _name_secret(self, secret: DocumentSecret) -> DocumentSecret | None:
        """Name a secret only where it differs from that of the operation before."""
        state = self._ledger.log(self.content_log)
        in_use = state.secret if state is not None else None
        for entry in self.staged:
            if entry.operation.log == self.content_log:
                in_use = entry.operation.extension.secret or in_use
        return None if in_use == secret.secret_id else secret

    def _merge_tips(self, log: LogKey, now_us: int, entropy: Entropy) -> None:
        """Write merges first where an operation would have to list more than 64 others, if we may: else it lists 64."""
        role = self._ledger.membership.role(self._key.peer)
        while (
            role is not None
            and role >= Role.WRITE
            and self._secret() is not None
            and len(self._previous(log)) > limits.PREVIOUS_COUNT_MAX
        ):
            self._write_update(EMPTY_UPDATE, walk_update(EMPTY_UPDATE), now_us, entropy)

    def _previous(self, log: LogKey) -> list[OperationId]:
        """List what a new operation of that log builds on besides its backlink.

        Only what we have applied: what waits here for a secret or a newer culm must not hold up our edits elsewhere.
        But what our role hangs on always: what we write as if we had not heard of it does not count. A device that
        cannot read yet asks for what it lacks.
        """
        tips = {tip for tip in self._tips() if not self._ledger.implies(log, tip)}
        standing = self._own_standing(log, tips)
        tips |= standing
        own_tip = self._tip(log)
        for entry in self.staged:
            tips.discard(entry.operation.header.backlink or entry.operation.operation_id)
            tips.difference_update(entry.operation.extension.previous)
            tips.add(entry.operation.operation_id)
        if own_tip is not None:
            tips.discard(own_tip)
        return [*sorted(tips & standing), *sorted(tips - standing)]  # the first 64 may have to do

    def _own_standing(self, log: LogKey, tips: Collection[OperationId]) -> set[OperationId]:
        """Give what our role hangs on, unless our log or what it builds on next has it in its past already."""
        if any(entry.operation.log == log for entry in self.staged):
            return set()
        state = self._ledger.log(log)
        before = state.vector_before(state.count) if state is not None else {}
        found: set[OperationId] = set()
        for change in self._ledger.membership.standing_of(self._key.peer):
            place = LedgerPlace(change.slot, change.seq_num)
            if change.is_in(before) or self._ledger.is_in_past_of(tips, place):
                continue
            position = Position(self._ledger.log_in(change.slot).key, change.seq_num)
            self._ledger.place(
                change.operation_id, position
            )  # a snapshot remembers those of tips alone
            found.add(change.operation_id)
        return found

    def _tip(self, log: LogKey) -> OperationId | None:
        for entry in reversed(self.staged):
            if entry.operation.log == log:
                return entry.operation.operation_id
        state = self._ledger.log(log)
        return state.tip if state is not None else None

    def _timestamp(self, log: LogKey, now_us: int) -> int:
        """Never before that of the operation before, whatever the clock says."""
        for entry in reversed(self.staged):
            if entry.operation.log == log:
                return max(now_us, entry.operation.extension.timestamp)
        state = self._ledger.log(log)
        return max(now_us, state.timestamp if state is not None else 0)

    def _write(
        self, log: LogKey, kind: Kind, body: bytes, secret: DocumentSecret | None, *, now_us: int
    ) -> Operation:
        seq_num = self.next_seq_num(log)
        extension = Extension(
            log_id=log.log_id,
            timestamp=self._timestamp(log, now_us),
            kind=kind,
            document=self._document if seq_num == 0 else None,
            previous=tuple(sorted(self._previous(log)[: limits.PREVIOUS_COUNT_MAX])),
            secret=secret.secret_id if secret is not None else None,
        )
        header = sign(
            self._key, seq_num=seq_num, backlink=self._tip(log), extension=extension, body=body
        )
        operation = Operation.assemble(header, body)
        self.staged.append(Staged(operation))
        return operation


def write_genesis(key: DeviceKey, log_id: LogId, body: ControlBody, *, now_us: int) -> Operation:
    """Sign the operation that founds a document; its id becomes the document's."""
    data = encode_body(body)
    extension = Extension(log_id=log_id, timestamp=now_us, kind=Kind.GENESIS)
    return Operation.assemble(
        sign(key, seq_num=0, backlink=None, extension=extension, body=data), data
    )
