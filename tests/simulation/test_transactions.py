"""What is edited in a transaction that stays open across an await is kept where the document is replaced."""

import asyncio
import copy

from node import Document
from node.simulation import NodeNetwork


async def edit_slowly(document: Document) -> None:
    async with document.ydoc.new_transaction():
        document.text("body").insert(0, "slowly ")
        await asyncio.sleep(1)
        document.text("body").insert(0, "very ")


def test_a_transaction_survives_a_rebuild(seed: int) -> None:
    network = NodeNetwork(seed)

    async def scenario() -> None:
        async with network.node("alice") as alice_node, network.node("bob") as bob_node:
            alice = await alice_node.create("notes")
            bob = await bob_node.join(await alice.invite())
            editing = asyncio.create_task(edit_slowly(bob))
            await asyncio.sleep(0.1)
            state = bob._owner.document
            state.rebuild_reason = "a test wants it"
            alice.text("body").insert(0, "quickly ")
            await editing
            await network.converged(alice, bob)
            assert state.rebuild_reason is None
            assert sorted(str(alice.text("body")).split()) == ["quickly", "slowly", "very"]

    network.run(scenario)


def test_a_transaction_survives_going_on_in_new_logs(seed: int) -> None:
    network = NodeNetwork(seed)

    async def scenario() -> None:
        async with network.node("alice") as alice_node, network.node("bob") as bob_node:
            alice = await alice_node.create("notes")
            bob = await bob_node.join(await alice.invite())
            backup = copy.deepcopy(network._now.find("bob").machine.disk.content)
            bob.text("body").insert(0, "lost ")
            await bob.durable("peers:1")
            host = network._now.find("bob")
            await host.stop()
            host.machine.disk.content = backup
            network.partition("bob")
            bob_node = await host.start()  # noqa: PLW2901 - the same, restored
            bob = await bob_node.document(alice.id)
            editing = asyncio.create_task(edit_slowly(bob))
            network.heal()
            await editing
            await network.converged(alice, bob)
            assert sorted(str(alice.text("body")).split()) == ["lost", "slowly", "very"]
            assert not bob._owner.document.has_returned

    network.run(scenario)
