"""Two nodes that lose each other and come back, and what their events say about it."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from domain.connectivity.lifecycle import State
from domain.events import Event
from node import Document, Node
from node.simulation import NodeNetwork


class Recorder:
    """Everything that happens in a node, with its time."""

    def __init__(self, node: Node) -> None:
        self.events: list[tuple[float, Event]] = []
        self._task = asyncio.create_task(self._record(node.events()))

    async def _record(self, events: AsyncIterator[Event]) -> None:
        loop = asyncio.get_running_loop()
        async for event in events:
            self.events.append((loop.time(), event))

    def of(self, kind: type[Event], since: float = 0.0) -> list[tuple[float, Event]]:
        return [(at, event) for at, event in self.events if isinstance(event, kind) and at >= since]


def state(node: Node, other: Node) -> State:
    status = node.peers.known.get(other.peer_id)
    return status.lifecycle.state if status is not None else State.DISCONNECTED


def are_joined(one: Node, other: Node) -> bool:
    """Whether both serve the same, one connection."""
    links = [
        [link for link in a.peers.links() if link.peer == b.peer_id]
        for a, b in ((one, other), (other, one))
    ]
    return (
        all(len(each) == 1 for each in links)
        and links[0][0].connection.binding == links[1][0].connection.binding
        and state(one, other) is state(other, one) is State.ACTIVE
    )


async def until_joined(one: Node, other: Node, within_s: float) -> float:
    """Wait, and give how long it took."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    async with asyncio.timeout(within_s):
        while not are_joined(one, other):  # noqa: ASYNC110 - looking is free in virtual time
            await asyncio.sleep(0.01)
    return loop.time() - began


async def pass_turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@asynccontextmanager
async def two(network: NodeNetwork) -> AsyncIterator[tuple[Node, Node, Document, Document]]:
    async with network.node("alice") as alice, network.node("bob") as bob:
        document = await alice.create("notes")
        copy = await bob.join(await document.invite())
        await network.converged()
        await until_joined(alice, bob, 5)
        yield alice, bob, document, copy


def write(document: Document, word: str) -> None:
    document.text("body").insert(0, f"{word} ")


def words(document: Document) -> Counter[str]:
    return Counter(str(document.text("body")).split())
