"""A disk that outlives the nodes that use it, and fails when told to.

Writes are carried out one after the other, each after a while. What was awaited is durable; at a crash the write that
is being carried out is stored whole or lost, and those that wait for their turn are lost. Lazy writes are seen at
once, and lost by a crash within a second.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from copy import copy
from random import Random
from typing import Any, Final, TypeVar

from adapters.simulation.content import DiskContent
from domain.errors import StorageCorruptError, StorageError, StorageFullError
from domain.identifiers import DocumentId

T = TypeVar("T")

LAZY_S: Final = 1.0
"""How old a lazy write is before it survives a crash."""


class SimulatedDisk:
    """The disk of one machine.

    Args:
        loop: Whose time it uses.
        seed: What chance follows, together with the name.
        name: The name of the machine.
        write_s: The least and the most time that a durable write takes; may be changed at any time.
        read_s: The same for reading.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        seed: int,
        name: str,
        *,
        write_s: tuple[float, float] = (0.0005, 0.005),
        read_s: tuple[float, float] = (0.0, 0.0005),
    ) -> None:
        self.content = DiskContent()
        self.write_s = write_s
        self.read_s = read_s
        self.write_count = 0
        self.read_count = 0
        self._loop = loop
        self._random = Random(f"{seed} disk of {name}")
        self._writes: deque[_Write] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._lazy: deque[_LazyWrite] = deque()
        self._power = 0
        self._fault: StorageError | None = None
        self._fault_at_write = 0
        self._fault_lasts = False
        self._read_fault: StorageError | None = None
        self._read_fault_at = 0

    # --- What goes wrong ---

    def fill(self, *, after_writes: int = 0) -> None:
        """Be full, after so many more writes have succeeded, until `mend`: writes raise `StorageFullError`."""
        self.fail(
            StorageFullError("no space left on the simulated disk"), after_writes=after_writes
        )

    def fail(self, error: StorageError, *, after_writes: int = 0, lasts: bool = True) -> None:
        """Fail with that error, after so many more writes have succeeded: until `mend`, or once."""
        self._fault = error
        self._fault_at_write = self.write_count + after_writes
        self._fault_lasts = lasts

    def fail_read(self, error: StorageError, *, after_reads: int = 0) -> None:
        """Fail one read with that error, after so many more have succeeded."""
        self._read_fault, self._read_fault_at = error, self.read_count + after_reads

    def mend(self) -> None:
        """Let writes and reads succeed again."""
        self._fault = self._read_fault = None

    def crash(self) -> None:
        """Lose the power, and have it back: what has the disk mounted is dead, what was not yet stored is gone."""
        self._power += 1
        writes, self._writes = list(self._writes), deque()
        self._disarm()
        for write in writes:
            write.fail(StorageError("the machine crashed"))
        if writes and self._random.random() < 1 / 2:
            self._carry_out(writes[0])  # stored, though nobody was told
        stored_before = self._loop.time() - LAZY_S
        while self._lazy and self._lazy[-1].time_s > stored_before:
            self._lazy.pop().undo()
        self._lazy.clear()

    def damage_operation(self, document: DocumentId, arrival_index: int) -> None:
        """Let the operation with that arrival index be read as something else than was written."""
        self.content.ledgers[document].damaged.add(arrival_index)

    def damage_snapshot(self, document: DocumentId) -> None:
        """Let the snapshot of a document be unreadable."""
        self.content.snapshots.pop(document, None)

    # --- For the stores ---

    def mount(self) -> "Mount":
        """Let a process use the disk, until the next crash."""
        return Mount(self, self._power)

    def check(self, power: int) -> None:
        """Say so if there was a crash since.

        Raises:
            StorageError: There was.
        """
        if power != self._power:
            raise StorageError("the machine crashed")

    def note_read(self) -> None:
        """Count a read.

        Raises:
            StorageError: It fails.
        """
        if self._read_fault is not None and self.read_count >= self._read_fault_at:
            error, self._read_fault = self._read_fault, None
            raise error
        self.read_count += 1

    def draw_read_s(self) -> float:
        """Draw how long the next read takes."""
        return self._random.uniform(*self.read_s)

    async def write(self, change: Callable[[], T]) -> T:
        """Carry out a change and let it be durable.

        Cancelled, it has been carried out whole or never will be.
        """
        write = _Write(change, self._loop.create_future())
        self._writes.append(write)
        self._arm()
        try:
            result: T = await write.done
        except asyncio.CancelledError:
            self._withdraw(write)
            raise
        return result

    def write_lazily(
        self, document: DocumentId | None, change: Callable[[], None], undo: Callable[[], None]
    ) -> None:
        """Carry out a change at once; a crash within a second undoes it."""
        now = self._loop.time()
        while self._lazy and self._lazy[0].time_s <= now - LAZY_S:
            self._lazy.popleft()
        change()
        self._lazy.append(_LazyWrite(now, document, undo))

    def flush(self) -> None:
        """Let all lazy writes be durable."""
        self._lazy.clear()

    def forget_lazily_written(self, document: DocumentId) -> None:
        """Let a crash not undo what was lazily written about a document, because it is gone."""
        self._lazy = deque(each for each in self._lazy if each.document != document)

    # --- Within ---

    def _arm(self) -> None:
        if self._timer is None and self._writes:
            self._timer = self._loop.call_later(
                self._random.uniform(*self.write_s), self._finish_first
            )

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _finish_first(self) -> None:
        self._timer = None
        self._carry_out(self._writes.popleft())
        self._arm()

    def _carry_out(self, write: "_Write") -> None:
        if self._fault is not None and self.write_count >= self._fault_at_write:
            write.fail(copy(self._fault))  # each failure with a traceback of its own
            if not self._fault_lasts:
                self._fault = None
            return
        self.write_count += 1
        write.carry_out()

    def _withdraw(self, write: "_Write") -> None:
        """Decide at once about a write that was cancelled, so that nothing comes later."""
        if write not in self._writes:
            return
        is_first = write is self._writes[0]
        self._writes.remove(write)
        if is_first:
            self._disarm()
            if self._random.random() < 1 / 2:
                self._carry_out(write)
            self._arm()


