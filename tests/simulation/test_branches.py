"""A restored device whose two histories others have built on: both stay, and nothing durable is lost without a word."""

import asyncio
import copy

import pytest
from pycrdt import Doc

from domain.errors import RefusedEditsError
from node import Document
from node.simulation import NodeNetwork
from tests.simulation.restoring import demoted_meanwhile, restored, text, until, until_due


def test_what_others_have_built_on_is_not_taken_back(seed: int) -> None:
    network = NodeNetwork(seed)

    async def scenario() -> None:
        async with (
            network.node("alice") as alice_node,
            network.node("bob") as bob_node,
            network.node("carol") as carol_node,
        ):
            bob = await bob_node.create("notes")
            alice = await alice_node.join(await bob.invite())
            carol = await carol_node.join(await bob.invite())
            await network.converged(alice, bob, carol)
            host = network._now.find("bob")
            backup = copy.deepcopy(host.machine.disk.content)
            network.partition("carol")
            await asyncio.sleep(60)
            bob.text("more").insert(0, "lost ")
            await bob.durable("peers:1")
            await host.stop()
            host.machine.disk.content = backup
            network.heal()
            network.partition("alice")
            bob = await (await host.start()).document(alice.id)
            bob.text("body").insert(0, "fork ")
            await bob.durable("peers:1")
            carol.text("body").insert(5, "carol ")
            await until(bob, lambda each: "carol" in text(each))
            network.partition("carol", "alice", "bob")
            await asyncio.sleep(30)
            bob.text("body").insert(len("fork carol "), "reply ")
            bob.text("more").insert(0, "plain ")
            await bob.durable()
            network.heal()
            for each in (alice, bob, carol):
                await until(each, lambda one: text(one) == "fork carol reply ")
                await until(
                    each, lambda one: sorted(str(one.text("more")).split()) == ["lost", "plain"]
                )

    network.run(scenario)


def test_backup_from_right_after_joining(seed: int) -> None:
    """Its log of control operations and that of content have both gone on without it."""

    async def scenario(network: NodeNetwork) -> None:
        async with network.node("alice") as alice_node, network.node("bob") as bob_node:
            alice = await alice_node.create("notes")
            bob = await bob_node.join(await alice.invite())
            _, bob = await restored(network, alice, bob)
            bob.text("body").insert(0, "fork ")
            await bob.durable()
            network.heal()
            for each in (alice, bob):
                await until(
                    each, lambda one: sorted(text(one).split()) == ["after", "fork", "lost"]
                )

    for number in range(4):
        network = NodeNetwork(seed + number)
        network.run(lambda network=network: scenario(network))  # type: ignore[misc]


def test_edits_next_to_text_that_counts_no_longer_are_refused_aloud(seed: int) -> None:
    network = NodeNetwork(seed)

    async def scenario() -> None:
        async with network.node("alice") as alice_node, network.node("bob") as bob_node:
            alice = await alice_node.create("notes")
            bob = await bob_node.join(await alice.invite())
            await demoted_meanwhile(network, alice, bob, bob_node)
            network._now.find("bob").machine.disk.write_s = (0.1, 0.2)
            network.heal()
            await until_due(bob)
            bob.text("body").insert(10, "beside ")
            with pytest.raises(RefusedEditsError):
                await bob.durable()
            bob.text("body").insert(0, "later ")
            await bob.durable()
            await until(alice, lambda each: text(each) == "later x ")

    network.run(scenario)


def test_what_is_written_again_is_not_refused_with_what_comes_after(seed: int) -> None:
    network = NodeNetwork(seed)

    async def scenario() -> None:
        async with network.node("alice") as alice_node, network.node("bob") as bob_node:
            alice = await alice_node.create("notes")
            bob = await bob_node.join(await alice.invite())
            bob.text("x").insert(0, "y")
            await bob.durable("peers:1")
            host, bob = await restored(network, alice, bob)
            for number in range(40):
                bob.array("many").append(f"{number} {'x' * 60_000}")
            await bob.durable()
            before = bob._owner.document.own_logs
            host.machine.disk.write_s = (0.1, 0.2)
            network.heal()
            while bob._owner.document.own_logs == before:  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.0002)
            bob.map("more")["within"] = Doc()
            with pytest.raises(RefusedEditsError):
                await bob.durable()

            def is_all(document: Document) -> bool:
                return len(document.array("many")) == 40

            await until(alice, is_all)
            assert is_all(bob)

    network.run(scenario)
