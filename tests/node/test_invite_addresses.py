"""Where an invite says that its inviter is."""

from pathlib import Path

import pytest

from domain.connectivity.address import is_loopback
from domain.errors import UsageError
from domain.invite import Invite
from node import Node, NodeConfig
from node.simulation import NodeNetwork


async def addresses(path: Path, config: NodeConfig) -> tuple[str, ...]:
    async with Node.open(path, config) as node:
        document = await node.create("shared")
        return Invite.decode(await document.invite()).addresses


@pytest.mark.parametrize(
    "address", ["nowhere", "host:0", "a b:1", "\udcff:1", "h" * 300 + ":1", "nobody@host:1"]
)
async def test_address_that_nobody_can_dial_is_refused_before_anything_is_written(
    culm_network: NodeNetwork, address: str
) -> None:
    async with culm_network.node("ada") as ada:
        document = await ada.create("notes")
        before = document.heights
        with pytest.raises(UsageError):
            await document.invite(addresses=(address,))
        assert document.heights == before


async def test_addresses_that_are_given_stand_in_the_invite(culm_network: NodeNetwork) -> None:
    async with culm_network.node("ada") as ada:
        given = ("example.org:4711", "[2001:db8::1]:1", f"{ada.peer_id}@192.0.2.1:65535")
        document = await ada.create("notes")
        assert Invite.decode(await document.invite(addresses=given)).addresses == given


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
