"""The gate before the ledger: operations that wait for what they build on.

Out-of-order updates make yrs lose content without a sign, so nothing enters early. What waits is bounded; what is
dropped comes again with the next exchange of heights.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from domain import limits
from domain.errors import OperationError
from domain.identifiers import OperationId, PeerId, Position
from domain.ledger.ledger import Ledger, Standing
from domain.operations.operation import Operation


@dataclass(frozen=True, slots=True)
class Admitted:
    """What became of operations at the gate.

    Args:
        entered: What is now in the ledger, in causal order.
        refused: What no replica will ever accept, with the reason.
        old: What has a place that is taken, by itself or by another operation: look it up.
    """

    entered: list[Operation] = field(default_factory=list)
    refused: list[tuple[Operation, OperationError]] = field(default_factory=list)
    old: list[Operation] = field(default_factory=list)


class Gate:
    """Parks operations until the ledger lets them in.

    Args:
        ledger: The ledger of the document.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._parked: dict[OperationId, Operation] = {}
        self._waiting: dict[Position | OperationId, list[OperationId]] = {}
        self._bytes = 0
        self.dropped = 0
        """How many were dropped because too much was waiting already."""

    def __len__(self) -> int:
        """Count what waits."""
        return len(self._parked)

    def waiting_for(self) -> dict[Position | OperationId, int]:
        """Give what is waited for, and how many operations wait for it."""
        return {missing: len(waiting) for missing, waiting in self._waiting.items()}

    def waited_for_ids(self) -> set[OperationId]:
        """List the operations that are waited for by id."""
        return {missing for missing in self._waiting if isinstance(missing, OperationId)}

    def holds(self, operation_id: OperationId) -> bool:
        """Whether that operation waits here."""
        return operation_id in self._parked

    def logs_begun_by(self, author: PeerId) -> int:
        """Count the operations that wait here and begin a log of a device."""
        return sum(
            waiting.author == author and not waiting.header.seq_num
            for waiting in self._parked.values()
        )

    @property
    def parked(self) -> Sequence[Operation]:
        """What waits."""
        return list(self._parked.values())

    def go_on_with(self, parked: Sequence[Operation]) -> None:
        """Let wait here what waited at a gate that this one replaces; `retry` then sees what each waits for now."""
        for operation in parked:
            built_on = (operation.header.backlink, *operation.extension.previous)
            first = next((each for each in built_on if each is not None), None)
            if first is not None:
                self._park(operation, first)

    def retry(self, found: dict[OperationId, Position]) -> Admitted:
        """Let in what waited for operations that turned out to be stored already, and what waited for those."""
        admitted = Admitted()
        for operation_id, position in sorted(found.items()):
            self._ledger.place(operation_id, position)
            for waiting in self._waiting.pop(operation_id, []):
                self._admit(self._take(waiting), admitted)
        return admitted

    def replay(self, operations: Sequence[Operation]) -> Admitted:
        """Let in operations from our own store, which say by themselves in which branches they are."""
        admitted = Admitted()
        for operation in operations:
            if operation.branch is not None and self._ledger.log(operation.log) is None:
                self._ledger.note_fork(operation)
            self._admit(operation, admitted)
        return admitted

    def admit(self, operations: list[Operation]) -> Admitted:
        """Let operations and everything that waited for them into the ledger, as far as possible."""
        admitted = Admitted()
        for operation in operations:
            self._admit(operation, admitted)
        return admitted

    def _admit(self, operation: Operation, admitted: Admitted) -> None:
        candidates = [operation]
        while candidates:
            waited = candidates.pop()
            candidate = self._ledger.locate(waited)
            if candidate is None:
                self._wait_for_branch(waited, admitted)
                continue
            try:
                admission = self._ledger.examine(candidate)
            except OperationError as error:
                admitted.refused.append((candidate, error))
                continue
            if admission.standing is Standing.OLD:
                admitted.old.append(candidate)
            elif admission.standing is Standing.MISSING:
                assert admission.missing is not None
                self._park(candidate, admission.missing)
            elif admission.standing is Standing.READY:
                self._ledger.add(candidate, admission)
                admitted.entered.append(candidate)
                candidates.extend(reversed(self._take_dependents(candidate)))

    def _wait_for_branch(self, operation: Operation, admitted: Admitted) -> None:
        """Park an operation of a forked log until the one before it is here, or ask for that where it never was."""
        log, before = self._ledger.log(operation.log), operation.header.backlink
        assert before is not None  # who begins a log begins a branch, and is found
        if log is not None and operation.header.seq_num <= log.count:
            error = OperationError("wrong-backlink", "it does not follow what is known of its log")
            admitted.refused.append((operation, error))
        else:
            self._park(operation, before)

    def _take_dependents(self, entered: Operation) -> list[Operation]:
        released = self._waiting.pop(entered.operation_id, []) + self._waiting.pop(
            entered.position, []
        )
        return [self._take(operation_id) for operation_id in released]

    def _take(self, operation_id: OperationId) -> Operation:
        operation = self._parked.pop(operation_id)
        self._bytes -= operation.size
        return operation

    def _park(self, operation: Operation, missing: Position | OperationId) -> None:
        if operation.operation_id in self._parked:
            return
        too_many = len(self._parked) >= limits.PARKED_OPERATIONS_MAX
        if too_many or self._bytes + operation.size > limits.PARKED_BYTES_MAX:
            self.dropped += 1
            return
        self._parked[operation.operation_id] = operation
        self._bytes += operation.size
        self._waiting.setdefault(missing, []).append(operation.operation_id)
