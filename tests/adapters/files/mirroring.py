"""A mirror at work on a real file, and the ways in which editors save."""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from adapters.files.events import MirrorChange, MirrorEvent
from adapters.files.mirror import FileMirror
from adapters.files.timing import MirrorTiming
from adapters.simulation.text_replica import MemoryTextReplica
from domain.ports.environment import Clock
from domain.ports.mirror import TextEdit

WAIT_S: Final = 20.0
QUICK: Final = MirrorTiming(interval_s=0.005, settle_s=0.02, delete_after_s=0.1, recheck_s=0.1)


class SteppedClock(Clock):
    """The time of the running loop, until it is stopped; then it goes on by hand."""

    def __init__(self) -> None:
        self._stopped_at: float | None = None
        self.looks = 0

    def now(self) -> float:
        self.looks += 1
        if self._stopped_at is not None:
            return self._stopped_at
        return asyncio.get_running_loop().time()

    def timestamp_us(self) -> int:
        return 0

    def stop(self) -> None:
        self._stopped_at = self.now()

    def go_on(self, seconds: float) -> None:
        assert self._stopped_at is not None
        self._stopped_at += seconds


async def until(condition: Callable[[], bool]) -> None:
    """Wait until it holds, looking often."""
    async with asyncio.timeout(WAIT_S):
        while not condition():  # noqa: ASYNC110 - files have no events
            await asyncio.sleep(0.002)


@dataclass(kw_only=True)
class World:
    """A file, a text, and what a node keeps about the two."""

    path: Path
    replica: MemoryTextReplica = field(default_factory=MemoryTextReplica)
    clock: SteppedClock = field(default_factory=SteppedClock)
    base: str | None = None
    events: list[MirrorEvent] = field(default_factory=list)

    async def save_base(self, base: str) -> None:
        self.base = base

    def mirror(
        self,
        *,
        merge: bool = False,
        may_seed: bool = True,
        timing: MirrorTiming = QUICK,
        save_base: Callable[[str], Awaitable[None]] | None = None,
    ) -> FileMirror:
        return FileMirror(
            str(self.path),
            self.replica,
            clock=self.clock,
            base=self.base,
            save_base=save_base or self.save_base,
            on_event=self.events.append,
            merge=merge,
            may_seed=may_seed,
            timing=timing,
        )

    @asynccontextmanager
    async def mirrored(self, *, timing: MirrorTiming = QUICK) -> AsyncIterator[FileMirror]:
        """Run a mirror meanwhile."""
        mirror = self.mirror(timing=timing)
        await mirror.start()
        async with asyncio.TaskGroup() as group:
            running = group.create_task(mirror.run())
            try:
                yield mirror
            finally:
                running.cancel()

    async def until_equal(self, text: str | None = None) -> None:
        """Wait until both sides have the same text, or this one, and stay so for a few looks."""
        calm = 0
        while calm < 5:
            is_equal = self.file_text() == self.replica.read()
            is_equal = is_equal and text in (None, self.replica.read())
            calm = calm + 1 if is_equal else 0
            await self.until_looked(2)

    async def until_looked(self, count: int = 12) -> None:
        """Wait until the mirror has looked at the clock so often, twice or so for each look at the file."""
        looks = self.clock.looks
        await until(lambda: self.clock.looks >= looks + count)

    async def until_told(self, change: MirrorChange) -> MirrorEvent:
        """Wait for an event of that kind that was not asked for before."""
        await until(lambda: any(event.change is change for event in self.events))
        index = next(i for i, event in enumerate(self.events) if event.change is change)
        return self.events.pop(index)

    def file_text(self) -> str:
        return self.path.read_bytes().decode() if self.path.exists() else ""

    def type_remotely(self, position: int, text: str, deleted: int = 0) -> None:
        self.replica.edit_remotely([TextEdit(position=position, deleted=deleted, inserted=text)])


def save_in_place(path: Path, data: bytes) -> None:
    """As nano does, and a shell's redirection."""
    path.write_bytes(data)


def save_by_renaming(path: Path, data: bytes) -> None:
    """As vim, emacs and most others do: nobody sees half a file."""
    new = path.with_name(path.name + "~new")
    new.write_bytes(data)
    new.replace(path)


def save_by_moving_away(path: Path, data: bytes) -> None:
    """As editors that keep a backup do: for a moment there is no file."""
    if path.exists():
        path.rename(path.with_name(path.name + "~"))
    path.write_bytes(data)


def save_in_parts(path: Path, data: bytes) -> None:
    """As slow programs do: truncate, then write bit by bit."""
    with path.open("wb", buffering=0) as file:
        for start in range(0, len(data), 7):
            file.write(data[start : start + 7])
            os.sched_yield()


SAVES: Final = (save_in_place, save_by_renaming, save_by_moving_away, save_in_parts)


def heeds_permissions() -> bool:
    """Whether this process, unlike root's, cannot read what nobody may."""
    with tempfile.NamedTemporaryFile() as file:
        Path(file.name).chmod(0)
        return not os.access(file.name, os.R_OK)
