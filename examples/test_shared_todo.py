"""How the to-do list is tested: on simulated nodes, in virtual time. `pytest test_shared_todo.py --culm-seed=1..20`."""

import asyncio

from shared_todo import TodoList

from node import Node
from node.simulation import NodeNetwork


async def share(alice: Node, bob: Node) -> tuple[TodoList, TodoList]:
    """Let two nodes have one list."""
    document = await alice.create("groceries")
    copy = await bob.join(await document.invite())
    await copy.synced()
    return TodoList(document), TodoList(copy)


async def test_changes_made_apart_are_merged(culm_network: NodeNetwork) -> None:
    """Both go on while the network is down, and nothing of either is lost."""
    async with culm_network.node("alice") as alice, culm_network.node("bob") as bob:
        ours, theirs = await share(alice, bob)
        ours.add("bread")
        await culm_network.converged()

        culm_network.partition("alice", "bob")
        ours.rename("bread", "rye bread")
        ours.add("milk")
        theirs.finish("bread")
        theirs.add("eggs")
        await asyncio.sleep(1_200)  # minutes of virtual time take no time
        culm_network.heal()
        await culm_network.converged(ours.document, theirs.document)

        assert ours.show() == theirs.show()
        assert sorted(ours.show()) == ["[ ] eggs", "[ ] milk", "[x] rye bread"]


async def test_task_that_was_saved_survives_a_power_cut(culm_network: NodeNetwork) -> None:
    """What `durable` has promised is on the disk."""
    async with culm_network.node("alice") as alice, culm_network.node("bob") as bob:
        ours, theirs = await share(alice, bob)
        culm_network.partition("alice", "bob")
        ours.add("bread")
        await ours.document.durable()
        await culm_network.crash("alice")

        culm_network.heal()
        again = await culm_network.restart("alice")
        document = await again.document(theirs.document.id)
        await culm_network.converged(document, theirs.document)
        assert theirs.show() == ["[ ] bread"]


def test_slow_network_delays_nobody_who_types(culm_network: NodeNetwork) -> None:
    """Without an async test: `run` takes a scenario; virtual seconds pass in no time."""

    async def scenario() -> None:
        async with culm_network.node("alice") as alice, culm_network.node("bob") as bob:
            ours, theirs = await share(alice, bob)
            culm_network.set_link("alice", "bob", delay_s=2.0, jitter_s=5.0)
            for number in range(20):
                ours.add(f"task {number}")
            expected = ours.show()
            await culm_network.quiet()
            assert theirs.show() == expected

    culm_network.run(scenario)
