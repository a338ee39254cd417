import asyncio
import json
import os
import tarfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from pycrdt import Doc, Text

from domain.errors import (
    CulmError,
    DialError,
    InviteError,
    NotPermittedError,
    UnknownDocumentError,
    UpdateError,
    UsageError,
)
from node.commands.handler import NodeCommands
from tests.contracts.command_handler import Command, CommandHandlerContract
from tests.node.commanding import done, following, opened, until


class TestNodeCommands(CommandHandlerContract):
    @asynccontextmanager
    async def handler(self) -> AsyncIterator[NodeCommands]:
        with TemporaryDirectory() as directory:
            async with opened(Path(directory)) as self.commands:
                yield self.commands

    def answered(self) -> Command:
        return "documents", {}

    def refused(self) -> tuple[Command, type[CulmError]]:
        return ("cat", {"document": "nowhere"}), UnknownDocumentError

    def endless(self) -> Command:
        return "watch", {}

    async def until_idle(self) -> None:
        while self.commands.running:  # noqa: ASYNC110 - as in `until`
            await asyncio.sleep(0)


# Documents


async def test_document_is_found_by_name_id_and_first_digits(here: NodeCommands) -> None:
    created = await done(here, "create", name="meeting notes")
    for meant in ("meeting notes", created["document"], created["document"][:4].upper()):
        assert (await done(here, "cat", document=meant))["document"] == created["document"]


@pytest.mark.parametrize("meant", ["", "meeting", "abc", "%", "f" * 64])
async def test_nothing_else_finds_a_document(here: NodeCommands, meant: str) -> None:
    await done(here, "create", name="meeting notes")
    with pytest.raises(UnknownDocumentError):
        await done(here, "cat", document=meant)


async def test_name_of_several_documents_is_refused_with_their_ids(here: NodeCommands) -> None:
    created = [await done(here, "create", name="twin") for _ in range(2)]
    with pytest.raises(UsageError) as caught:
        await done(here, "cat", document="twin")
    assert all(each["document"][:16] in str(caught.value) for each in created)


async def test_argument_of_another_type_is_refused(here: NodeCommands) -> None:
    for arguments in ({"name": 3}, {"name": None}, {}):
        with pytest.raises(UsageError):
            await done(here, "create", **arguments)


async def test_root_that_is_not_there_is_refused(here: NodeCommands) -> None:
    await done(here, "create", name="notes")
    with pytest.raises(UsageError, match="other"):
        await done(here, "cat", document="notes", root="other")


async def test_forgotten_document_is_gone(here: NodeCommands) -> None:
    await done(here, "create", name="notes")
    await done(here, "forget", document="notes")
    assert (await done(here, "documents"))["documents"] == []


# Files in and out


async def test_text_goes_out_and_comes_in_again(here: NodeCommands, tmp_path: Path) -> None:
    source, target = tmp_path / "a.txt", tmp_path / "b.txt"
    source.write_text("zwei ü\n😀\n")
    imported = await done(here, "import", path=str(source))
    assert (imported["name"], imported["format"]) == ("a", "text")
    await done(here, "export", document="a", path=str(target), format="text")
    assert target.read_bytes() == source.read_bytes()


async def test_update_goes_to_another_node(
    here: NodeCommands, there: NodeCommands, tmp_path: Path
) -> None:
    doc: Doc[Any] = Doc()
    text = doc.get("body", type=Text)
    text += "from Yjs 😀"
    path = tmp_path / "out.yjs"
    path.write_bytes(doc.get_update())
    await done(here, "import", path=str(path), name="one")
    await done(here, "export", document="one", path=str(path), replace=True)
    await done(there, "import", path=str(path), name="two")
    assert (await done(there, "cat", document="two"))["text"] == "from Yjs 😀"


