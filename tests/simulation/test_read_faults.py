"""Each read of a node fails in turn, once, while much is read again: the node goes on, and all end alike."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from itertools import count

import pytest
from pycrdt import Doc

from domain.errors import RefusedEditsError, StorageError
from node import Document, Node
from node.simulation import NodeNetwork
from tests.simulation.restoring import demoted_meanwhile, restored, text, until
from tests.simulation.test_write_faults import again

Life = Callable[[NodeNetwork, Document, Document, Node, Callable[[], None]], Awaitable[Document]]


async def write(document: Document, word: str) -> None:
    document.text("body").insert(0, f"{word} ")
    await again(document.durable)


async def refused(
    network: NodeNetwork, alice: Document, bob: Document, node: Node, fail: Callable[[], None]
) -> Document:
    """Let Bob write what no replica takes, and write while he may not: he builds his document anew."""
    fail()
    bob.map("more")["within"] = Doc()
    with suppress(RefusedEditsError):
        await again(bob.durable)
    await demoted_meanwhile(network, alice, bob, node)
    network.heal()
    await write(alice, "alice")
    await until(bob, lambda each: "alice" in text(each))
    return bob


async def put_back(
    network: NodeNetwork, alice: Document, bob: Document, node: Node, fail: Callable[[], None]
) -> Document:
    """Let Bob come from a backup, and write before he hears what he lost: he goes on in new logs."""
    _, bob = await restored(network, alice, bob)
    fail()
    await write(bob, "fork")
    network.heal()
    await until(alice, lambda each: {"lost", "after", "fork"} <= set(text(each).split()))
    return bob


async def scenario(network: NodeNetwork, live: Life, after_reads: int) -> bool:
    """Let one read of Bob fail; says whether there were so many."""
    async with network.node("alice") as alice_node, network.node("bob") as bob_node:
        alice = await alice_node.create("notes")
        bob = await bob_node.join(await alice.invite())
        await bob.synced()
        disk = network._now.find("bob").machine.disk
        begun = disk.read_count

        def fail() -> None:
            nonlocal begun
            begun = disk.read_count
            disk.fail_read(StorageError("this read fails"), after_reads=after_reads)

        bob = await live(network, alice, bob, bob_node, fail)
        await write(bob, "bob")
        for each in (alice, bob):
            await until(each, lambda shown: "bob" in text(shown))
        await network.converged(alice, bob)
        assert text(alice) == text(bob)
        return disk.read_count >= begun + after_reads


@pytest.mark.parametrize("live", [refused, put_back])
def test_each_read_that_fails_costs_nothing(seed: int, live: Life) -> None:
    for after_reads in count():
        network = NodeNetwork(seed)
        if not network.run(partial(scenario, network, live, after_reads)):
            break
    assert after_reads > 8
