"""Notices that our own logs go on without us, and goes on in new ones.

Peers may know operations of ours that we have not got: this data directory was restored from a backup, or copied, and
the copy runs too. Whatever they have of our logs is taken in. What we have written in its way meanwhile is deleted here
and written again in new logs. The same new logs serve who was removed and added again.

Each step is durable before the next: first the record, which says what is to be deleted and written again, then the
deletion, then the edits, then the record without it. So a crash in between loses nothing and repeats nothing.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace

from domain.document import Document
from domain.events import CloneDetected, Event, ForkProven
from domain.identifiers import Position
from domain.operations.kind import is_content
from domain.operations.operation import Operation
from domain.record import DocumentRecord
from domain.renewal import moved, plan_rescue, with_new_logs
from node.archive import DocumentArchive
from node.environment import Environment

RESTORED = "restored"
COPIED = "copied"
FORKS_TOLD_MAX = 1_024  # places of forks that are remembered, so that each is told once


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
        self._diverged: Position | None = None
        self._plan: DocumentRecord | None = None
        self._told: dict[Position, None] = {}

    @property
    def is_due(self) -> bool:
        """Whether we have to go on in new logs."""
        return self._reason is not None or self._document.is_stranded

    def take_entered(self, operations: Iterable[Operation]) -> None:
        """Look at operations of others that are stored now: none should be in our logs."""
        if self._reason is None and any(
            operation.log in self._document.own_logs for operation in operations
        ):
            self._reason = RESTORED

    async def take_rival(self, operation: Operation) -> str:
        """Look at an operation whose place is taken by another; give what to answer to who sent it.

        `fork-earlier` asks for the one before it, as the two histories differ earlier; `fork` says that both are known.
        """
        position = operation.position
        stored = await self._archive.operation_at(position)
        if stored is None or stored.header.backlink != operation.header.backlink:
            return "fork-earlier"
        if position.log in self._document.own_logs:
            self._reason, self._diverged = COPIED, position
            return "own-fork"
        if position not in self._told and len(self._told) < FORKS_TOLD_MAX:
            self._told[position] = None
            proof = ForkProven(
                document=self._document.document,
                author=operation.author,
                seq_num=position.seq_num,
                headers=(stored.header_bytes, operation.header_bytes),
            )
            self._publish(proof)
        return "fork"

    async def act(self) -> None:
        """Go on in new logs; durable on return, but for the edits that are written again.

        Raises:
            StorageError: The disk does not take it; nothing has changed, or it is finished at the next start.
        """
        if self._plan is None:
            self._plan = await self._make_plan()
        await self._go_on(self._plan)
        reason, self._plan = self._reason, None
        self._reason = self._diverged = None
        if reason is not None:
            self._publish(CloneDetected(document=self._document.document, reason=reason))

    async def _make_plan(self) -> DocumentRecord:
        """Make our next record: once, since what it takes from the store is deleted there next."""
        document = self._document
        ends = document.ledger.built_on(self._diverged) if self._diverged is not None else {}
        record = with_new_logs(document.record, self._environment.entropy)
        own = [
            operation
            for log in document.own_logs
            if log in ends
            for operation in await self._archive.rest_of(log, ends[log])
            if is_content(operation.extension.kind)
        ]
        return replace(record, rescue=plan_rescue(document, ends, own, record))

    async def _go_on(self, record: DocumentRecord) -> None:
        document, ends = self._document, record.rescue.discard if record.rescue is not None else {}
        await self._archive.save_record(record)
        fresh = Document(document.key, document.document, record, document.keyring)
        archive = DocumentArchive(fresh, self._environment)
        await archive.load()
        for update in document.pending.clear():
            fresh.adopt(moved(document, update, ends, record))
        told = "was added again" if self._reason is None else f"was {self._reason}"
        document.go_on_as(fresh, f"this device {told}: it goes on in new logs")
        self._archive.start_again(archive.arrival_index)

    async def finish(self) -> None:
        """Forget what was to be done, once the edits are written again."""
        document = self._document
        if document.record.rescue is None or document.pending or document.author.staged:
            return
        record = replace(document.record, rescue=None)
        await self._archive.save_record(record)
        document.record = record
