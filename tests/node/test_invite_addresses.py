"""Where an invite says that its inviter is."""

from pathlib import Path

from domain.connectivity.address import is_loopback
from domain.invite import Invite
from node import Node, NodeConfig


async def addresses(path: Path, config: NodeConfig) -> tuple[str, ...]:
    async with Node.open(path, config) as node:
        document = await node.create("shared")
        return Invite.decode(await document.invite()).addresses


async def test_loopback_is_left_out_where_there_is_anything_else(tmp_path: Path) -> None:
    async with Node.open(tmp_path / "a") as node:
        has_others = not all(map(is_loopback, node.addresses))
    found = await addresses(tmp_path / "b", NodeConfig())
    assert found
    assert not (has_others and any(map(is_loopback, found)))


async def test_loopback_is_named_where_it_is_all_there_is(tmp_path: Path) -> None:
    found = await addresses(tmp_path, NodeConfig(listen="127.0.0.1:0"))
    assert len(found) == 1
    assert is_loopback(found[0])
