"""One document of one device: the ledger of its operations, the replica of its log, and the `Doc` that is edited.

A local transaction is visible at once; `stage` turns what has gathered into signed operations, which take effect in the
ledger once the store has them (`settle`). Operations of others enter the ledger (`receive`), are stored, and only then
applied (`apply`). Nothing here waits or stores: `node` does, in this order, one step at a time.

Invariant: `ydoc` = replica + `pending` edits, at every moment at which no call is running.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pycrdt import Doc, Subscription, TransactionEvent

from domain import codec, limits
from domain.account import Account
from domain.authorship import Author
from domain.codec import CodecError
from domain.crdt.engine import apply, apply_each, is_in_transaction, make_doc, state_of
from domain.crdt.judged import Judged
from domain.crdt.replica import Replica
from domain.crdt.walker import is_complete
from domain.errors import (
    EngineError,
    IdentifierError,
    NotPermittedError,
    OperationError,
    StorageCorruptError,
    UpdateError,
)
from domain.events import DocumentReloaded, EditsRefused, Event
from domain.identifiers import DocumentId, LogKey, Position
from domain.identity import DeviceKey
from domain.keyring import Keyring
from domain.ledger.claim import client_id
from domain.ledger.gate import Admitted, Gate
from domain.ledger.ledger import Height, Ledger
from domain.ledger.membership import CHANGING_KINDS
from domain.ledger.permission import explain
from domain.operations.control import Claim, ControlBody, Role
from domain.operations.kind import Kind
from domain.operations.operation import Operation
from domain.pending import GONE, PendingEdits
from domain.ports.environment import Entropy
from domain.record import DocumentRecord
from domain.sealing import DocumentSecret
from domain.secrets import SecretInUse

SNAPSHOT_VERSION = 6


@dataclass(frozen=True, slots=True)
class Received:
    """What became of received operations: those now in the ledger have to be stored, then applied."""

    admitted: Admitted
    forged: list[Operation] = field(default_factory=list)


class Document:
    """A document as this device has it.

    Args:
        key: Our device key.
        document: Its id.
        record: Which logs are ours.
        keyring: The secrets that we hold.
    """

    def __init__(
        self, key: DeviceKey, document: DocumentId, record: DocumentRecord, keyring: Keyring
    ) -> None:
        self.key = key
        self.document = document
        self.record = record
        self.keyring = keyring
        self._start_empty()
        self.on_edit: Callable[[], None] = lambda: None
        self.on_observers_failed: Callable[[Exception], None] = lambda _: None
        self.events: list[Event] = []
        self._lost: dict[bytes, None] = {}
        self.rebuild_reason: str | None = None
        self.has_returned = False
        """Whether somebody had operations of our logs that we had not: until we go on in new logs nothing is shown,
        as edits that are pending have the clocks of what came back."""
        self.pending = PendingEdits(client_id(self.author.content_log))
        self._observed: tuple[Doc[Any], Subscription] | None = None
        self.ydoc: Doc[Any] = self._adopt(make_doc(self.pending.client))

    def _start_empty(self, quarantined: frozenset[Position] = frozenset()) -> None:
        self.ledger = Ledger(self.document)
        self.account = Account(self.ledger)
        self._wire(Replica(self.key.peer, self.ledger, self.keyring.secrets, quarantined))

    def _wire(self, replica: Replica) -> None:
        self.gate = Gate(self.ledger)
        self.replica = replica
        self._secret_in_use = SecretInUse(
            self.ledger,
            self.keyring.secrets,
            lambda: self.replica.seen(self.author.content_log),
        )
        self.author = Author(
            self.key,
            self.document,
            self.record,
            self.ledger,
            self.current_secret,
            lambda: self.replica.tips,
        )
        self.ledger.claims.derive(self.author.content_log)

    @property
    def heights(self) -> dict[LogKey, Height]:
        """How far each log goes as others are told."""
        return self.account.heights

    # -- Permission --

    @property
    def role(self) -> Role | None:
        """Our role by everything that this replica has."""
        return self.ledger.membership.role(self.key.peer)

    @property
    def may_write(self) -> bool:
        """Whether our edits would be accepted."""
        role = self.role
        return role is not None and role >= Role.WRITE and self.ledger.read_only_reason is None

    # -- Secrets --

    def current_secret(self) -> DocumentSecret | None:
        """Give the secret to seal content with: the causally latest clean one that we hold and can name."""
        return self._secret_in_use.get()

    @property
    def needs_secret(self) -> bool:
        """Whether edits wait for us to make a secret."""
        return bool(self.pending) and self.may_write and self.current_secret() is None

    # -- Editing --

    def _adopt(self, ydoc: "Doc[Any]") -> "Doc[Any]":
        self.release()
        self._observed = ydoc, ydoc.observe(self._take_update)
        return ydoc

    def release(self) -> None:
        """Take no more edits from `ydoc`; a `Doc` that is observed is never freed."""
        if self._observed is not None:
            ydoc, subscription = self._observed
            ydoc.unobserve(subscription)
            self._observed = None

    def _take_update(self, event: TransactionEvent) -> None:
        if self.pending.take(event.update):
            self.on_edit()

    def stage(self, *, now_us: int, entropy: Entropy) -> list[Operation]:
        """Sign what has gathered, up to 32 operations; give everything that is signed and not yet durable, in order.

        What cannot be accepted by anybody is taken back: `events` says so and `rebuild_reason` is set.
        """
        while (
            self.pending
            and self.rebuild_reason is None
            and len(self.author.staged) < limits.STAGED_OPERATIONS_MAX
            and not self.is_stranded
        ):
            if not self.may_write:
                reason = self.ledger.read_only_reason or "this device may not write in the document"
                self._take_back(reason, ())
                break
            if self.current_secret() is None:
                break
            group = self.pending.next_group()
            if not self._stage_group(group, now_us, entropy):
                break
        return [entry.operation for entry in self.author.staged]

    def _stage_group(self, group: Sequence[bytes], now_us: int, entropy: Entropy) -> bool:
        """Sign one group; False where the rest has to wait for what was staged."""
        try:
            unclaimed = self.pending.foreign_clients(group, self._is_ours, self.replica.next_clock)
            if unclaimed:
                self._claim(unclaimed, now_us, entropy)
                self.pending.put_back(group)
                return False
            gathered = self.replica.gather(group, self.pending.ends(group))
            if gathered is None:
                return True
            update, walk = gathered
            log = self.author.content_log
            self.replica.check_own(walk, log, self.author.next_seq_num(log))
        except (UpdateError, EngineError, OperationError) as error:
            self._take_back(str(error), group)
            return False
        operation = self.author.write_update(update, walk, now_us=now_us, entropy=entropy)
        self.replica.advance_own(walk, operation.header.seq_num)
        return True

    def _is_ours(self, client: int) -> bool | None:
        owner = self.ledger.claims.owner(client)
        return None if owner is None else owner == self.author.content_log

    def check_import(self, update: bytes) -> None:
        """Check that an update made elsewhere may be applied to `ydoc`.

        Raises:
            UpdateError: It is malformed, or brings structs of a client id that belongs to another author.
        """
        self.pending.foreign_clients([update], self._is_ours, self.replica.next_clock)

    def _claim(self, clients: Iterable[int], now_us: int, entropy: Entropy) -> None:
        """Stage a claim of foreign client ids, unless one is on its way."""
        if self.author.staged:
            return
        body = Claim(log_id=self.author.content_log.log_id, clients=tuple(sorted(clients)))
        self.author.write_control(Kind.CLAIM, body, now_us=now_us, entropy=entropy)

    def _take_back(self, reason: str, group: Sequence[bytes]) -> None:
        self._tell_refused(reason, self.pending.refuse(group))
        self.rebuild_reason = f"edits were refused: {reason}"

    def _tell_refused(self, reason: str, updates: Iterable[bytes]) -> None:
        event = EditsRefused(document=self.document, reason=reason, updates=tuple(updates))
        self.events.append(event)

    def write_control(
        self, kind: Kind, body: ControlBody, *, now_us: int, entropy: Entropy
    ) -> Operation:
        """Sign and stage a control operation of our own; a change of membership alone, with nothing else staged.

        Raises:
            NotPermittedError: We may not do that, or it cannot be done; every replica would refuse it.
        """
        try:
            if kind in CHANGING_KINDS:
                assert not self.author.staged, "what is staged may have a say in it"
                self.ledger.check_change(self.key.peer, body, self.replica.seen())
            return self.author.write_control(kind, body, now_us=now_us, entropy=entropy)
        except OperationError as error:
            raise NotPermittedError(explain(error)) from None

    def settle(self, staged: Sequence[Operation]) -> Admitted:
        """Say that staged operations are durable: they enter the ledger, and with them what waited for them."""
        admitted = self.gate.admit(list(staged))
        self.author.settle(staged)
        self.replica.note_own(staged)
        self.account.commit(staged)
        self._look_for_outdated()
        return admitted

    # -- Operations of others --

    def receive(self, operations: Sequence[Operation]) -> Received:
        """Check operations (one Ed25519 verification each) and let them into the ledger, or park them.

        Those that entered have to be stored; until then nobody may be told that we have them. If storing fails, the
        document has to be opened again from the store.
        """
        signed: list[Operation] = []
        forged: list[Operation] = []
        for operation in operations:
            if self.ledger.holds(operation.operation_id) or self.gate.holds(operation.operation_id):
                continue
            (signed if operation.is_signed() else forged).append(operation)
        admitted = self.gate.admit(signed)
        self.ledger.trim()
        return Received(admitted, forged)

    def look_for_returned(self, operations: Iterable[Operation]) -> None:
        """See whether committed operations of others are ours, before they are applied."""
        own_logs = self.own_logs
        self.has_returned |= any(operation.root in own_logs for operation in operations)

    def apply(self, operations: Sequence[Operation]) -> Judged:
        """Judge committed operations of others and apply them; in causal order.

        Where the engine fails, or what was applied counts no longer, `rebuild_reason` is set and the rest of the batch
        is left to the rebuild.
        """
        if self._look_for_outdated():
            return Judged()
        try:
            judged = self.replica.judge(operations)
        except EngineError as error:
            self.rebuild_reason = str(error)
            return Judged()
        for _, update in judged.applied:
            self.pending.defer(update)
        self.show()
        return judged

    def _look_for_outdated(self) -> bool:
        """Have the document rebuilt, if something that is in it counts no longer, or the other way round."""
        if self.replica.is_outdated:
            self.rebuild_reason = "a change of membership has changed what counts"
        if self.replica.hangs_on(self.ledger.claims.contested):
            self.rebuild_reason = "a client id was claimed twice"
        self.ledger.claims.contested.clear()
        return self.rebuild_reason is not None

    @property
    def is_in_transaction(self) -> bool:
        """Whether somebody has a transaction of `ydoc` open."""
        return is_in_transaction(self.ydoc)

    def show(self) -> None:
        """Apply to `ydoc` what is committed and not yet visible, unless the embedder has a transaction open."""
        if self.has_returned or self.is_in_transaction:
            return
        with self.pending.showing() as updates:
            try:
                for failed in apply_each(self.ydoc, updates):
                    self.on_observers_failed(failed)
            except EngineError as error:
                self.rebuild_reason = str(error)

    # -- What waited --

    def take_waiting(self) -> dict[LogKey, int]:
        """Let what waits be judged again: give, per log, the first that does; read from there, then `apply`."""
        return self.replica.take_waiting()

    # -- Rebuilding --

    def start_rebuild(self) -> Replica:
        """Begin anew with an empty replica; feed it the whole log by `judge`, then `finish_rebuild`."""
        old = self.replica
        return Replica(
            self.key.peer, self.ledger, self.keyring.secrets, old.quarantined, old.suspects
        )

    def feed(self, replica: Replica, operations: Sequence[Operation]) -> Judged | None:
        """Feed stored operations to a replica that is being rebuilt; None where the engine failed on one."""
        try:
            return replica.judge(operations)
        except EngineError:
            return None

    def finish_rebuild(self, replica: Replica) -> None:
        """Put a rebuilt replica in place, and a new `ydoc` of it and of what is pending.

        Raises:
            EngineError: The replica cannot be encoded.
        """
        for entry in self.author.staged:
            if entry.update is not None and entry.walk is not None:
                replica.gather([entry.update], {})
                replica.advance_own(entry.walk, entry.operation.header.seq_num)
        reason, self.rebuild_reason = self.rebuild_reason or "rebuilt", None
        self.replica = replica
        self.pending.forget_deferred()
        fresh = make_doc(self.pending.client, replica.state())
        refused, why = self.pending.move_to(fresh)
        if refused:
            self._tell_refused(why, refused)
        self.ydoc = self._adopt(fresh)
        self.events.append(DocumentReloaded(document=self.document, reason=reason))

    # -- Going on in new logs --

    @property
    def own_logs(self) -> tuple[LogKey, LogKey]:
        """Our logs of control operations and of content."""
        return self.author.control_log, self.author.content_log

    @property
    def is_stranded(self) -> bool:
        """Whether we are a member, and what we write in our logs would not count, or fork them once more."""
        if self.role is None:
            return False
        logs = [log for key in self.own_logs if (log := self.ledger.log(key)) is not None]
        is_void = any(log.slot in self.ledger.counting.void_slots for log in logs)
        return is_void or any(key in self.ledger.forks.logs for key in self.own_logs)

    def go_on_as(self, fresh: "Document", reason: str) -> None:
        """Become what was brought up from the store with our new logs, and with the edits that were pending here.

        Args:
            fresh: This document, which has adopted what is pending here and not refused by all.
            reason: Why, for the event.
        """
        _, refused, why = self.pending.split()
        fresh.release()
        self.record, self.ledger = fresh.record, fresh.ledger
        parked = self.gate.parked
        self._wire(fresh.replica)
        self.gate.go_on_with(parked)
        self.account = fresh.account
        fresh.pending.go_on_from(self.pending)
        self.pending, self.rebuild_reason = fresh.pending, fresh.rebuild_reason
        self._lost = fresh._lost  # noqa: SLF001 - its twin
        total, gone = self.pending.total_count, len(refused) + len(self._lost)
        if gone:
            self.pending.note_refused(max(total - gone, 0))
        self.tell_lost()
        if refused:
            self._tell_refused(why, refused)
        self.has_returned = False
        self.ydoc = self._adopt(fresh.ydoc)
        self.events.append(DocumentReloaded(document=self.document, reason=reason))

    def adopt(self, update: bytes) -> None:
        """Take an edit that is to be written; as if somebody had just made it.

        One that builds on something that is gone is not taken, nor are those that build on it: the engine would hold
        them back, and everything after them. `tell_lost` says so.
        """
        try:
            if is_complete(update, state_of(self.ydoc)):
                apply(self.ydoc, update)
                return
        except (EngineError, UpdateError):
            pass
        self._lost[update] = None

    def tell_lost(self) -> None:
        """Have an event say which edits could not be adopted, once."""
        lost, self._lost = self._lost, {}
        if lost:
            self._tell_refused(GONE, lost)

    # -- Opening and keeping --

    def replay(self, operations: Sequence[Operation]) -> Judged:
        """Take in operations from our own store, in arrival order; `open_ydoc` at the end.

        Raises:
            StorageCorruptError: They do not follow what came before.
        """
        admitted = self.gate.replay(operations)
        if len(admitted.entered) != len(operations):
            raise StorageCorruptError(f"the stored log of document {self.document.short} has gaps")
        self.account.commit(operations)
        if self._look_for_outdated():
            return Judged()
        try:
            return self.replica.judge(operations)
        except EngineError as error:
            self.rebuild_reason = str(error)
            return Judged()

    def start_over(self) -> None:
        """Forget what was restored and replayed: the next to be replayed is the first operation of all."""
        self._start_empty()
        self.rebuild_reason = None

    def open_ydoc(self) -> None:
        """Make `ydoc` of the replica, once everything is replayed.

        Raises:
            EngineError: The replica cannot be encoded or loaded.
        """
        self.ledger.claims.contested.clear()
        self.ledger.trim()
        self.ydoc = self._adopt(make_doc(self.pending.client, self.replica.state()))

    def snapshot(self) -> bytes | None:
        """Give the whole state for fast opening (seal it); None while something is unstored, blocked or failing."""
        if self.author.staged or self.replica.is_blocked or self.rebuild_reason is not None:
            return None
        if self.ledger.heights() != self.account.stored:  # a step is on its way, and may yet fail
            return None
        try:
            data = codec.encode((SNAPSHOT_VERSION, self.ledger.to_value(), self.replica.to_value()))
        except EngineError as error:
            self.rebuild_reason = str(error)
            return None
        return data if len(data) <= limits.SNAPSHOT_BYTES_MAX else None

    def restore(self, data: bytes) -> None:
        """Take in what `snapshot` gave; replay what was stored since, then `open_ydoc`.

        Raises:
            StorageCorruptError: It is something else; the document is empty then.
        """
        try:
            version, ledger, replica = codec.decode_array(data, bytes_max=limits.SNAPSHOT_BYTES_MAX)
            codec.take_int(version, minimum=SNAPSHOT_VERSION, maximum=SNAPSHOT_VERSION)
            self.ledger = Ledger.from_value(self.document, ledger)
            self._wire(Replica(self.key.peer, self.ledger, self.keyring.secrets))
            self.replica.restore(replica)
            self.account = Account(self.ledger, self.ledger.heights())
        except (
            CodecError,
            IdentifierError,
            OperationError,
            EngineError,
            UpdateError,
            ValueError,
            IndexError,
        ) as error:
            self._start_empty()
            raise StorageCorruptError(f"a snapshot cannot be read: {error}") from None
