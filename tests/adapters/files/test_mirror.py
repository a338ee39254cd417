import asyncio
import codecs
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from adapters.files.common_text import CommonText
from adapters.files.events import MirrorChange, MirrorState
from domain.errors import (
    MirrorError,
    NotPermittedError,
    StorageFullError,
    UnsavedEditsError,
)
from domain.limits import MIRROR_FILE_BYTES_MAX
from tests.adapters.files.mirroring import SAVES, World, heeds_permissions, until


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(path=tmp_path / "notes.md")


class TestFollow:
    @pytest.mark.parametrize("save", SAVES)
    async def test_a_save_is_read(self, world: World, save: Callable[[Path, bytes], None]) -> None:
        world.path.write_text("hello world\n")
        async with world.mirrored():
            save(world.path, b"hello brave world\nand more lines\n")
            await world.until_equal("hello brave world\nand more lines\n")
            await until(lambda: world.replica.saved == world.file_text())

    async def test_a_remote_edit_is_written(self, world: World) -> None:
        world.path.write_text("hello\n")
        async with world.mirrored():
            world.type_remotely(5, " 😀 world")
            await world.until_equal("hello 😀 world\n")
            await until(lambda: world.base == CommonText(text="hello 😀 world\n").encode())

    async def test_a_save_and_a_remote_edit_at_once_are_merged(self, world: World) -> None:
        world.path.write_text("one\ntwo\nthree\n")
        async with world.mirrored():
            world.path.write_text("one\ntwo\nthree\nfour\n")
            world.type_remotely(0, "zero\n")
            await world.until_equal("zero\none\ntwo\nthree\nfour\n")

    async def test_what_is_not_durable_is_not_written(self, world: World) -> None:
        world.path.write_text("hello\n")
        async with world.mirrored():
            world.replica.hold_disk()
            world.type_remotely(0, "well, ")
            await until(lambda: world.replica.is_awaited)
            assert world.file_text() == "hello\n"
            world.replica.release_disk()
            await world.until_equal("well, hello\n")

    async def test_edits_that_cannot_be_saved_are_told_and_written_later(
        self, world: World
    ) -> None:
        world.path.write_text("hello\n")
        async with world.mirrored() as mirror:
            world.replica.is_disk_full = True
            world.type_remotely(0, "well, ")
            assert isinstance(
                (await world.until_told(MirrorChange.FAILED)).error, UnsavedEditsError
            )
            await world.until_looked()
            assert world.file_text() == "hello\n"
            assert mirror.state is MirrorState.TROUBLED
            world.replica.is_disk_full = False
            await world.until_equal("well, hello\n")
            await world.until_told(MirrorChange.RECOVERED)

    async def test_a_base_that_cannot_be_saved_is_told_and_saved_later(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        world.path.write_text("hello\n")
        failing = False

        async def save_base(base: str) -> None:
            if failing:
                raise StorageFullError("the disk is full")
            world.base = base

        monkeypatch.setattr(world, "save_base", save_base)
        async with world.mirrored():
            failing = True
            world.path.write_text("hello!\n")
            assert isinstance((await world.until_told(MirrorChange.FAILED)).error, StorageFullError)
            failing = False
            await world.until_equal("hello!\n")
            await world.until_told(MirrorChange.RECOVERED)
            await until(lambda: world.base == CommonText(text="hello!\n").encode())

    async def test_a_change_of_line_ends_alone_is_no_edit(self, world: World) -> None:
        world.path.write_bytes(b"one\ntwo\n")
        async with world.mirrored():
            world.path.write_bytes(b"one\r\ntwo\r\n")
            await world.until_looked()
            world.type_remotely(0, "zero\n")
            await until(lambda: world.path.read_bytes() == b"zero\r\none\r\ntwo\r\n")
            assert world.replica.read() == "zero\none\ntwo\n"

    async def test_mixed_line_ends_stay_as_they_are(self, world: World) -> None:
        world.path.write_bytes(b"one\r\ntwo\n")
        async with world.mirrored():
            world.type_remotely(0, "zero\n")
            await world.until_equal("zero\none\r\ntwo\n")

    async def test_an_untouched_file_is_written_no_more(self, world: World) -> None:
        world.path.write_text("hello\n")
        async with world.mirrored() as mirror:
            await until(lambda: mirror.state is MirrorState.EQUAL)
            before = world.path.stat()
            await world.until_looked()
            assert world.path.stat().st_mtime_ns == before.st_mtime_ns
            assert world.path.stat().st_ino == before.st_ino

    async def test_it_stops_when_the_document_is_closed(self, world: World) -> None:
        mirror = world.mirror()
        async with asyncio.TaskGroup() as group:
            group.create_task(mirror.run())
            await until(lambda: mirror.state is MirrorState.EQUAL)
            world.replica.close()
        assert mirror.state is MirrorState.STOPPED

    async def test_a_write_into_a_replaced_file_is_not_lost(self, world: World) -> None:
        world.path.write_text("one\n")
        async with world.mirrored():
            with world.path.open("a", buffering=1) as editor:
                world.type_remotely(0, "zero\n")
                await world.until_equal("zero\none\n")
                editor.write("late\n")
                await world.until_equal("zero\none\nlate\n")

    async def test_a_symbolic_link_stays_one(self, world: World, tmp_path: Path) -> None:
        (tmp_path / "target.md").write_text("one\n")
        world.path.symlink_to("target.md")
        async with world.mirrored():
            world.type_remotely(0, "zero\n")
            await world.until_equal("zero\none\n")
            assert world.path.is_symlink()
            (tmp_path / "target.md").write_text("target\n")
            await world.until_equal("target\n")


class TestSettle:
    """With a clock that goes on by hand."""

    async def test_a_save_counts_once_it_has_been_the_same_for_a_while(self, world: World) -> None:
        world.path.write_text("one\n")
        async with world.mirrored():
            await world.until_equal()
            world.clock.stop()
            world.path.write_text("one\ntw")
            await world.until_looked()
            world.clock.go_on(0.015)
            world.path.write_text("one\ntwo\n")
            await world.until_looked()
            world.clock.go_on(0.015)
            await world.until_looked()
            assert world.replica.read() == "one\n"
            world.clock.go_on(0.015)
            await until(lambda: world.replica.read() == "one\ntwo\n")

    @pytest.mark.parametrize("is_missing", [True, False])
    async def test_a_file_that_is_gone_or_empty_counts_as_a_deletion_later(
        self, world: World, is_missing: bool
    ) -> None:
        world.path.write_text("one\n")
        async with world.mirrored():
            await world.until_equal()
            world.clock.stop()
            world.path.write_bytes(b"")
            if is_missing:
                world.path.unlink()
            await world.until_looked()
            world.clock.go_on(0.095)
            await world.until_looked()
            assert world.replica.read() == "one\n"
            assert world.file_text() == ""
            world.clock.go_on(0.01)
            await until(lambda: world.replica.read() == "")

    async def test_a_remote_edit_waits_while_the_file_is_gone(self, world: World) -> None:
        world.path.write_text("one\n")
        async with world.mirrored():
            await world.until_equal()
            world.clock.stop()
            world.path.unlink()
            await world.until_looked()
            world.type_remotely(4, "two\n")
            world.clock.go_on(0.05)
            await world.until_looked()
            assert not world.path.exists()
            world.path.write_text("zero\none\n")
            await world.until_looked()
            world.clock.go_on(0.03)
            await world.until_looked()
            world.clock.go_on(0.03)
            await world.until_equal("zero\none\ntwo\n")

    async def test_what_is_typed_after_a_deletion_makes_the_file_again(self, world: World) -> None:
        world.path.write_text("one\n")
        async with world.mirrored():
            world.path.unlink()
            await until(lambda: world.replica.read() == "")
            world.type_remotely(0, "new\n")
            await world.until_equal("new\n")


class TestTrouble:
    async def trouble(self, world: World, hint: str) -> None:
        error = (await world.until_told(MirrorChange.FAILED)).error
        assert isinstance(error, MirrorError)
        assert hint in str(error)
        await world.until_looked()
        assert not [each for each in world.events if each.change is MirrorChange.FAILED]
        assert world.replica.read() == "one\n"

    @pytest.mark.parametrize(
        ("data", "hint"),
        [
            (b"one\ncaf\xe9\n", "not UTF-8"),
            (codecs.BOM_UTF16_LE + "one".encode("utf-16-le"), "UTF-16"),
        ],
    )
    async def test_a_bad_save_changes_nothing_until_it_is_mended(
        self, world: World, data: bytes, hint: str
    ) -> None:
        world.path.write_text("one\n")
        async with world.mirrored() as mirror:
            world.path.write_bytes(data)
            await self.trouble(world, hint)
            assert mirror.state is MirrorState.TROUBLED
            world.type_remotely(0, "zero\n")
            await world.until_looked()
            assert world.path.read_bytes() == data
            world.path.write_text("one\ntwo\n")
            await world.until_equal("zero\none\ntwo\n")
            await world.until_told(MirrorChange.RECOVERED)

    async def test_a_file_that_grows_too_large_is_told(self, world: World) -> None:
        world.path.write_text("one\n")
        async with world.mirrored():
            with world.path.open("r+b") as file:
                file.truncate(1 << 30)
            await self.trouble(world, "bytes, more than")
            world.path.write_text("one\ntwo\n")
            await world.until_equal("one\ntwo\n")

    async def test_a_text_that_grows_too_large_for_a_file_is_told_and_not_written(
        self, world: World
    ) -> None:
        """Else nothing could be read or written there any more, though others shorten the text again."""
        world.path.write_text("one\n")
        async with world.mirrored():
            world.type_remotely(0, "x" * MIRROR_FILE_BYTES_MAX)
            told = await world.until_told(MirrorChange.FAILED)
            assert "bytes, more than" in str(told.error)
            assert world.file_text() == "one\n"
            world.path.write_text("one\ntwo\n")
            await until(lambda: world.replica.read().endswith("xone\ntwo\n"))
            assert world.file_text() == "one\ntwo\n"
            world.type_remotely(0, "", deleted=MIRROR_FILE_BYTES_MAX)
            await world.until_equal("one\ntwo\n")
            world.type_remotely(0, "zero\n")
            await world.until_equal("zero\none\ntwo\n")
            await world.until_told(MirrorChange.RECOVERED)

    async def test_a_directory_that_goes_and_comes_back_is_no_deletion(
        self, tmp_path: Path
    ) -> None:
        (tmp_path / "folder").mkdir()
        world = World(path=tmp_path / "folder" / "notes.md")
        world.path.write_text("one\n")
        async with world.mirrored():
            shutil.move(tmp_path / "folder", tmp_path / "away")
            await self.trouble(world, "is gone")
            world.type_remotely(4, "two\n")
            shutil.move(tmp_path / "away", tmp_path / "folder")
            await world.until_equal("one\ntwo\n")

    async def test_a_directory_in_the_place_of_the_file_is_told(self, world: World) -> None:
        world.path.write_text("one\n")
        async with world.mirrored():
            world.path.unlink()
            world.path.mkdir()
            await self.trouble(world, "not a regular file")
            world.path.rmdir()
            world.path.write_text("two\n")
            await world.until_equal("two\n")

    async def test_a_read_only_file_is_told_and_written_later(self, world: World) -> None:
        world.path.write_text("one\n")
        world.path.chmod(0o444)
        async with world.mirrored():
            world.type_remotely(0, "zero\n")
            error = (await world.until_told(MirrorChange.FAILED)).error
            assert "read-only" in str(error)
            await world.until_looked()
            assert world.file_text() == "one\n"
            world.path.chmod(0o644)
            await world.until_equal("zero\none\n")
            await world.until_told(MirrorChange.RECOVERED)

    @pytest.mark.skipif(not heeds_permissions(), reason="root reads everything")
    async def test_a_file_that_may_not_be_read_is_told(self, world: World) -> None:
        world.path.write_text("one\n")
        async with world.mirrored():
            world.path.write_text("one\ntwo\n")
            world.path.chmod(0)
            await self.trouble(world, "permission")
            world.path.chmod(0o644)
            await world.until_equal("one\ntwo\n")

    async def test_a_save_that_is_not_permitted_is_told_and_stays_in_the_file(
        self, world: World
    ) -> None:
        world.path.write_text("one\n")
        async with world.mirrored():
            world.replica.may_write = False
            world.path.write_text("mine\n")
            error = (await world.until_told(MirrorChange.FAILED)).error
            assert isinstance(error, NotPermittedError)
            world.type_remotely(0, "zero\n")
            await world.until_looked()
            assert world.file_text() == "mine\n"
            world.path.write_text("one\n")
            await world.until_equal("zero\none\n")
