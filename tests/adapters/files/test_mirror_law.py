"""Whatever is done to the file and to the document, in whatever order: they end equal, and nothing is lost."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.files.mirror import FileMirror
from tests.adapters.files.mirroring import QUICK, SAVES, World


@dataclass(kw_only=True)
class Authors:
    """Somebody who edits the file and somebody who edits the document; every character is typed once."""

    world: World
    chance: Random
    mirror: FileMirror | None = None
    typed: set[str] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)
    count: int = 0

    def mark(self) -> str:
        """Draw a character that nobody has typed yet."""
        self.count += 1
        mark = chr(0x4E00 + self.count)
        self.typed.add(mark)
        return mark

    def change(self, text: str) -> tuple[int, int, str]:
        """Choose what to replace by what: position, deleted, inserted."""
        position = self.chance.randint(0, len(text))
        length = self.chance.choice([0, 0, 0, 1, 5])
        self.deleted |= set(text[position : position + length])
        count = self.chance.choice([1, 1, 1, 30])
        inserted = "".join(self.mark() + self.chance.choice(["", "\n"]) for _ in range(count))
        return position, min(length, len(text) - position), inserted

    def edit_document(self) -> None:
        position, deleted, inserted = self.change(self.world.replica.read())
        self.world.type_remotely(position, inserted, deleted)

    def save_file(self) -> None:
        """Read and save at once, as an editor does that has noticed every change so far."""
        save: Callable[[Path, bytes], None] = self.chance.choice(SAVES)
        if self.mirror is None:
            self._save(save)
            return
        with self.mirror._file._lock:
            self._save(save)

    def _save(self, save: Callable[[Path, bytes], None]) -> None:
        text = self.world.file_text()
        position, deleted, inserted = self.change(text)
        save(
            self.world.path,
            (text[:position] + inserted + text[position + deleted :]).encode(),
        )

    def append_to_file(self) -> None:
        with self.world.path.open("a", encoding="utf-8", newline="") as file:
            file.write(self.mark() + "\n")

    @asynccontextmanager
    async def mirrored(self) -> AsyncIterator[None]:
        async with self.world.mirrored(timing=QUICK) as self.mirror:
            yield
        self.mirror = None

    def check(self) -> None:
        text = self.world.replica.read()
        assert self.world.file_text() == text
        lost = self.typed - self.deleted - set(text)
        assert not lost
        marks = [mark for mark in text if mark in self.typed]
        assert len(marks) == len(set(marks))


async def live(seed: int, steps: list[str], directory: Path) -> None:
    """Do the steps, restarting the mirror at each `restart`."""
    authors = Authors(world=World(path=directory / "notes.md"), chance=Random(seed))
    authors.world.path.write_text("".join(authors.mark() + "\n" for _ in range(5)))
    rest = iter([*steps, "restart"])
    for _ in range(steps.count("restart") + 1):
        async with authors.mirrored():
            for step in iter(lambda: next(rest), "restart"):
                await act(authors, step)
            if not authors.chance.randrange(3):
                await authors.world.until_equal()
        # While nothing mirrors, both sides go on.
        authors.edit_document()
        authors.save_file()
    async with authors.mirrored():
        await authors.world.until_equal()
    authors.check()


async def act(authors: Authors, step: str) -> None:
    match step:
        case "document":
            authors.edit_document()
        case "save":
            authors.save_file()
        case "append":
            authors.append_to_file()
        case "look":
            await authors.world.until_looked(authors.chance.randint(1, 12))
        case _:
            await authors.world.until_equal()


STEPS = st.lists(
    st.sampled_from(["document", "save", "append", "look", "look", "equal", "restart"]),
    max_size=16,
)


@settings(max_examples=20)
@given(st.integers(0, 2**32), STEPS)
def test_file_and_document_end_equal_and_nothing_typed_is_lost(seed: int, steps: list[str]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(live(seed, steps, Path(directory)))
