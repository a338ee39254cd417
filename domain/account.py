"""How far the logs of a document go: on our disk, and as others are told."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

from domain.identifiers import LogKey, OperationId, Position
from domain.ledger.ledger import Height, Ledger
from domain.operations.operation import Operation

NO_ENDS: Mapping[Position, OperationId] = MappingProxyType({})


class Account:
    """Keeps the heights of the logs of one document; others are told of no operation that does not count.

    Args:
        ledger: What counts.
        stored: How far each log goes on our disk.
    """

    def __init__(self, ledger: Ledger, stored: Mapping[LogKey, Height] | None = None) -> None:
        self.stored = dict(stored or {})
        """How far each log goes on our disk."""
        self.heights = dict(self.stored)
        """How far each log goes as others are told."""
        self._ledger = ledger
        self._ends: dict[Position, OperationId] = {}
        self._version = -1

    def unknown_ends(self) -> list[Position]:
        """List the operations at which our account to others ends, and whose ids `commit` has to be given."""
        counting, positions = self._ledger.counting, []
        for slot in counting.void_slots:
            log, told = self._ledger.log_in(slot), counting.told(slot)
            if 0 < told < log.count and Position(log.key, told - 1) not in self._ends:
                positions.append(Position(log.key, told - 1))
        return positions

    def commit(
        self, operations: Iterable[Operation], ends: Mapping[Position, OperationId] = NO_ENDS
    ) -> None:
        """Say that operations are durable: from now on we may tell others, unless they are void.

        Args:
            operations: The operations.
            ends: The ids of `unknown_ends`, which are stored.
        """
        for operation in operations:
            height = Height(count=operation.header.seq_num + 1, tip=operation.operation_id)
            self.stored[operation.log] = self.heights[operation.log] = height
        counting = self._ledger.counting
        self._ends.update(ends)
        if counting.version == self._version and not ends:
            return
        self._version = counting.version
        self.heights = dict(self.stored)
        known, self._ends = self._ends, {}
        for slot in counting.void_slots:
            log, told = self._ledger.log_in(slot), counting.told(slot)
            place = Position(log.key, told - 1)
            if place in known:
                self._ends[place] = known[place]
                self.heights[log.key] = Height(count=told, tip=known[place])
            elif told < log.count:
                self.heights.pop(log.key, None)
