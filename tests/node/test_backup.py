"""A device that is put back from a backup, and the files that went on without it."""

import asyncio
import sqlite3
import tarfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest
from pycrdt import Doc

from domain.errors import MirrorError, NodeClosedError
from node.commands import mirroring
from node.commands.handler import NodeCommands
from tests.node.commanding import done, following, holding, opened


def unpack(archive: Path, directory: Path) -> None:
    directory.mkdir(mode=0o700)
    with tarfile.open(archive) as tar:
        tar.extractall(directory, filter="data")


@asynccontextmanager
async def restored(archive: Path, directory: Path) -> AsyncIterator[NodeCommands]:
    """Open what a backup holds."""
    unpack(archive, directory)
    async with opened(directory) as commands:
        yield commands


def mirrors(archive: Path) -> list[bytes]:
    """Read what a backup holds about mirrored files."""
    with tarfile.open(archive) as tar:
        files = [tar.extractfile(each) for each in tar if each.name.startswith("mirrors/")]
        return [each.read() for each in files if each is not None]


async def test_restored_device_doubles_nothing_in_a_file_that_is_newer(tmp_path: Path) -> None:
    ours, theirs, archive = tmp_path / "ours.md", tmp_path / "theirs.md", tmp_path / "backup.tar"
    ours.write_text("one\n")
    async with (
        opened(tmp_path / "here") as here,
        following(here, "share", path=str(ours)) as (first, _),
    ):
        async with (
            opened(tmp_path / "there") as there,
            following(there, "join", invite=first["invite"], path=str(theirs)),
        ):
            await holding(theirs, "one")
            await done(there, "backup", path=str(archive))
            ours.write_text("one\ntwo\n")
            await holding(theirs, "two")
            theirs.write_text("one\ntwo\nthree\n")
            await holding(ours, "three")
        async with (
            restored(archive, tmp_path / "restored") as again,
            following(again, "share", path=str(theirs)),
        ):
            ours.write_text("one\ntwo\nthree\nfour\n")
            await holding(theirs, "four")
            assert ours.read_text() == theirs.read_text() == "one\ntwo\nthree\nfour\n"
    assert [b"one" in each for each in mirrors(archive)] == [False]


async def test_restored_device_that_reaches_nobody_asks_before_it_takes_in_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirroring, "SYNC_S_MAX", 0.0)
    ours, theirs, archive = tmp_path / "ours.md", tmp_path / "theirs.md", tmp_path / "backup.tar"
    ours.write_text("one\n")
    async with (
        opened(tmp_path / "here") as here,
        following(here, "share", path=str(ours)) as (first, _),
        opened(tmp_path / "there") as there,
        following(there, "join", invite=first["invite"], path=str(theirs)),
    ):
        await holding(theirs, "one")
        await done(there, "backup", path=str(archive))
    theirs.write_text("mine\n")
    async with restored(archive, tmp_path / "restored") as again:
        with pytest.raises(MirrorError, match="restored from a backup"):
            await done(again, "share", path=str(theirs))
        assert theirs.read_text() == "mine\n"
        async with following(again, "share", path=str(theirs), merge=True):
            await holding(theirs, "one", "mine")


async def test_backup_holds_no_edits_that_are_still_to_be_written_again(tmp_path: Path) -> None:
    first, second = tmp_path / "first.tar", tmp_path / "second.tar"
    async with opened(tmp_path / "here") as here:
        original = await here._context.node.create("notes")
        async with opened(tmp_path / "there") as there:
            replica = await there._context.node.join(await original.invite())
            await replica.synced()
            await done(there, "backup", path=str(first))
            replica.text("body").insert(0, "lost ")
            await replica.durable("peers:1")
        async with restored(first, tmp_path / "restored") as again:
            replica = await again._context.node.document(original.id)
            replica.text("body").insert(0, "fork ")
            while not replica._owner.guard.renewals:  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0)
            await done(again, "backup", path=str(second))
        async with restored(second, tmp_path / "twice") as last:
            replica = await last._context.node.document(original.id)
            assert replica._owner.document.record.rescue is None
            await replica.synced()
            assert sorted(str(replica.text("body")).split()) == ["fork", "lost"]


async def test_backup_is_made_though_a_document_cannot_go_on(tmp_path: Path) -> None:
    archive = tmp_path / "backup.tar"
    async with opened(tmp_path / "here") as here:
        node = here._context.node
        good, bad = await node.create("good"), await node.create("bad")
        good.text("body").insert(0, "kept")
        text = bad.text("body")
        with closing(sqlite3.connect(tmp_path / "here" / "culm.sqlite3")) as database:
            database.execute("UPDATE operations SET row_check = x'00' WHERE document = 2")
            database.commit()
        bad.map("more")["within"] = Doc()  # is refused, so that everything is read again
        with pytest.raises(NodeClosedError, match="damaged on disk"):
            await bad.durable()
        text.insert(0, "unsaved")
        await done(here, "backup", path=str(archive))
        await node.forget(bad.id)
    async with restored(archive, tmp_path / "restored") as again:
        assert (await done(again, "cat", document="good"))["text"] == "kept"
