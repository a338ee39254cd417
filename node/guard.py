"""Notices that our own logs go on without us, and goes on in new ones; and takes in what forked.

Peers may know operations of ours that we have not got: this data directory was restored from a backup, or copied, and
the copy runs too. Whatever they have of our logs is taken in. What we have written in its way meanwhile is deleted here
and written again in new logs. The same new logs serve who was removed and added again.

Somebody else's log forks for good: what we have from a place on, and what came now, are branches from then on. So are
ours, if others know of both already.

Each step is durable before the next: first the record, which says what is to be deleted and written again, then the
deletion, then the edits, then the record without it. So a crash in between loses nothing and repeats nothing.
"""

from collections.abc import Callable
from dataclasses import replace

from domain.document import Document
from domain.events import CloneDetected, Event, ForkProven
from domain.forking import is_ours, take_pending
from domain.identifiers import LogKey, Position
from domain.ledger.branch import Fork
from domain.operations.kind import is_content
from domain.operations.operation import Operation
from domain.record import DocumentRecord
from domain.renewal import moved, plan_rescue, with_new_logs
from node.archive import DocumentArchive
from node.environment import Environment
from node.transactions import until_none_open

RESTORED = "restored"
COPIED = "copied"
BRING_AGAIN = "again"
WAITS = "waits"


