"""A node opens whatever has become of its data directory, as long as its keys and its database can be read."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from node import Node, NodeConfig


async def test_a_node_runs_though_its_port_cannot_be_remembered(tmp_path: Path) -> None:
    (tmp_path / "port").mkdir()
    async with Node.open(tmp_path) as node:
        assert node.addresses


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE documents SET sealed = 5 WHERE id = 1",
        "UPDATE records SET sealed = 5 WHERE document = 1",
        "UPDATE records SET name = 'text' WHERE id = 1",
    ],
)
async def test_a_document_whose_row_is_damaged_keeps_no_other_from_being_opened(
    tmp_path: Path, change: str
) -> None:
    config = NodeConfig(listen="127.0.0.1:0")
    async with Node.open(tmp_path, config) as node:
        damaged = await node.create("damaged")
        await node.create("whole")
    with closing(sqlite3.connect(tmp_path / "culm.sqlite3")) as database:
        assert database.execute(change).rowcount
        database.commit()
    async with Node.open(tmp_path, config) as node:
        assert [each.name for each in node.documents()] == ["whole"]
        assert list(node.damaged_documents()) == [damaged.id]
