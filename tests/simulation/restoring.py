"""A whole node that was restored from a backup, and what tests of it wait for."""

import asyncio
import copy
from collections.abc import Callable

from adapters.simulation.content import DiskContent
from domain.identifiers import DocumentId
from node import Document, Node
from node.simulation import NodeNetwork, _Host

WAIT_S = 300


def text(document: Document) -> str:
    return str(document.text("body"))


async def until(document: Document, condition: Callable[[Document], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        await document.wait_until(lambda: condition(document))


async def restored(network: NodeNetwork, alice: Document, bob: Document) -> tuple[_Host, Document]:
    """Let bob write something, lose it by a backup, and come up again behind a partition."""
    host = network._now.find("bob")
    backup = copy.deepcopy(host.machine.disk.content)
    bob.text("body").insert(0, "lost ")
    await bob.durable("peers:1")
    alice.text("body").insert(0, "after ")
    await alice.durable("peers:1")
    return host, await put_back(network, host, backup, alice.id)


async def put_back(
    network: NodeNetwork, host: _Host, backup: DiskContent, document: DocumentId
) -> Document:
    """Let bob stop, and come up again from a backup, behind a partition."""
    await host.stop()
    host.machine.disk.content = backup
    network.partition("bob")
    return await (await host.start()).document(document)


async def until_due(document: Document) -> None:
    """Wait until a device knows that its logs have gone on without it, or counted for nothing."""
    while not document._owner.guard.is_due:  # noqa: ASYNC110 - nothing tells of it
        await asyncio.sleep(0.001)


async def demoted_meanwhile(
    network: NodeNetwork, alice: Document, bob: Document, bob_node: Node
) -> None:
    """Let bob write while he is cut off, and may not for a while: it counts for nothing, as he is about to hear."""
    bob.text("body").insert(0, "x ")
    await bob.durable("peers:1")
    network.partition("bob")
    bob.text("body").insert(2, "offline ")
    await bob.durable()
    await alice.set_role(bob_node.peer_id, "pull")
    await alice.set_role(bob_node.peer_id, "write")
    await asyncio.sleep(5)