class CloneGuard:
    """Watches over our own logs of one document.

    Args:
        document: The document.
        archive: What is stored of it.
        environment: Where it is stored.
        publish: Takes events.
    """

    def __init__(
        self,
        document: Document,
        archive: DocumentArchive,
        environment: Environment,
        publish: Callable[[Event], None],
    ) -> None:
        self._document = document
        self._archive = archive
        self._environment = environment
        self._publish = publish
        self._reason: str | None = None
        self._diverged: dict[LogKey, int] = {}
        self._plan: DocumentRecord | None = None
        self._fork: Fork | None = None
        self._held_header = b""
        self._rivals: list[Operation] = []
        self._has_cut = False
        self.renewals = 0
        """How often the document came up again, with other logs than before."""

    @property
    def is_due(self) -> bool:
        """Whether we have to take in a fork, or to go on in new logs."""
        has_fork = self._fork is not None and not self.is_waiting
        return has_fork or self._clone_reason is not None or self._document.is_stranded

    @property
    def _clone_reason(self) -> str | None:
        """By what we know that our logs go on without us; None where they do not."""
        return RESTORED if self._reason is None and self._document.has_returned else self._reason

    @property
    def is_waiting(self) -> bool:
        """Whether a fork has to wait until edits of ours are written again."""
        document = self._document
        return self._fork is not None and (
            document.has_returned or document.record.rescue is not None
        )

    @property
    def is_rewriting(self) -> bool:
        """Whether edits that were stored before are still to be stored again, in our new logs."""
        document = self._document
        return document.pending.is_carrying or bool(document.author.staged)

    async def take_rival(self, operation: Operation, *, is_known_to_fork: bool) -> str:
        """Look at an operation whose place is taken by another; give what to answer to who sent it.

        `fork-earlier` asks for the one before it, as the two histories differ earlier. `BRING_AGAIN` asks
        for nothing: in the next step it is clear what it is. So does `WAITS`: something that it builds on is not here.

        Args:
            operation: The operation, signed.
            is_known_to_fork: Whether who sent it knows of another at its place already.

        Raises:
            OperationError: No replica takes it.
        """
        position, before = operation.position, operation.header.backlink
        held = await self._archive.operation_at(position)
        if held is None:
            return (
                BRING_AGAIN  # what has the place has come together with it, and is stored only now
            )
        if held.header.backlink != before:
            return "fork-earlier"
        is_own = position.log in self._document.own_logs
        if is_own and not is_known_to_fork and not self._is_built_on(position):
            first = self._diverged.get(position.log, position.seq_num)
            self._reason, self._diverged[position.log] = COPIED, min(first, position.seq_num)
            return "own-fork"
        if self._fork is None:
            parent = None if before is None else await self._archive.operation_of(before)
            self._fork = self._document.ledger.examine_rival(operation, held, parent)
            self._held_header = held.header_bytes
        return BRING_AGAIN if self._fork is not None else WAITS

    def _is_built_on(self, position: Position) -> bool:
        """Whether others build on what we have there, so that it can no longer be taken back."""
        ends = self._document.ledger.built_on(position)
        return any(log.author != position.log.author for log in ends)

    def take_rivals(self) -> list[Operation]:
        """Take out the operations that were stored because they prove forks."""
        rivals, self._rivals = self._rivals, []
        return rivals

    def take_cut(self) -> bool:
        """Whether the ends of logs were deleted since this was asked last: peers have to be asked for theirs."""
        has_cut, self._has_cut = self._has_cut, False
        return has_cut

    async def act(self) -> None:
        """Take in a fork, or go on in new logs; durable on return, but for the edits that are written again.

        Raises:
            StorageError: The disk does not take it; nothing has changed, or it is finished at the next start.
        """
        if self._fork is not None and not self.is_waiting:
            if await self._take_fork(self._fork):  # what else forked of our old logs comes again
                self._reason, self._diverged = None, {}
            self._fork = None
            self.renewals += 1
            return
        if self._plan is None:
            self._plan = await self._make_plan()
        reason = self._clone_reason
        await self._go_on(self._plan, reason)
        self._plan, self._reason, self._diverged = None, None, {}
        self.renewals += 1
        if reason is not None:
            self._publish(CloneDetected(document=self._document.document, reason=reason))

    async def _make_plan(self) -> DocumentRecord:
        """Make our next record: once, since what it takes from the store is deleted there next."""
        document = self._document
        ends: dict[LogKey, int] = {}
        for log, first in self._diverged.items():
            for each, count in document.ledger.built_on(Position(log, first)).items():
                ends[each] = min(count, ends.get(each, count))
        record = with_new_logs(document.record, self._environment.entropy)
        own = [
            operation
            for log in document.own_logs
            if log in ends
            for operation in await self._archive.rest_of(log, ends[log])
            if is_content(operation.extension.kind)
        ]
        return replace(record, rescue=plan_rescue(document, ends, own, record))

    async def _go_on(self, record: DocumentRecord, reason: str | None) -> None:
        document, ends = self._document, record.rescue.discard if record.rescue is not None else {}
        await self._archive.save_record(record)
        fresh, archive = await self._bring_up(record)
        for update in moved(document, document.pending.split()[0], ends, record):
            fresh.adopt(update)
        told = "was added again" if reason is None else f"was {reason}"
        document.go_on_as(fresh, f"this device {told}: it goes on in new logs")
        self._archive.start_again(archive.arrival_index)
        self._has_cut |= bool(ends)

    async def _bring_up(self, record: DocumentRecord) -> tuple[Document, DocumentArchive]:
        """Open the document as it is stored now, to be put in the place of what is here at once."""
        document = self._document
        fresh = Document(document.key, document.document, record, document.keyring)
        archive = DocumentArchive(fresh, self._environment)
        await archive.load()
        await until_none_open(document)
        return fresh, archive

    async def _take_fork(self, fork: Fork) -> bool:
        """Let what a log holds from a place on and what somebody else has there be branches, and come up again.

        Returns:
            Whether it was a log of ours, and we go on in new ones.
        """
        document, record = self._document, self._document.record
        await self._archive.split(fork)
        goes_on = is_ours(document, fork)
        if goes_on:  # else what we write next would fork it once more
            record = with_new_logs(record, self._environment.entropy)
            await self._archive.save_record(record)
        fresh, archive = await self._bring_up(record)
        for update in take_pending(document, fresh, fork, record):
            fresh.adopt(update)
        document.go_on_as(fresh, "a device gave one place in its log to two operations")
        self._archive.start_again(archive.arrival_index)
        self._rivals.append(fork.rival)
        self._publish(
            ForkProven(
                document=document.document,
                author=fork.rival.author,
                seq_num=fork.first,
                headers=(self._held_header, fork.rival.header_bytes),
            )
        )
        return goes_on

    async def finish(self) -> None:
        """Forget what was to be done, once the edits are written again."""
        document = self._document
        if document.record.rescue is None or document.pending or document.author.staged:
            return
        record = replace(document.record, rescue=None)
        await self._archive.save_record(record)
        document.record = record