class Mount:
    """A disk as one process sees it: dead after a crash.

    Args:
        disk: The disk.
        power: How often it had crashed when the process started.
    """

    def __init__(self, disk: SimulatedDisk, power: int) -> None:
        self._disk = disk
        self._power = power

    async def write(self, change: Callable[[DiskContent], T]) -> T:
        """Carry out a change, durable on return.

        Raises:
            StorageError: It was not carried out; or the machine crashed, and it may have been.
        """
        self._disk.check(self._power)
        return await self._disk.write(lambda: change(self._disk.content))

    async def read(self, look: Callable[[DiskContent], T]) -> T:
        """Look at the content, after a while.

        Raises:
            StorageError: The machine crashed, or the disk fails.
        """
        self._disk.check(self._power)
        await asyncio.sleep(self._disk.draw_read_s())
        self._disk.check(self._power)
        self._disk.note_read()
        return look(self._disk.content)

    def write_lazily(
        self,
        document: DocumentId | None,
        change: Callable[[DiskContent], None],
        undo: Callable[[DiskContent], None],
    ) -> None:
        """Carry out a change at once; a crash within a second undoes it.

        Raises:
            StorageError: The machine crashed.
        """
        self._disk.check(self._power)
        content = self._disk.content
        self._disk.write_lazily(document, lambda: change(content), lambda: undo(content))

    async def forget(self, document: DocumentId) -> None:
        """Drop everything about a document, durable on return."""

        def change(content: DiskContent) -> None:
            content.forget(document)
            self._disk.forget_lazily_written(document)

        await self.write(change)

    def unmount(self) -> None:
        """Stop using the disk in good order: all lazy writes become durable. Does nothing after a crash."""
        try:
            self._disk.check(self._power)
        except StorageError:
            return
        self._disk.flush()


def corrupt(document: DocumentId, arrival_index: int) -> StorageCorruptError:
    """Make the error for an operation that is not what was written."""
    return StorageCorruptError(
        f"operation {arrival_index} of document {document.short} is damaged on disk"
    )


class _LazyWrite:
    """Something that a crash may undo."""

    __slots__ = ("document", "time_s", "undo")

    def __init__(
        self, time_s: float, document: DocumentId | None, undo: Callable[[], None]
    ) -> None:
        self.time_s = time_s
        self.document = document
        self.undo = undo


class _Write:
    """A write that waits for its turn, and who waits for it."""

    __slots__ = ("change", "done")

    def __init__(self, change: Callable[[], Any], done: asyncio.Future[Any]) -> None:
        self.change = change
        self.done = done

    def carry_out(self) -> None:
        try:
            result = self.change()
        except StorageError as error:
            self.fail(error)
        else:
            if not self.done.done():
                self.done.set_result(result)

    def fail(self, error: StorageError) -> None:
        if not self.done.done():
            self.done.set_exception(error)
