"""Two nodes that share hundreds of documents over one connection, which has a few dozen streams."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from adapters.quic.connection import PeerConnection
from adapters.simulation.internet.reproducible import reproducible_transport
from domain.limits import CHANNELS_OPEN_MAX
from node import Document, Node
from tests.adapters.simulation.internet.whole_nodes import (
    LEFT,
    LOSSY,
    PUBLIC,
    Group,
    Situation,
    share,
)

DOCUMENTS = 300


@pytest.fixture(autouse=True)
async def _reproducible(seed: int) -> AsyncIterator[None]:
    with reproducible_transport(seed, asyncio.get_running_loop().time):
        yield


def connections(node: Node) -> list[PeerConnection]:
    links = [link.connection for link in node.peers.links()]
    return [connection for connection in links if isinstance(connection, PeerConnection)]


async def watch(node: Node, most: list[int]) -> None:
    """Note how many streams are open, again and again."""
    while True:
        most += [len(connection._multiplexer._open) for connection in connections(node)]
        await asyncio.sleep(0.01)  # virtual


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_three_hundred_documents_converge_within_the_bound_of_streams(seed: int) -> None:
    situation = Situation(seed, LOSSY)
    async with situation.node(PUBLIC) as one, situation.node(LEFT) as other:
        pairs: list[tuple[Document, ...]] = [await share([one, other]) for _ in range(DOCUMENTS)]
        most: list[int] = []
        watching = [asyncio.create_task(watch(node, most)) for node in (one, other)]
        for turn in range(2):
            for documents in pairs:
                for author, document in enumerate(documents):
                    document.text("body").insert(0, f"{author}:{turn} ")
        for documents in pairs:
            await Group(nodes=(one, other), documents=documents).converge(60.0)
            assert len(str(documents[0].text("body")).split()) == 4
        assert len(connections(one)) == len(connections(other)) == 1
        assert max(most) == CHANNELS_OPEN_MAX
        for watcher in watching:
            watcher.cancel()
