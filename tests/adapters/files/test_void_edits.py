"""Edits of ours that turn out not to count leave the document, and are kept beside the file."""

from pathlib import Path

import pytest

from adapters.files import keeping
from adapters.files.events import MirrorChange
from domain.errors import NotPermittedError, RefusedEditsError
from domain.ports.mirror import TextEdit
from domain.text import difference
from tests.adapters.files.mirroring import World, until


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(path=tmp_path / "notes.md")


def kept(world: World) -> list[str]:
    found = world.path.parent.glob(world.path.name + ".culm-kept*")
    return sorted(each.read_text() for each in found)


async def save_what_is_refused(world: World) -> None:
    """Save a line that is taken in, and then refused before it is on disk."""
    world.replica.hold_disk()
    world.path.write_text("one\nmine\n")
    await until(lambda: world.replica.read() == "one\nmine\n")
    world.replica.may_write = False
    world.replica.release_disk()


async def test_a_save_that_is_refused_stays_in_the_file(world: World) -> None:
    world.path.write_text("one\n")
    async with world.mirrored():
        await save_what_is_refused(world)
        refused = (await world.until_told(MirrorChange.FAILED)).error
        assert isinstance(refused, RefusedEditsError)
        world.type_remotely(0, "zero\n")
        await world.until_told(MirrorChange.FAILED)
        await world.until_looked()
        assert world.file_text() == "one\nmine\n"
        world.replica.may_write = True
        await world.until_equal("zero\none\nmine\n")
    assert kept(world) == []


async def test_edits_of_another_text_that_are_refused_double_nothing(world: World) -> None:
    large = "".join(f"line {number} of a file of two portions\n" for number in range(30_000))
    world.path.write_text("")
    async with world.mirrored():
        world.replica.has_refused_others = True
        world.path.write_text(large)
        await world.until_told(MirrorChange.FAILED)
        assert 0 < len(world.replica.read()) < len(large)
        await world.until_equal(large)


async def test_a_save_that_is_refused_stays_in_the_file_after_a_restart(world: World) -> None:
    world.path.write_text("one\n")
    async with world.mirrored():
        await save_what_is_refused(world)
        await world.until_told(MirrorChange.FAILED)
    with pytest.raises(NotPermittedError):
        await world.mirror().start()
    assert world.file_text() == "one\nmine\n"


@pytest.mark.parametrize("is_running", [True, False])
async def test_what_counts_no_longer_is_kept_beside_the_file(
    world: World, is_running: bool
) -> None:
    world.path.write_text("one\nmine\n")
    async with world.mirrored():
        await world.until_equal()
        if is_running:
            world.replica.make_void([TextEdit(position=4, deleted=5, inserted="")])
            await world.until_equal("one\n")
    if not is_running:
        world.replica.make_void([TextEdit(position=4, deleted=5, inserted="")])
        async with world.mirrored():
            await world.until_equal("one\n")
    event = await world.until_told(MirrorChange.FILE_KEPT)
    assert event.kept == f"{world.path}.culm-kept"
    assert kept(world) == ["one\nmine\n"]


async def test_every_content_is_kept_once(world: World) -> None:
    world.path.write_text("one\nmine\n")
    world.path.with_name("notes.md.culm-kept").write_text("earlier\n")
    async with world.mirrored():
        for text in ("one\n", "one\nmine\n", ""):
            edits = difference(world.replica.read(), text)
            world.replica.make_void(edits)
            await world.until_equal(text)
    assert kept(world) == ["earlier\n", "one\nmine\n"]


async def test_what_others_delete_is_not_kept(world: World) -> None:
    world.path.write_text("one\nmine\n")
    async with world.mirrored():
        world.replica.make_void([TextEdit(position=4, deleted=5, inserted="")])
        await world.until_equal("one\n")
    async with world.mirrored():
        world.type_remotely(0, "", deleted=3)
        await world.until_equal("\n")
    assert kept(world) == ["one\nmine\n"]


async def test_nothing_is_written_that_cannot_be_kept_before(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "MIRROR_KEPT_FILES_MAX", 1)
    world.path.with_name("notes.md.culm-kept").write_text("earlier\n")
    world.path.write_text("one\nmine\n")
    async with world.mirrored():
        world.replica.make_void([TextEdit(position=4, deleted=5, inserted="")])
        error = (await world.until_told(MirrorChange.FAILED)).error
        assert "move them away" in str(error)
        assert world.file_text() == "one\nmine\n"
        world.path.with_name("notes.md.culm-kept").unlink()
        await world.until_equal("one\n")
    assert kept(world) == ["one\nmine\n"]
