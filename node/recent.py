"""The operations that were stored last, in memory, so that live ones are not read back: bounded in number and bytes."""

from collections import deque
from collections.abc import Iterable, Mapping
from itertools import islice

from domain.identifiers import LogKey
from domain.operations.operation import Operation


class RecentOperations:
    """The end of the stored sequence of one document.

    Args:
        count_max: How many are kept.
        bytes_max: How many bytes of headers and bodies are kept.
    """

    def __init__(self, *, count_max: int, bytes_max: int) -> None:
        self._count_max = count_max
        self._bytes_max = bytes_max
        self._logs: dict[LogKey, deque[tuple[int, Operation]]] = {}
        self._order: deque[LogKey] = deque()
        self._bytes = 0
        self._arrived = 0

    def extend(self, operations: Iterable[Operation]) -> None:
        """Take what was stored, in that order, and forget the oldest beyond the bounds."""
        for operation in operations:
            self._arrived += 1
            log = operation.log
            self._logs.setdefault(log, deque()).append((self._arrived, operation))
            self._order.append(log)
            self._bytes += operation.size
        while len(self._order) > self._count_max or self._bytes > self._bytes_max:
            log = self._order.popleft()
            entries = self._logs[log]
            self._bytes -= entries.popleft()[1].size
            if not entries:
                del self._logs[log]

    def since(self, counts: Mapping[LogKey, int]) -> list[Operation] | None:
        """Give all operations of each log but the first so many, as they were stored; None where some are forgotten."""
        found: list[tuple[int, Operation]] = []
        for log, count in counts.items():
            entries = self._logs.get(log)
            if not entries or entries[0][1].header.seq_num > count:
                return None
            needed = entries[-1][1].header.seq_num + 1 - count
            found.extend(islice(reversed(entries), max(needed, 0)))
        found.sort(key=lambda entry: entry[0])
        return [operation for _, operation in found]
