"""The command join, where something comes between."""

from pathlib import Path

import pytest

from domain.errors import NodeClosedError
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
