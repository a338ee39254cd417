"""What peers have sent and nobody has looked at yet: bounded, so that who sends faster than we store is slowed."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from domain import limits
from domain.identifiers import PeerId
from domain.operations.operation import Operation


@dataclass(frozen=True, slots=True)
class Incoming:
    """An operation that a peer sent, and whom to tell if it is not acceptable, or not even what its author wrote."""

    operation: Operation
    source: PeerId
    reject: Callable[[Operation, str], None]
    return_corrupt: Callable[[Operation], None]


class Inbox:
    """A bounded queue of operations."""

    def __init__(self) -> None:
        self.delivered = 0
        """How many were ever put in."""
        self._queue: deque[Incoming] = deque()
        self._bytes = 0
        self._room = asyncio.Event()
        self._room.set()

    def __len__(self) -> int:
        """Count what waits."""
        return len(self._queue)

    async def put(self, incoming: Incoming) -> None:
        """Put an operation in; waits while too much is in already. Cancelled, it is in or it is not."""
        while not self._room.is_set():
            await self._room.wait()
        self._queue.append(incoming)
        self._bytes += incoming.operation.size
        self.delivered += 1
        if self._is_full(1):
            self._room.clear()

    def take(self, count_max: int) -> list[Incoming]:
        """Take out the oldest ones."""
        taken = [self._queue.popleft() for _ in range(min(len(self._queue), count_max))]
        self._bytes -= sum(incoming.operation.size for incoming in taken)
        if not self._is_full(2):
            self._room.set()
        return taken

    def _is_full(self, parts: int) -> bool:
        """Whether it is filled to that part of what it may hold."""
        many = len(self._queue) >= limits.INBOX_OPERATIONS_MAX // parts
        return many or self._bytes >= limits.INBOX_BYTES_MAX // parts
