"""What becomes of received operations that did not enter the ledger: refused, asked for again, or brought again later.

An operation whose place is taken proves a fork, if it may stand there. Until the document has come up again with the
fork, it and what follows it are set aside here; a restart loses that, and peers send it again.
"""

import logging
from collections.abc import Callable, Mapping

from domain import limits
from domain.document import Document
from domain.errors import OperationError
from domain.events import Event, OperationRefused
from domain.identifiers import OperationId
from domain.ledger.gate import Admitted
from domain.operations.operation import Operation
from node.archive import DocumentArchive
from node.guard import BRING_AGAIN, CloneGuard
from node.inbox import Incoming

logger = logging.getLogger(__name__)

ByOperation = Mapping[OperationId, Incoming]


class Sorting:
    """Sorts out what did not enter the ledger of one document.

    Args:
        document: The document.
        archive: What is stored of it.
        guard: Looks at forks.
        publish: Takes events.
    """

    def __init__(
        self,
        document: Document,
        archive: DocumentArchive,
        guard: CloneGuard,
        publish: Callable[[Event], None],
    ) -> None:
        self._document = document
        self._archive = archive
        self._guard = guard
        self._publish = publish
        self._again: dict[OperationId, Incoming] = {}

    @property
    def again_count(self) -> int:
        """How many operations are to be brought again."""
        return len(self._again)

    def take_again(self) -> list[Incoming]:
        """Take out what was set aside: bring it again now."""
        again, self._again = self._again, {}
        return list(again.values())

    async def sort_out(self, admitted: Admitted, by_id: ByOperation) -> None:
        """Deal with what did not enter: refused operations, forks, and what waits for something that is stored."""
        stored = await self._archive.stored({operation.operation_id for operation in admitted.old})
        for operation in admitted.old:
            if operation.operation_id not in stored:
                await self._take_rival(operation, by_id.get(operation.operation_id))
        if waited_for := self._document.gate.waited_for_ids():
            found = await self._archive.positions(waited_for)
            more = self._document.gate.retry(found)
            admitted.entered.extend(more.entered)
            admitted.refused.extend(more.refused)
        for operation, error in admitted.refused:
            incoming = by_id.get(operation.operation_id)
            if incoming is not None and self._follows_again(operation):
                self._set_aside(incoming)
            else:
                self.refuse(operation, str(error), incoming)

    async def _take_rival(self, operation: Operation, incoming: Incoming | None) -> None:
        """Look at an operation whose place another has."""
        if incoming is None:
            return  # it waited here, and comes again
        if self._follows_again(operation):
            self._set_aside(incoming)
            return
        is_known = incoming.operation.branch is not None
        try:
            answer = await self._guard.take_rival(operation, is_known_to_fork=is_known)
        except OperationError as error:
            self.refuse(operation, str(error), incoming)
            return
        if answer == BRING_AGAIN:
            self._set_aside(incoming)
        else:
            incoming.reject(incoming.operation, answer)

    def _follows_again(self, operation: Operation) -> bool:
        return operation.header.backlink in self._again

    def _set_aside(self, incoming: Incoming) -> None:
        if len(self._again) < limits.INBOX_OPERATIONS_MAX:
            self._again[incoming.operation.operation_id] = incoming

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
