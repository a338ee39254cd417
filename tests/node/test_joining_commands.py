"""The command join, where something comes between."""

import os
from pathlib import Path

import pytest

from domain.errors import MirrorError, NodeClosedError, UsageError
from node.commands.handler import NodeCommands
from node.simulation import NodeNetwork


async def test_document_that_is_forgotten_while_it_is_fetched_is_not_said_to_be_there(
    culm_network: NodeNetwork, tmp_path: Path
) -> None:
    async with culm_network.node("ada") as ada, culm_network.node("bob") as bob:
        invite = await (await ada.create("notes")).invite()
        answers = NodeCommands(bob, tmp_path).handle("join", {"invite": invite})
        assert (await anext(answers))["event"] == "joined"
        culm_network.partition("bob")
        assert (await anext(answers))["event"] == "syncing"
        await bob.forget(bob.documents()[0].id)
        with pytest.raises(NodeClosedError):
            await anext(answers)


@pytest.mark.parametrize("name", ["n" * 300, "half\0"])
@pytest.mark.parametrize("command", ["share", "join", "import", "export", "backup"])
async def test_path_that_cannot_be_one_is_an_error_of_use(
    culm_network: NodeNetwork, tmp_path: Path, command: str, name: str
) -> None:
    async with culm_network.node("ada") as ada:
        document = await ada.create("notes")
        given = {
            "join": {"invite": await document.invite()},
            "export": {"document": "notes"},
        }.get(command, {})
        answers = NodeCommands(ada, tmp_path).handle(
            command, {"path": str(tmp_path / name), **given}
        )
        with pytest.raises(UsageError, match="cannot be used"):
            await anext(answers)


async def test_nothing_but_a_plain_file_is_mirrored(
    culm_network: NodeNetwork, tmp_path: Path
) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    async with culm_network.node("ada") as ada, culm_network.node("bob") as bob:
        invite = await (await ada.create("notes")).invite()
        commands = NodeCommands(bob, tmp_path)
        with pytest.raises(MirrorError, match="plain file"):
            await anext(commands.handle("join", {"invite": invite, "path": str(path)}))
        assert bob.documents() == []
