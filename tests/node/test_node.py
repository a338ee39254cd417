"""The embedder's door: what opening and closing a node does where something is in the way."""

import asyncio
import socket
from pathlib import Path

import pytest

from domain.errors import ConfigurationError, StorageError
from node import Node, NodeConfig
from tests.node.process import free_address


def is_free(address: str) -> bool:
    host, _, port = address.rpartition(":")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        try:
            bound.bind((host, int(port)))
        except OSError:
            return False
    return True


async def test_data_directory_of_nobody_is_a_storage_error() -> None:
    with pytest.raises(StorageError, match="cannot be used"):
        async with Node.open("~nobody-of-that-name/culm"):
            pass


@pytest.mark.parametrize(
    "wrong",
    [
        {"network_id": ""},
        {"network_id": "half a character \udcff"},
        {"congestion_control": "fast"},
        {"stun": ("no server",)},
        {"turn": ("no server",)},
        {"via": ("no server",)},
        {"lan": "loudly"},
    ],
)
async def test_wrong_configuration_is_an_error_that_leaves_the_address_free(
    tmp_path: Path, wrong: dict[str, str]
) -> None:
    address = free_address()
    config = NodeConfig(listen=address, **wrong)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError):
        async with Node.open(tmp_path, config):
            pass
    assert is_free(address)


async def test_node_that_is_cancelled_while_it_closes_leaves_its_address_free(
    tmp_path: Path,
) -> None:
    address, closing = free_address(), asyncio.Event()

    async def run() -> None:
        async with Node.open(tmp_path, NodeConfig(listen=address)) as node:
            document = await node.create("notes")
            document.array("words").append("what closing waits for")
            closing.set()

    task = asyncio.create_task(run())
    await closing.wait()
    assert not is_free(address)
    task.cancel()
    await asyncio.wait({task})
    assert task.cancelled()
    assert is_free(address)


async def test_port_that_cannot_be_remembered_keeps_no_node_from_starting(tmp_path: Path) -> None:
    (tmp_path / "port").mkdir()
    async with Node.open(tmp_path) as node:
        assert node.addresses
