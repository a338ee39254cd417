"""How file and document are brought together at the start, and after a crash."""

import asyncio
import codecs
from pathlib import Path

import pytest

from adapters.files.common_text import CommonText
from adapters.files.events import MirrorChange
from adapters.simulation.text_replica import MemoryTextReplica
from domain.errors import (
    MirrorError,
    StorageFullError,
    UnsavedEditsError,
)
from tests.adapters.files.mirroring import World, until

LARGE = "".join(f"line {number} of a file that takes four portions\n" for number in range(60_000))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(path=tmp_path / "notes.md")


class TestStart:
    async def test_a_file_becomes_the_text_of_an_empty_document(self, world: World) -> None:
        world.path.write_text("hello\n")
        await world.mirror().start()
        assert world.replica.saved == "hello\n"
        assert world.base == CommonText(text="hello\n").encode()

    async def test_a_text_is_written_to_a_file_that_is_missing(self, world: World) -> None:
        world.replica = MemoryTextReplica("hello\n")
        async with world.mirrored():
            await world.until_equal("hello\n")

    async def test_a_text_is_written_to_a_file_that_is_empty(self, world: World) -> None:
        world.replica = MemoryTextReplica("hello\n")
        world.path.touch()
        async with world.mirrored():
            await world.until_equal("hello\n")

    async def test_two_different_texts_need_merge(self, world: World) -> None:
        world.replica = MemoryTextReplica("theirs\n")
        world.path.write_text("mine\n")
        with pytest.raises(MirrorError, match="--merge"):
            await world.mirror().start()
        assert world.file_text() == "mine\n"
        assert world.replica.read() == "theirs\n"
        assert world.base is None

    async def test_two_equal_texts_need_no_merge(self, world: World) -> None:
        world.replica = MemoryTextReplica("same\n")
        world.path.write_text("same\n")
        await world.mirror().start()
        assert world.base == CommonText(text="same\n").encode()

    async def test_merge_keeps_the_lines_of_both(self, world: World) -> None:
        world.replica = MemoryTextReplica("title\nmine\nend\n")
        world.path.write_text("title\ntheirs\nend\n")
        mirror = world.mirror(merge=True)
        await mirror.start()
        assert world.replica.saved == "title\nmine\ntheirs\nend\n"
        async with asyncio.TaskGroup() as group:
            running = group.create_task(mirror.run())
            await world.until_equal("title\nmine\ntheirs\nend\n")
            running.cancel()

    async def test_one_who_joins_does_not_seed_an_empty_document(self, world: World) -> None:
        world.path.write_text("mine\n")
        with pytest.raises(MirrorError, match="--merge"):
            await world.mirror(may_seed=False).start()
        await world.mirror(may_seed=False, merge=True).start()
        assert world.replica.read() == "mine\n"

    @pytest.mark.parametrize("data", [b"caf\xe9\n", codecs.BOM_UTF16_LE + b"a\0"])
    async def test_a_file_that_is_not_utf8_changes_nothing(self, world: World, data: bytes) -> None:
        world.path.write_bytes(data)
        with pytest.raises(MirrorError, match="not UTF-8"):
            await world.mirror().start()
        assert world.path.read_bytes() == data
        assert world.replica.read() == ""

    async def test_a_damaged_base_is_an_error(self, world: World) -> None:
        for base in ("", "{}", "[]", "[1]", '["a","b","c"]', "[" * 100_000):
            world.base = base
            with pytest.raises(MirrorError, match="damaged"):
                await world.mirror().start()

    async def test_a_disk_that_is_full_is_told(self, world: World) -> None:
        world.path.write_text("hello\n")
        world.replica.is_disk_full = True
        with pytest.raises(UnsavedEditsError):
            await world.mirror().start()