async def test_text_into_a_document_replaces_its_text(here: NodeCommands, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    for text in ("one\ntwo\n", "one\nthree\n"):
        path.write_text(text)
        into = {} if text.endswith("two\n") else {"into": "a"}
        await done(here, "import", path=str(path), **into)
    assert (await done(here, "cat", document="a"))["text"] == "one\nthree\n"


@pytest.mark.parametrize("data", [b"\xff" * 50, b""])
async def test_bad_update_leaves_no_document(
    here: NodeCommands, tmp_path: Path, data: bytes
) -> None:
    path = tmp_path / "bad.bin"
    path.write_bytes(data)
    with pytest.raises(UpdateError):
        await done(here, "import", path=str(path))
    assert (await done(here, "documents"))["documents"] == []


async def test_import_that_is_given_up_leaves_no_document(
    here: NodeCommands, tmp_path: Path
) -> None:
    path = tmp_path / "a.txt"
    path.write_text("half of it")
    importing = asyncio.create_task(done(here, "import", path=str(path)))
    while not (await done(here, "documents"))["documents"]:  # noqa: ASYNC110 - as in `until`
        await asyncio.sleep(0)
    importing.cancel()
    await asyncio.wait({importing})
    assert (await done(here, "documents"))["documents"] == []


async def test_text_that_is_not_utf8_is_refused(here: NodeCommands, tmp_path: Path) -> None:
    path = tmp_path / "latin.txt"
    path.write_bytes(b"caf\xe9")
    with pytest.raises(UsageError, match="UTF-8"):
        await done(here, "import", path=str(path), format="text")


async def test_export_replaces_no_file_unasked(here: NodeCommands, tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("mine")
    await done(here, "create", name="notes")
    with pytest.raises(UsageError, match="exists"):
        await done(here, "export", document="notes", path=str(path))
    assert path.read_text() == "mine"


async def test_export_of_what_is_not_there_leaves_the_file_that_it_would_replace(
    here: NodeCommands, tmp_path: Path
) -> None:
    path = tmp_path / "precious"
    path.write_text("mine")
    path.chmod(0o600)
    await done(here, "create", name="notes")
    wanted = {"document": "notes", "path": str(path), "format": "text", "replace": True}
    with pytest.raises(UsageError, match="bodyy"):
        await done(here, "export", **wanted, root="bodyy")
    assert path.read_text() == "mine"
    await done(here, "export", **wanted)
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("", 0o600)


async def test_name_that_is_no_text_is_refused_and_that_of_a_file_is_mended(
    here: NodeCommands, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="UTF-8"):
        await done(here, "create", name="\udcff")
    path = tmp_path / os.fsdecode(b"n\xff.md")
    path.write_text("x")
    assert (await done(here, "import", path=str(path)))["name"] == "n\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize("is_link", [False, True])
async def test_backup_is_for_its_owner_alone_whatever_an_earlier_command_left(
    here: NodeCommands, tmp_path: Path, is_link: bool
) -> None:
    archive, left, other = (tmp_path / name for name in ("a.tar", ".a.tar.culm-new", "other"))
    other.write_text("other")
    other.chmod(0o644)
    left.symlink_to(other) if is_link else other.rename(left)
    await done(here, "backup", path=str(archive))
    assert archive.stat().st_mode & 0o777 == 0o600
    assert left.read_text() == "other"


async def test_backup_of_a_running_node_can_be_opened(here: NodeCommands, tmp_path: Path) -> None:
    archive, source = tmp_path / "backup.tar", tmp_path / "a.txt"
    source.write_text("kept")
    await done(here, "import", path=str(source))
    saved = await done(here, "backup", path=str(archive))
    assert archive.stat().st_mode & 0o777 == 0o600
    assert saved["bytes"] == archive.stat().st_size
    with tarfile.open(archive) as file:
        file.extractall(tmp_path / "restored", filter="data")
    async with opened(tmp_path / "restored") as restored:
        assert (await done(restored, "cat", document="a"))["text"] == "kept"
        before, after = await done(here, "status"), await done(restored, "status")
        assert before["peer"] == after["peer"]
    assert archive in (left := set(await asyncio.to_thread(lambda: list(tmp_path.iterdir()))))
    assert not any(path.name.startswith(".") for path in left)


# Peers


async def test_join_brings_the_content(
    here: NodeCommands, there: NodeCommands, tmp_path: Path
) -> None:
    path = tmp_path / "a.txt"
    path.write_text("hello")
    await done(here, "import", path=str(path))
    invite = (await done(here, "invite", document="a"))["invite"]
    joined = await done(there, "join", invite=invite)
    assert (joined["name"], joined["role"], joined["synced"]) == ("a", "write", True)
    assert (await done(there, "cat", document="a"))["text"] == "hello"
    [owner] = here._context.node.owners()
    [member] = here._context.node.peers.known
    await until(lambda: owner.receipts.pending(member) == 0)
    assert (await done(here, "status"))["documents"][0]["pending"] == {str(member): 0}
    [peer] = (await done(here, "peers"))["peers"]
    assert (peer["state"], peer["documents"]) == ("active", [joined["document"]])
    json.dumps(await done(here, "status"))


async def test_used_invite_is_refused(
    here: NodeCommands, there: NodeCommands, tmp_path: Path
) -> None:
    await done(here, "create", name="notes")
    invite = (await done(here, "invite", document="notes"))["invite"]
    await done(there, "join", invite=invite)
    async with opened(tmp_path / "late") as late:
        with pytest.raises(InviteError) as caught:
            await done(late, "join", invite=invite)
        assert caught.value.reason == "used"
        assert (await done(late, "documents"))["documents"] == []


async def test_inviter_that_is_away_is_not_reachable(there: NodeCommands, tmp_path: Path) -> None:
    async with opened(tmp_path / "gone") as gone:
        await done(gone, "create", name="notes")
        invite = (await done(gone, "invite", document="notes"))["invite"]
    with pytest.raises(DialError):
        await done(there, "join", invite=invite)


async def test_watch_tells_what_happens(here: NodeCommands, there: NodeCommands) -> None:
    await done(here, "create", name="notes")
    invite = (await done(here, "invite", document="notes"))["invite"]
    async with following(here, "watch") as (_, answers):
        await done(there, "join", invite=invite)
        wanted = {"connection-active", "member-added"}
        await until(lambda: wanted <= {each["event"] for each in answers})
    for answer in answers:
        json.dumps(answer)


# Members


async def test_roles_are_given_and_members_removed(here: NodeCommands, there: NodeCommands) -> None:
    await done(here, "create", name="notes")
    invite = (await done(here, "invite", document="notes", role="read"))["invite"]
    assert (await done(there, "join", invite=invite))["role"] == "read"
    [first, second] = (await done(here, "members", document="notes"))["members"]
    assert (first["role"], first["is_own"], second["role"]) == ("manage", True, "read")
    assert second["person"] == second["peer"]
    for member, role in ((second["peer"], "write"), (second["peer"][:6], "manage")):
        await done(here, "role", document="notes", member=member, role=role)
        [*_, changed] = (await done(here, "members", document="notes"))["members"]
        assert {first["role"], changed["role"]} == {"manage", role}
    for wrong in ("abc", "0000", "zzzz"):
        with pytest.raises(UsageError, match="no member"):
            await done(here, "remove", document="notes", member=wrong)
    await done(here, "remove", document="notes", member=second["peer"])
    assert len((await done(here, "members", document="notes"))["members"]) == 1
    [owner] = there._context.node.owners()
    await until(lambda: owner.document.role is None)
    with pytest.raises(NotPermittedError):
        await done(there, "leave", document="notes")


async def test_any_member_lets_in_another_of_its_devices(
    here: NodeCommands, there: NodeCommands, tmp_path: Path
) -> None:
    await done(here, "create", name="notes")
    invite = (await done(here, "invite", document="notes"))["invite"]
    await done(there, "join", invite=invite)
    own = (await done(there, "invite", document="notes", own=True))["invite"]
    async with opened(tmp_path / "phone") as phone:
        await done(phone, "join", invite=own)
        persons = [
            each["person"] for each in (await done(phone, "members", document="notes"))["members"]
        ]
        assert len(persons) == 3
        assert len(set(persons)) == 2
        with pytest.raises(NotPermittedError):
            await done(there, "invite", document="notes")
        await done(there, "revoke", document="notes", invite=own)
