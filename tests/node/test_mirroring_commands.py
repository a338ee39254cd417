"""The commands that keep files and documents equal."""

import contextlib
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from pycrdt import Text

from domain.errors import (
    MirrorError,
    NodeClosedError,
)
from node.commands.handler import NodeCommands
from tests.node.commanding import done, exhaust, following, holding, opened, until


async def test_two_files_are_kept_equal(
    here: NodeCommands, there: NodeCommands, tmp_path: Path
) -> None:
    ours, theirs = tmp_path / "ours.md", tmp_path / "theirs.md"
    ours.write_text("start\n")
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        first, _ = await enter(following(here, "share", path=str(ours)))
        assert (first["name"], first["is_new"]) == ("ours.md", True)
        await enter(following(there, "join", invite=first["invite"], path=str(theirs)))
        await holding(theirs, "start")
        theirs.write_text("start\nthere\n")
        await holding(ours, "there")
        ours.write_text("here\nstart\nthere\n")
        await holding(theirs, "here", "there")
        assert (await done(here, "status"))["mirrored"] == [str(ours)]
    assert (await done(here, "status"))["mirrored"] == []


async def test_shared_again_it_takes_in_what_was_edited_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "notes.md"
    path.write_text("one\ntwo\n")
    async with (
        opened(tmp_path / "data") as commands,
        following(commands, "share", path=str(path)) as (first, _),
    ):
        pass
    path.write_text("one\ntwo\nthree\n")
    async with opened(tmp_path / "data") as commands:
        (tmp_path / "text").write_text("zero\none\ntwo\n")
        await done(commands, "import", path=str(tmp_path / "text"), into="notes.md")
        async with following(commands, "share", path=str(path)) as (again, _):
            assert (again["document"], again["is_new"]) == (first["document"], False)
            await holding(path, "zero\none\ntwo\nthree\n")
        assert (await done(commands, "documents"))["documents"] == [
            {key: first[key] for key in ("document", "name", "role")}
        ]


async def test_file_with_text_is_not_overwritten_and_the_invite_stays_unused(
    here: NodeCommands, there: NodeCommands, tmp_path: Path
) -> None:
    ours, theirs = tmp_path / "ours.md", tmp_path / "theirs.md"
    ours.write_text("ours\n")
    theirs.write_text("theirs\n")
    async with following(here, "share", path=str(ours)) as (first, _):
        with pytest.raises(MirrorError, match="--merge"):
            await done(there, "join", invite=first["invite"], path=str(theirs))
        assert theirs.read_text() == "theirs\n"
        invite = first["invite"]
        async with following(there, "join", invite=invite, path=str(theirs), merge=True):
            await holding(theirs, "ours", "theirs")
            await holding(ours, "ours", "theirs")


async def test_file_is_mirrored_once(here: NodeCommands, tmp_path: Path) -> None:
    path, link = tmp_path / "notes.md", tmp_path / "link.md"
    path.write_text("x")
    link.symlink_to(path)
    async with following(here, "share", path=str(path)):
        with pytest.raises(MirrorError, match="already"):
            await done(here, "share", path=str(link))


async def test_forgotten_document_ends_its_mirror(here: NodeCommands, tmp_path: Path) -> None:
    path = tmp_path / "notes.md"
    path.write_text("x")
    answers = here.handle("share", {"path": str(path)})
    first = await anext(answers)
    await done(here, "forget", document=first["document"])
    with pytest.raises(NodeClosedError, match="no longer mirrored"):
        await exhaust(answers)
    async with following(here, "share", path=str(path)) as (again, _):
        assert again["is_new"]
        assert again["document"] != first["document"]


@pytest.mark.parametrize("name", ["missing.md", "."])
async def test_what_is_no_file_is_not_shared(here: NodeCommands, tmp_path: Path, name: str) -> None:
    with pytest.raises(MirrorError):
        await done(here, "share", path=str(tmp_path / name))
    assert (await done(here, "documents"))["documents"] == []


async def test_file_that_is_not_utf8_leaves_no_document(here: NodeCommands, tmp_path: Path) -> None:
    path = tmp_path / "latin.txt"
    path.write_bytes(b"caf\xe9")
    with pytest.raises(MirrorError, match="UTF-8"):
        await done(here, "share", path=str(path))
    assert (await done(here, "documents"))["documents"] == []


async def test_trouble_with_the_file_is_told_and_the_mirror_goes_on(
    here: NodeCommands, tmp_path: Path
) -> None:
    path = tmp_path / "notes.md"
    path.write_text("fine")
    async with following(here, "share", path=str(path)) as (_, answers):
        path.write_bytes(b"caf\xe9")
        await until(lambda: any(each["event"] == "failed" and each["error"] for each in answers))
        path.write_text("mended")
        [owner] = here._context.node.owners()
        await until(lambda: str(owner.document.ydoc.get("body", type=Text)) == "mended")


async def test_damaged_memory_of_a_mirror_is_an_error(here: NodeCommands, tmp_path: Path) -> None:
    path = tmp_path / "notes.md"
    path.write_text("x")
    async with following(here, "share", path=str(path)):
        pass
    [kept] = (tmp_path / "here" / "mirrors").iterdir()
    assert kept.stat().st_mode & 0o777 == 0o600
    kept.write_text(kept.read_text()[:-5])
    with pytest.raises(MirrorError, match="damaged"), contextlib.suppress(StopAsyncIteration):
        await done(here, "share", path=str(path))