class TestResume:
    async def share_once(self, world: World, text: str) -> None:
        world.path.write_text(text)
        async with world.mirrored():
            await world.until_equal(text)

    async def test_what_both_sides_changed_meanwhile_is_merged(self, world: World) -> None:
        await self.share_once(world, "one\ntwo\nthree\n")
        world.path.write_text("one\ntwo\nTHREE\n")
        world.type_remotely(0, "zero\n")
        async with world.mirrored():
            await world.until_equal("zero\none\ntwo\nTHREE\n")

    async def test_what_was_deleted_on_one_side_does_not_come_back(self, world: World) -> None:
        await self.share_once(world, "one\ntwo\nthree\n")
        world.path.write_text("one\nthree\n")
        world.type_remotely(8, "", deleted=6)
        async with world.mirrored():
            await world.until_equal("one\n")

    @pytest.mark.parametrize("is_missing", [True, False])
    async def test_a_file_that_is_gone_or_empty_is_filled_again(
        self, world: World, is_missing: bool
    ) -> None:
        await self.share_once(world, "one\n")
        world.path.write_bytes(b"")
        if is_missing:
            world.path.unlink()
        async with world.mirrored():
            await world.until_equal("one\n")

    @pytest.mark.parametrize("is_missing", [True, False])
    @pytest.mark.parametrize("is_touched", [True, False])
    async def test_a_file_that_is_filled_before_we_fill_it_doubles_nothing(
        self, world: World, is_missing: bool, is_touched: bool
    ) -> None:
        """We come upon an editor that has emptied the file, and is about to write it."""
        if not is_missing:
            world.path.touch()
        world.base = CommonText(text="one\ntwo\n").encode()
        world.replica = MemoryTextReplica("one\ntwo\nremote\n")
        world.replica.hold_disk()
        async with world.mirrored():
            await until(lambda: world.replica.is_awaited)
            if is_touched:
                world.path.touch()
            world.path.write_text("one\ntwo\nmine\n")
            world.replica.release_disk()
            await world.until_equal("one\ntwo\nremote\nmine\n")
            assert "remote" in (world.base or "")

    async def test_a_crash_before_an_empty_file_was_filled_forgets_nothing(
        self, world: World
    ) -> None:
        world.base = CommonText(text="one\ntwo\n").encode()
        world.replica = MemoryTextReplica("one\ntwo\nremote\n")
        kept: list[str] = []

        async def save_base(base: str) -> None:
            kept.append(base)
            raise StorageFullError("the disk is full")

        mirror = world.mirror(save_base=save_base)
        async with asyncio.TaskGroup() as group:
            running = group.create_task(mirror.run())
            await until(lambda: bool(kept))
            running.cancel()
        world.base = kept[0]
        world.path.write_text("one\ntwo\nmine\n")
        async with world.mirrored():
            await world.until_equal("one\ntwo\nremote\nmine\n")

    async def test_line_ends_and_mark_are_those_of_the_file(self, world: World) -> None:
        world.path.write_bytes(codecs.BOM_UTF8 + b"one\r\ntwo\r\n")
        async with world.mirrored():
            assert world.replica.read() == "one\ntwo\n"
        world.type_remotely(0, "zero\n")
        async with world.mirrored():
            await until(
                lambda: world.path.read_bytes() == codecs.BOM_UTF8 + b"zero\r\none\r\ntwo\r\n"
            )

    @pytest.mark.parametrize("has_reached_the_other_side", [True, False])
    async def test_a_crash_while_a_save_was_read_doubles_nothing(
        self, world: World, has_reached_the_other_side: bool
    ) -> None:
        text = "one\nsaved\ntwo\n" if has_reached_the_other_side else "one\ntwo\n"
        world.replica = MemoryTextReplica(text + "remote\n")
        world.path.write_text("one\nsaved\ntwo\n")
        world.base = CommonText(text="one\ntwo\n", following="one\nsaved\ntwo\n").encode()
        async with world.mirrored():
            await world.until_equal("one\nsaved\ntwo\nremote\n")

    @pytest.mark.parametrize("was_written", [True, False])
    async def test_a_crash_while_the_file_was_written_doubles_nothing(
        self, world: World, was_written: bool
    ) -> None:
        world.replica = MemoryTextReplica("one\nhello\ntwo\n")
        world.path.write_text("saved\none\nhel\ntwo\n" if was_written else "saved\none\ntwo\n")
        world.base = CommonText(text="one\ntwo\n", following="one\nhel\ntwo\n").encode()
        async with world.mirrored():
            await world.until_equal("saved\none\nhello\ntwo\n")

    @pytest.mark.parametrize("stored", [0, 1, 2, 3])
    async def test_a_crash_while_a_large_file_was_read_cuts_nothing_off(
        self, world: World, stored: int
    ) -> None:
        world.path.write_text(LARGE)
        world.replica.saves_left = stored
        with pytest.raises(UnsavedEditsError):
            await world.mirror().start()
        world.replica = MemoryTextReplica(world.replica.saved)
        assert bool(world.replica.saved) == bool(stored)
        world.type_remotely(0, "remote\n")
        async with world.mirrored():
            await world.until_equal("remote\n" + LARGE if stored else None)
        assert LARGE in world.file_text()

    async def test_a_large_file_is_read_on_once_there_is_room(self, world: World) -> None:
        world.path.write_text("start\n")
        async with world.mirrored():
            world.replica.saves_left = 2
            world.path.write_text(LARGE)
            await world.until_told(MirrorChange.FAILED)
            assert world.file_text() == LARGE
            world.replica.saves_left, world.replica.is_disk_full = None, False
            await world.until_equal(LARGE)

    async def test_a_large_save_that_is_undone_meanwhile_leaves_nothing(self, world: World) -> None:
        world.path.write_text("start\n")
        async with world.mirrored():
            world.replica.saves_left = 2
            world.path.write_text(LARGE)
            await world.until_told(MirrorChange.FAILED)
            world.path.write_text("start\n")
            world.replica.saves_left, world.replica.is_disk_full = None, False
            await world.until_equal("start\n")
