"""What becomes of received operations that did not enter the ledger: refused, asked for again, or brought again later.

An operation whose place is taken proves a fork, if it may stand there. Until everything that it builds on is here, and
the document has come up again with the fork, it and what follows it are set aside here. What there is no room for, or
a restart loses, peers send again over another connection.
"""

import logging
from collections.abc import Callable, Mapping, Sequence

from domain import limits
from domain.document import Document
from domain.errors import OperationError
from domain.events import Event, OperationRefused
from domain.identifiers import OperationId, PeerId
from domain.ledger.gate import Admitted
from domain.ledger.ledger import Ledger
from domain.operations.operation import Operation
from node.archive import DocumentArchive
from node.guard import BRING_AGAIN, WAITS, CloneGuard
from node.inbox import Incoming
from node.persistence import Persistence

logger = logging.getLogger(__name__)

ByOperation = Mapping[OperationId, Incoming]


class _Aside:
    """Operations that are set aside, with a bound."""

    def __init__(self) -> None:
        self._incoming: dict[OperationId, Incoming] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._incoming)

    def __contains__(self, operation_id: object) -> bool:
        return operation_id in self._incoming

    def put(self, incoming: Incoming) -> None:
        """Set an operation aside, if there is room; behind those that are there."""
        operation_id = incoming.operation.operation_id
        has_room = len(self) < limits.INBOX_OPERATIONS_MAX and self._bytes < limits.INBOX_BYTES_MAX
        if has_room and operation_id not in self:
            self._incoming[operation_id] = incoming
            self._bytes += incoming.operation.size

    def take(self) -> list[Incoming]:
        """Take everything out."""
        taken, self._incoming, self._bytes = list(self._incoming.values()), {}, 0
        return taken

    def take_placed(self, ledger: Ledger) -> list[Incoming]:
        """Take out what builds on nothing any more that is not in the ledger, and what follows it in its log."""
        taken = []
        for incoming in self.take():
            operation = incoming.operation
            is_placed = all(ledger.holds(each) for each in operation.extension.previous)
            if is_placed and operation.header.backlink not in self:
                taken.append(incoming)
            else:
                self.put(incoming)
        return taken


class Sorting:
    """Sorts out what did not enter the ledger of one document.

    Args:
        document: The document.
        archive: What is stored of it.
        guard: Looks at forks.
        persistence: Reads as long as it takes: what has entered the ledger is to be stored next, whatever happens.
        publish: Takes events.
    """

    def __init__(
        self,
        document: Document,
        archive: DocumentArchive,
        guard: CloneGuard,
        persistence: Persistence,
        publish: Callable[[Event], None],
    ) -> None:
        self._document = document
        self._archive = archive
        self._guard = guard
        self._until_read = persistence.until_read
        self._publish = publish
        self._again = _Aside()
        self._waiting = _Aside()
        self._ready: list[Incoming] = []

    @property
    def has_again(self) -> bool:
        """Whether operations are to be brought again."""
        return bool(self._again) or bool(self._ready)

    @property
    def uncounted(self) -> int:
        """How many operations are not dealt with before they are brought again; what only waits is."""
        return len(self._again)

    def take_again(self) -> tuple[list[Incoming], int]:
        """Take out what is to be brought again now; and how many of these were dealt with before, as they waited."""
        self._look_at_waiting()  # what they wait for may have come with a fork
        ready, self._ready = self._ready, []
        return [*self._again.take(), *ready], len(ready)

    def _look_at_waiting(self) -> None:
        if self._waiting:
            self._ready += self._waiting.take_placed(self._document.ledger)

    def screen(self, taken: Sequence[Incoming]) -> list[Incoming]:
        """Refuse what begins one more log of whoever brings it, where that device has far too many; give the rest.

        No rule of the ledger sees it: logs that are begun side by side are not in each other's past. From others they
        are taken, so that honest members come to the same.
        """
        ledger, gate, kept = self._document.ledger, self._document.gate, []
        begun: dict[PeerId, int] = {}
        for incoming in taken:
            operation, author = incoming.operation, incoming.operation.author
            begins = operation.header.seq_num == 0 and ledger.log(operation.log) is None
            if begins and author == incoming.source:
                if author not in begun:
                    begun[author] = ledger.logs_of(author) + gate.logs_begun_by(author)
                if not self._takes_log(incoming, begun[author]):
                    continue
                begun[author] += 1
            kept.append(incoming)
        return kept

    def _takes_log(self, incoming: Incoming, logs: int) -> bool:
        """Whether to take one more log or branch of its author, who has so many, from who brings it; else refuse it."""
        if incoming.operation.author != incoming.source or logs < limits.LOGS_FROM_AUTHOR_MAX:
            return True
        reason = f"too-many-logs: the device has begun {limits.LOGS_FROM_AUTHOR_MAX} or more"
        self.refuse(incoming.operation, reason, incoming)
        return False

    async def sort_out(self, admitted: Admitted, by_id: ByOperation) -> None:
        """Deal with what did not enter: refused operations, forks, and what waits for something that is stored."""
        old = {operation.operation_id for operation in admitted.old}
        stored = await self._until_read(lambda: self._archive.stored(old))
        for operation in admitted.old:
            if operation.operation_id not in stored:
                await self._take_rival(operation, by_id.get(operation.operation_id))
        if waited_for := self._document.gate.waited_for_ids():
            found = await self._until_read(lambda: self._archive.positions(waited_for))
            more = self._document.gate.retry(found)
            admitted.entered.extend(more.entered)
            admitted.refused.extend(more.refused)
        for operation, error in admitted.refused:
            incoming = by_id.get(operation.operation_id)
            if incoming is None or not self._set_aside_behind(incoming):
                self.refuse(operation, str(error), incoming)
        self._look_at_waiting()

    async def _take_rival(self, operation: Operation, incoming: Incoming | None) -> None:
        """Look at an operation whose place another has."""
        if incoming is None:
            return  # it waited here, and comes again
        if self._set_aside_behind(incoming):
            return
        if not self._takes_log(incoming, self._document.ledger.logs_of(operation.author)):
            return
        is_known = incoming.operation.branch is not None
        try:
            answer = await self._until_read(
                lambda: self._guard.take_rival(operation, is_known_to_fork=is_known)
            )
        except OperationError as error:
            self.refuse(operation, str(error), incoming)
            return
        if answer == BRING_AGAIN:
            self._again.put(incoming)
        elif answer == WAITS:
            self._waiting.put(incoming)
        else:
            incoming.reject(incoming.operation, answer)

    def _set_aside_behind(self, incoming: Incoming) -> bool:
        """Set aside what follows an operation that is set aside; False where it follows none."""
        before = incoming.operation.header.backlink
        for aside in (self._waiting, self._again):
            if before in aside:
                aside.put(incoming)
                return True
        return False

    def refuse(self, operation: Operation, reason: str, incoming: Incoming | None = None) -> None:
        """Say that an operation is refused: to who sent it, to our people, and in the log."""
        if incoming is not None:
            incoming.reject(incoming.operation, reason.partition(":")[0])
        logger.warning(
            "owner.operation_refused",
            extra={"operation": operation.operation_id.short, "reason": reason},
        )
        self._publish(
            OperationRefused(
                document=self._document.document,
                operation=operation.operation_id,
                author=operation.author,
                reason=reason,
            )
        )
