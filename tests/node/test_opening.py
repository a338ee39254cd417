"""A node opens whatever has become of its data directory, as long as its keys and its database can be read."""

from pathlib import Path

from node import Node


async def test_a_node_runs_though_its_port_cannot_be_remembered(tmp_path: Path) -> None:
    (tmp_path / "port").mkdir()
    async with Node.open(tmp_path) as node:
        assert node.addresses
