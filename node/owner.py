"""The one task that owns a document: signs what was edited, takes in what came, stores both, then lets it show.

The order is what makes nothing get lost: an operation is durable before it is applied, announced or acknowledged. One
step runs at a time, so nothing here is locked. While the store fails, the step is repeated, with the same bytes, and
nothing new is taken in: peers are slowed by their own flow control.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Self

from domain import limits
from domain.crdt.judged import Judged
from domain.devices import write_metadata
from domain.document import Document
from domain.errors import (
    CulmError,
    NodeClosedError,
    NotPermittedError,
    UnsavedEditsError,
)
from domain.events import (
    DocumentChanged,
    DocumentDegraded,
    DocumentFailed,
    EditsSaved,
    Event,
)
from domain.identifiers import LogKey, PeerId
from domain.ledger.membership import CHANGING_KINDS
from domain.operations.control import ControlBody
from domain.operations.device import DeviceMetadata
from domain.operations.kind import Kind, is_content
from domain.operations.operation import Operation
from domain.sealing import OVERHEAD_BYTES
from node.archive import DocumentArchive
from node.batch import Batch, CommitListener
from node.bell import Bell
from node.catching_up import CatchingUp
from node.courier import DAY_S, SecretCourier
from node.deadlines import INSTANT_S
from node.environment import Environment
from node.guard import CloneGuard
from node.inbox import Inbox, Incoming
from node.news import MemberNews
from node.persistence import Persistence
from node.receipts import Receipts
from node.sorting import Sorting
from node.transactions import called_in, report_observers

logger = logging.getLogger(__name__)

BATCH_OPERATIONS_MAX = 256  # verifying so many takes about 20 ms; no more holds up the loop

TAKING_KINDS = frozenset({Kind.REMOVE, Kind.SET_ROLE})
"""Changes after which somebody may know a secret who may no longer read."""

Order = ControlBody | DeviceMetadata
"""What is written besides edits."""


class DocumentOwner:
    """Owns one open document.

    Args:
        document: The document, to be brought up by `load`.
        environment: Where its operations are kept, and what else is outside.
        publish: Takes events.
    """

    def __init__(
        self, document: Document, environment: Environment, publish: Callable[[Event], None]
    ) -> None:
        self.document = document
        self.store = environment.store
        self.archive = DocumentArchive(document, environment)
        self.courier = SecretCourier(document, environment)
        self.receipts = Receipts(document, self.archive, environment.queue)
        self.guard = CloneGuard(document, self.archive, environment, publish)
        self._bell = Bell()
        self.persistence = Persistence(document.document, self._bell, publish, self.tell_changed)
        self.sorting = Sorting(document, self.archive, self.guard, self.persistence, publish)
        self.inbox = Inbox()
        self.catching_up = CatchingUp()
        self.on_commit: dict[CommitListener, None] = {}
        self.on_cut: dict[Callable[[], object], None] = {}
        """Called when the ends of logs were deleted here, for which others have something else."""
        self.on_change: Callable[[], None] = lambda: None
        self.forwarding_waits: dict[PeerId, dict[PeerId, float]] = {}
        """For how long what others wrote waits before it goes on to a peer, by author; see `Forwarding`."""
        self.body_bytes = 0
        """Bytes of all content that we wrote, before sealing."""
        self.content_count = 0
        """How many content operations we wrote."""
        self._clock = environment.clock
        self._entropy = environment.entropy
        self._publish = publish
        self._changed = asyncio.Condition()
        self._orders: deque[tuple[Kind, Order, asyncio.Future[Operation]]] = deque()
        self._staged_at = float("-inf")
        self._edit_due: float | None = None
        self.saved_count = 0
        self._handled_count = 0
        self.is_closed = False
        self.ending = "the document is closed"
        self._members = MemberNews(document, publish)
        self._of_own_logs: list[Incoming] = []
        document.on_edit = called_in(asyncio.get_running_loop(), self._take_edit)
        document.on_observers_failed = report_observers
        self.used = (0, 0.0)
        """When it was used last, for comparing: since the node started, or before, by what its logs say."""

    async def load(self) -> None:
        """Bring the document up from the store.

        Raises:
            StorageError: It cannot be read.
        """
        await self.courier.load()
        for judged in await self.archive.load():
            self._report(judged)
        self.document.tell_lost()
        self._members.start()
        await self.receipts.load()
        self.used = (0, self.document.ledger.timestamp_us)

    # -- What the embedder asks --

    def _take_edit(self) -> None:
        """Note an edit: at once after a quiet time, else together with those of the same 20 ms or 64 KiB."""
        now = self._clock.now()
        self.used = (1, now)
        if self.document.pending.size >= limits.COALESCE_BYTES_MAX:
            self._ring_for_edits(now)
        elif self._edit_due is None:
            self._ring_for_edits(max(now, self._staged_at + limits.COALESCE_S_MAX))

    def _ring_for_edits(self, due: float) -> None:
        self._edit_due = due
        self._bell.ring_at(asyncio.get_running_loop().time() + (due - self._clock.now()))

    async def durable(self) -> None:
        """Wait until all edits as of this call are on disk.

        Raises:
            UnsavedEditsError: They cannot be written now; they stay and are tried again.
            NodeClosedError: The document was closed before.
        """
        persistence, target = self.persistence, self.document.pending.total_count
        failure_count = persistence.failure_count
        if self.saved_count >= target:
            return
        self._ring_for_edits(self._clock.now())
        await self.wait_until(
            lambda: self.saved_count >= target or persistence.failure_count > failure_count
        )
        if self.saved_count < target:
            failure = persistence.failure
            raise UnsavedEditsError(f"edits are not on disk: {failure}") from failure

    async def at_rest(self) -> None:
        """Wait until nothing is left to be written again: after a backup, or where we were added again.

        Raises:
            NodeClosedError: The document was closed before.
        """
        await self.wait_until(lambda: not self.guard.is_due and self.document.record.rescue is None)

    async def durable_at_peers(self, count: int) -> None:
        """Wait until so many other member devices that may read hold everything that we had on disk at this call.

        Where we go on in new logs meanwhile, what was written again there is what they have to hold.

        Raises:
            UnsavedEditsError: Our own disk does not take it.
            NodeClosedError: The document was closed before.
        """
        await self.durable()
        await self.wait_until(lambda: not self.guard.is_rewriting)
        renewals, target = self.guard.renewals, dict(self.document.heights)
        await self.wait_until(
            lambda: self.guard.renewals > renewals or len(self.receipts.holders(target)) >= count
        )
        if self.guard.renewals > renewals:
            await self.durable_at_peers(count)

    async def write(self, kind: Kind, body: Order) -> Operation:
        """Write an operation of our own that is no edit; durable on return. Cancelled, it may be written all the same.

        Raises:
            NotPermittedError: Our role does not allow it, or it cannot be done.
            NodeClosedError: The document was closed before.
        """
        written: asyncio.Future[Operation] = asyncio.get_running_loop().create_future()
        written.add_done_callback(lambda done: done.exception())  # if we are cancelled, nobody asks
        if kind in TAKING_KINDS:
            self.courier.pay_at_once()
        self._orders.append((kind, body, written))
        self._bell.ring()
        await self.wait_until(written.done)
        if kind in TAKING_KINDS:
            # Whoever lost the right to read knows the secret: it is done with only when there is another.
            await self.wait_until(lambda: not self.courier.owes_secret)
        return written.result()

    async def rotate(self) -> None:
        """Make a new secret and give it to all members; durable on return. Cancelled, it may be made all the same.

        Raises:
            NotPermittedError: We may not write in the document.
            NodeClosedError: The document was closed before.
        """
        document, before = self.document, self.document.current_secret()
        if document.may_write:
            self.courier.rotate()
            self._bell.ring()
            await self.wait_until(
                lambda: document.current_secret() not in (before, None) or not document.may_write
            )
        if document.current_secret() in (before, None):
            raise NotPermittedError(
                "only who may write in a document can renew its secret; this device may not"
            )

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition holds; it is looked at whenever something about this document changes.

        Raises:
            NodeClosedError: The document was closed before.
        """
        async with self._changed:
            await self._changed.wait_for(lambda: self.is_closed or condition())
        if not condition():
            raise NodeClosedError(self.ending)

    async def tell_changed(self) -> None:
        """Make everybody in `wait_until` look again."""
        self.on_change()
        async with self._changed:
            self._changed.notify_all()

    # -- What peers send --

    async def deliver(self, incoming: Incoming) -> None:
        """Take an operation from a peer; waits while too much is waiting to be stored."""
        await self.inbox.put(incoming)
        self._bell.ring()

    async def drained(self) -> None:
        """Wait until everything that was delivered before this call has been stored and applied."""
        target = self.inbox.delivered
        await self.wait_until(lambda: self._handled_count >= target)

    async def take_acknowledgement(
        self, peer: PeerId, counts: Mapping[LogKey, int], *, is_complete: bool
    ) -> None:
        """Note what a peer holds."""
        if await self.receipts.take(peer, counts, is_complete=is_complete):
            await self.tell_changed()

    # -- The steps --

    async def run(self) -> None:
        """Take one step after the other until cancelled, or until something is wrong with the document itself."""
        try:
            while True:
                self._ring_for_gifts()
                await self._bell.wait()
                while self._has_work():
                    await self._step()
                # It may have rung for something that an earlier step has done.
                if self._edit_due is not None:
                    self._ring_for_edits(self._edit_due)
        except CulmError as error:
            logger.exception("owner.failed", extra={"document": self.document.document.short})
            self.is_closed, self.ending = True, f"the document cannot go on: {error}"
            self._publish(DocumentFailed(document=self.document.document, reason=str(error)))
            await self.tell_changed()

    def _has_work(self) -> bool:
        return bool(
            self._is_edit_due()
            or self.inbox
            or self._orders
            or self._of_own_logs
            or self.document.rebuild_reason
            or self.guard.is_due
            or (self.sorting.has_again and not self.guard.is_waiting)
            or self.courier.is_due()
        )

    def _is_edit_due(self) -> bool:
        return self._edit_due is not None and self._edit_due <= self._clock.now() + INSTANT_S

    async def _step(self) -> None:
        if self.document.rebuild_reason is not None and not self.document.has_returned:
            for judged in await self.persistence.until_read(self.archive.rebuild):
                self._report(judged)
        if self.guard.is_due:
            await self.persistence.until_read(self.guard.act)
            await self._take_rivals(self.guard.take_rivals())
            for call in tuple(self.on_cut) if self.guard.take_cut() else ():
                call()
        batch = Batch()
        # What we give goes into a step of its own: content is sealed under what is announced already.
        if await self.courier.prepare():
            batch.staged = [entry.operation for entry in self.document.author.staged]
            written = []
        else:
            written = [] if self._of_own_logs else self._sign(batch)
        staged_count = self.document.pending.staged_count
        handled = await self._take_in(batch)
        if batch:
            await self._store(batch)
        self.saved_count = max(self.saved_count, staged_count)
        self._handled_count += handled
        for operation, future in written:
            if not future.done():
                future.set_result(operation)
        self._publish_events()
        self._look_ahead()
        await self.persistence.until_stored(self.guard.finish)
        await self.tell_changed()
        await self.archive.keep_snapshot()

    async def _take_rivals(self, rivals: Sequence[Operation]) -> None:
        """Go on with operations that were stored together with the forks that they prove."""
        if rivals:
            await self.courier.take(rivals)
            for listener in tuple(self.on_commit):
                listener(rivals, {})
            self._announce(Batch(entered=list(rivals)))

    def _sign(self, batch: Batch) -> list[tuple[Operation, asyncio.Future[Operation]]]:
        changes_next = bool(self._orders) and self._orders[0][0] in CHANGING_KINDS
        waits = changes_next and bool(self.document.pending)
        if waits:  # what was edited before a change of membership is signed before it, too
            self._edit_due = self._clock.now()
        written = [] if waits else self._write_orders()
        # Else edits go on gathering, though others' operations came.
        if written or self._is_edit_due():
            self._edit_due = None
            self._staged_at = self._clock.now()
            batch.staged = self.document.stage(
                now_us=self._clock.timestamp_us(), entropy=self._entropy
            )
        return written

    def _write_orders(self) -> list[tuple[Operation, asyncio.Future[Operation]]]:
        """Sign what was ordered, up to one change of membership: it decides whether the next one is allowed."""
        now_us = self._clock.timestamp_us()
        written: list[tuple[Operation, asyncio.Future[Operation]]] = []
        while self._orders:
            kind, body, future = self._orders[0]
            is_change = kind in CHANGING_KINDS
            if is_change and self.document.author.staged:
                break
            self._orders.popleft()
            try:
                operation = self._write_order(kind, body, now_us)
            except NotPermittedError as error:
                if not future.done():
                    future.set_exception(error)
            else:
                written.append((operation, future))
            if is_change and written:
                break
        return written

    def _write_order(self, kind: Kind, body: Order, now_us: int) -> Operation:
        if isinstance(body, DeviceMetadata):
            return write_metadata(self.document, body, now_us=now_us, entropy=self._entropy)
        return self.document.write_control(kind, body, now_us=now_us, entropy=self._entropy)

    def _ring_for_gifts(self) -> None:
        now = self._clock.now()
        wait_s = min(max(0.0, self.courier.due(now) - now), DAY_S)
        self._bell.ring_at(asyncio.get_running_loop().time() + wait_s)

    def _look_ahead(self) -> None:
        """See to what this step had to leave: edits too many or waiting for a claim, and what a transaction hid."""
        self.document.show()
        now = self._clock.now()
        if self.document.pending and self._edit_due is None:
            self._ring_for_edits(now)
        elif self.document.pending.is_hidden:
            self._ring_for_edits(now + limits.COALESCE_S_MAX)

    async def _take_in(self, batch: Batch) -> int:
        """Take a batch from the inbox into the ledger; give how many operations that were."""
        again, counted = self.sorting.take_again()
        taken = [*again, *self._of_own_logs, *self.inbox.take(BATCH_OPERATIONS_MAX)]
        own_logs = self.document.own_logs
        self._of_own_logs = []
        if batch.staged:  # what peers know of our own logs waits until it is clear what we do
            self._of_own_logs = [each for each in taken if each.operation.log in own_logs]
            taken = [each for each in taken if each.operation.log not in own_logs]
        if not taken:
            return 0
        operations = [incoming.operation for incoming in self.sorting.screen(taken)]
        await self.persistence.until_read(lambda: self.archive.place(operations))
        received = self.document.receive(operations)
        by_id = {incoming.operation.operation_id: incoming for incoming in taken}
        for operation in received.forged:
            by_id[operation.operation_id].return_corrupt(operation)
        await self.sorting.sort_out(received.admitted, by_id)
        batch.entered = received.admitted.entered
        await self.courier.take(batch.entered)
        # Of copies the first that came.
        batch.sources = {each.operation.operation_id: each.source for each in reversed(taken)}
        return len(taken) - counted - self.sorting.uncounted

    async def _store(self, batch: Batch) -> None:
        await self._append([*batch.staged, *batch.entered])
        document = self.document
        if batch.staged:
            own = {operation.operation_id for operation in batch.staged}
            settled = document.settle(batch.staged).entered
            released = [operation for operation in settled if operation.operation_id not in own]
            if released:
                await self.courier.take(released)
                await self._append(released)
                batch.entered.extend(released)
            bodies = [each.body for each in batch.staged if is_content(each.extension.kind)]
            self.content_count += len(bodies)
            self.body_bytes += sum(map(len, bodies)) - OVERHEAD_BYTES * len(bodies)
            self._publish(EditsSaved(document=document.document, operations=len(batch.staged)))
        ends = await self.persistence.until_read(self.archive.told_ends)
        document.account.commit(batch.entered, ends)
        document.look_for_returned(batch.entered)
        # At once: nobody may see the one without the other.
        judged = document.apply(batch.entered)
        for listener in tuple(self.on_commit):
            listener([*batch.staged, *batch.entered], batch.sources)
        self._report(judged)
        if self.courier.take_fresh():
            await self._apply_waiting()
        self._announce(batch)
        await self.receipts.take_authors(batch.entered)

    async def _apply_waiting(self) -> None:
        """Apply what waited for a secret that has come now."""
        document, until_read = self.document, self.persistence.until_read
        async for operations in self.archive.read_waiting(document.take_waiting(), until_read):
            self._report(document.apply(operations))

    async def _append(self, operations: Sequence[Operation]) -> None:
        """Store operations, however long it takes until the store can."""
        records = self.courier.take_records()
        await self.persistence.until_stored(lambda: self.archive.append(operations, records))

    # -- What it says --

    def _report(self, judged: Judged) -> None:
        for operation, reason in judged.refused:
            self.sorting.refuse(operation, reason)
        for operation, reason in judged.blocked:
            if not self.courier.is_reading:
                continue  # a joiner waits for its secrets, and who may only pull for none
            document = self.document.document
            self._publish(
                DocumentDegraded(document=document, operation=operation.operation_id, reason=reason)
            )

    def _announce(self, batch: Batch) -> None:
        document = self.document.document
        if batch.entered:
            authors = frozenset(operation.author for operation in batch.entered)
            self._publish(
                DocumentChanged(document=document, operations=len(batch.entered), authors=authors)
            )
        if any(
            operation.extension.kind in CHANGING_KINDS
            for operation in (*batch.staged, *batch.entered)
        ):
            self._members.tell()

    def _publish_events(self) -> None:
        events, self.document.events = self.document.events, []
        for event in events:
            self._publish(event)

    async def close(self, hand_over: Callable[[Self], Awaitable[None]]) -> None:
        """Bring everything to disk, hand it over, keep a snapshot; call before the task of `run` is cancelled.

        Raises:
            UnsavedEditsError: Some edits cannot be written.
        """
        try:
            await self.durable()
            await hand_over(self)
            if not self.guard.is_due:  # else what we have here soon fits the store no longer
                await self.archive.keep_snapshot(at_least=1)
        finally:
            self.is_closed = True
            self.document.release()
            self._bell.stop()
            await self.tell_changed()
