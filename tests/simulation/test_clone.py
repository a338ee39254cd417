"""A data directory that runs twice, or was restored from a backup: noticed, nothing lost, and all end alike."""

import asyncio
import copy
from collections.abc import Awaitable, Callable
from random import Random

import pytest
from pycrdt import Doc

from adapters.simulation.link import LinkOptions
from adapters.simulation.loop import run
from adapters.simulation.network import SimulatedNetwork
from adapters.simulation.world import SimulatedMachine, SimulatedWorld
from domain.errors import RefusedEditsError
from domain.events import CloneDetected, EditsRefused
from node import Document
from node.simulation import NodeNetwork
from tests.simulation.restoring import (
    WAIT_S,
    demoted_meanwhile,
    put_back,
    restored,
    text,
    until,
    until_due,
)
from tests.simulation.village import Villager, running

SOON_S = 10  # well before the next comparison


async def equal(*documents: Document) -> None:
    """Wait until all show the same and say that they have the same."""
    async with asyncio.timeout(WAIT_S):
        while len({(text(each), tuple(sorted(each.heights.items()))) for each in documents}) > 1:  # noqa: ASYNC110
            await asyncio.sleep(0.1)


def duplicate(world: SimulatedWorld, machine: SimulatedMachine, name: str) -> SimulatedMachine:
    """Another machine with the same data directory, keys included."""
    other = world.machine(name)
    other.key, other.storage_key = machine.key, machine.storage_key
    other.disk.content = copy.deepcopy(machine.disk.content)
    return other


def play(
    seed: int,
    story: Callable[[SimulatedWorld], Awaitable[None]],
    options: LinkOptions | None = None,
) -> None:
    async def scenario(seed: int) -> None:
        loop = asyncio.get_running_loop()
        network = SimulatedNetwork(loop, seed, options=options)
        await story(SimulatedWorld(loop, seed, network=network))

    run(scenario, seed, virtual_s_max=3_600)


async def start(world: SimulatedWorld, alice: Document) -> SimulatedMachine:
    """Let bob join, write something, and stop."""
    bob = world.machine("bob")
    async with running(bob) as node:
        document = await node.join(await alice.invite(uses=9))
        document.text("body").insert(0, "begun ")
        await document.durable("peers:1")
    return bob


def test_copy_that_runs_as_well_is_noticed_and_both_go_on(seed: int) -> None:
    async def story(world: SimulatedWorld) -> None:
        async with running(world.machine("alice")) as alice_node:
            alice = await alice_node.create("notes")
            bob = await start(world, alice)
            twin = duplicate(world, bob, "twin")
            async with running(bob) as bob_node:
                first = await bob_node.document(alice.id)
                first.text("body").insert(6, "first ")
                await first.durable("peers:1")
            world.network.partition(("twin",))
            async with running(twin) as twin_node:
                villager = Villager(twin_node, await twin_node.document(alice.id))
                second = villager.document
                second.map("more")["twin"] = [1, 2]
                second.text("body").insert(0, "second ")
                await second.durable()
                world.network.heal()
                await until(second, lambda each: "first" in text(each))
                await until(alice, lambda each: "second" in text(each))
                [event] = await villager.until(CloneDetected)
                assert event.reason == "copied"
                await equal(alice, second)
                second.text("body").insert(0, "on ")
                await until(alice, lambda each: text(each).startswith("on "))
                assert alice.map("more").to_py() == {"twin": [1, 2]}
            async with running(bob) as bob_node:
                first = await bob_node.document(alice.id)
                await first.synced()
                first.text("body").insert(0, "bob ")
                await equal(alice, first)
                assert sorted(text(alice).split()) == ["begun", "bob", "first", "on", "second"]

    play(seed, story)


def test_restored_backup_gets_back_what_it_lost_and_goes_on(seed: int) -> None:
    async def story(world: SimulatedWorld) -> None:
        async with running(world.machine("alice")) as alice_node:
            alice = await alice_node.create("notes")
            bob = await start(world, alice)
            backup = copy.deepcopy(bob.disk.content)
            async with running(bob) as bob_node:
                document = await bob_node.document(alice.id)
                document.text("body").insert(6, "lost ")
                await document.durable("peers:1")
            bob.disk.content = backup
            async with running(bob) as bob_node:
                villager = Villager(bob_node, await bob_node.document(alice.id))
                document = villager.document
                await until(document, lambda each: "lost" in text(each))
                async with asyncio.timeout(SOON_S):
                    await alice.durable("peers:1")
                [event] = await villager.until(CloneDetected)
                assert event.reason == "restored"
                document.text("body").insert(0, "new ")
                await until(alice, lambda each: text(each) == "new begun lost ")
                await equal(alice, document)

    # With so much jitter the operations come at times within the comparison, and at times after it.
    for number in range(8):
        play(seed + number, story, LinkOptions(delay_s=0.02, jitter_s=0.1))


def test_restored_backup_that_was_written_to_first_loses_nothing(seed: int) -> None:
    async def story(world: SimulatedWorld) -> None:
        async with running(world.machine("alice")) as alice_node:
            alice = await alice_node.create("notes")
            bob = await start(world, alice)
            backup = copy.deepcopy(bob.disk.content)
            async with running(bob) as bob_node:
                document = await bob_node.document(alice.id)
                for word in ("one ", "two ", "three "):
                    document.text("body").insert(0, word)
                    await document.durable("peers:1")
            bob.disk.content = backup
            world.network.partition(("bob",))
            async with running(bob) as bob_node:
                villager = Villager(bob_node, await bob_node.document(alice.id))
                document = villager.document
                for word in ("four ", "five "):
                    document.text("body").insert(0, word)
                    await document.durable()
                world.network.heal()
                async with asyncio.timeout(SOON_S):
                    await until(alice, lambda each: len(text(each).split()) == 6)
                    await equal(alice, document)
                await villager.until(CloneDetected)
            async with running(bob) as bob_node:
                document = await bob_node.document(alice.id)
                await document.synced()
                await equal(alice, document)
                words = ["begun", "five", "four", "one", "three", "two"]
                assert sorted(text(document).split()) == words
                assert bob_node._documents.get(alice.id).document.record.rescue is None

    play(seed, story)


def test_edits_while_a_slow_disk_takes_back_what_was_lost_are_kept(seed: int) -> None:
    chance = Random(seed)

    async def story(world: SimulatedWorld) -> None:
        async with running(world.machine("alice")) as alice_node:
            alice = await alice_node.create("notes")
            bob = await start(world, alice)
            backup = copy.deepcopy(bob.disk.content)
            async with running(bob) as bob_node:
                document = await bob_node.document(alice.id)
                for word in ("one ", "two "):
                    document.text("body").insert(0, word)
                    await document.durable("peers:1")
            bob.disk.content, bob.disk.write_s = backup, (0.3, 0.6)
            async with running(bob) as bob_node:
                villager = Villager(bob_node, await bob_node.document(alice.id))
                document = villager.document
                ledger, [_, log] = villager.state.ledger, villager.state.own_logs
                before = ledger.heights()[log]
                while ledger.heights()[log] == before:  # noqa: ASYNC110 - it is not stored yet
                    await asyncio.sleep(0.01)
                for number in range(40):
                    document.text("body").insert(0, f"{number} ")
                    await asyncio.sleep(chance.uniform(0, 0.2))
                await villager.until(CloneDetected)
                await document.durable("peers:1")
                await equal(alice, document)
                words = {"begun", "one", "two", *map(str, range(40))}
                assert set(text(alice).split()) == words

    for number in range(4):
        play(seed + number, story)


def test_what_nobody_accepts_is_refused_while_it_goes_on_in_new_logs(seed: int) -> None:
    async def story(world: SimulatedWorld) -> None:
        async with running(world.machine("alice")) as alice_node:
            alice = await alice_node.create("notes")
            bob = await start(world, alice)
            backup = copy.deepcopy(bob.disk.content)
            async with running(bob) as bob_node:
                document = await bob_node.document(alice.id)
                document.text("body").insert(0, "lost ")
                await document.durable("peers:1")
            bob.disk.content, bob.disk.write_s = backup, (0.3, 0.6)
            async with running(bob) as bob_node:
                villager = Villager(bob_node, await bob_node.document(alice.id))
                document, state = villager.document, villager.state
                while not state.has_returned:  # noqa: ASYNC110 - nothing tells of it before it is mended
                    await asyncio.sleep(0.01)
                document.map("more")["within"] = Doc()
                await villager.until(EditsRefused)
                await villager.until(CloneDetected)
                document.text("body").insert(0, "on ")
                await equal(alice, document)
                assert sorted(text(alice).split()) == ["begun", "lost", "on"]

    play(seed, story)


@pytest.mark.parametrize("after_s", [0.2, 0.5, 1.0, 1.5, 2.0, 3.0])
def test_crash_after_the_lost_came_back_and_before_the_fork_is_written_again(
    seed: int, after_s: float
) -> None:
    network = NodeNetwork(seed)

    async def scenario() -> None:
        async with network.node("alice") as alice_node, network.node("bob") as bob_node:
            alice = await alice_node.create("notes")
            bob = await bob_node.join(await alice.invite())
            host, bob = await restored(network, alice, bob)
            bob.text("body").insert(0, "fork ")
            await bob.durable()
            host.machine.disk.write_s = (0.1, 0.2)
            owner = bob._owner
            before = owner.document.own_logs
            network.heal()
            await until_due(bob)
            for number in range(150):  # much to be signed, bit by bit
                bob.array("many").append(f"{number} {'x' * 60_000}")
            while owner.document.own_logs == before:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
            await asyncio.sleep(after_s)
            await network.crash("bob")
            bob = await (await host.start()).document(alice.id)
            for document in (alice, bob):
                await until(document, lambda each: len(text(each).split()) == 3)
                assert sorted(text(document).split()) == ["after", "fork", "lost"]

    network.run(scenario)


@pytest.mark.parametrize("count", [1, 45])
def test_durable_means_it_while_edits_move_to_new_logs(seed: int, count: int) -> None:
    network = NodeNetwork(seed)

    async def scenario() -> None:
        async with network.node("alice") as alice_node, network.node("bob") as bob_node:
            alice = await alice_node.create("notes")
            bob = await bob_node.join(await alice.invite())
            host, bob = await restored(network, alice, bob)
            host.machine.disk.write_s = (0.3, 0.6)
            network.heal()
            await until_due(bob)
            for number in range(count):
                bob.array("many").append(f"{number} {'x' * 60_000}")
            rotating = asyncio.create_task(bob.rotate())  # written by itself, before any edit
            await asyncio.sleep(0)
            await bob.durable()
            await network.crash("bob")
            rotating.cancel()
            bob = await (await host.start()).document(alice.id)
            assert len(bob.array("many")) == count
            await network.converged(alice, bob)

    network.run(scenario)


def test_only_what_nobody_accepts_is_refused_and_nothing_is_lost_that_builds_on_the_rest(
    seed: int,
) -> None:
    network = NodeNetwork(seed)

    async def scenario() -> None:
        async with network.node("alice") as alice_node, network.node("bob") as bob_node:
            alice = await alice_node.create("notes")
            bob = await bob_node.join(await alice.invite())
            host, bob = await restored(network, alice, bob)
            host.machine.disk.write_s = (0.3, 0.6)
            network.heal()
            await until_due(bob)
            bob.text("hello").insert(0, "hello")
            await until_due(bob)
            bob.text("hello").insert(5, " world")
            bob.map("more")["within"] = Doc()
            bob.text("hello").insert(11, " lost")
            with pytest.raises(RefusedEditsError):
                await bob.durable()
            await until(alice, lambda each: str(each.text("hello")) == "hello world")

    network.run(scenario)


def test_who_was_demoted_and_promoted_is_not_told_of_a_backup(seed: int) -> None:
    network = NodeNetwork(seed)

    async def scenario() -> None:
        async with network.node("alice") as alice_node, network.node("bob") as bob_node:
            alice = await alice_node.create("notes")
            bob = await bob_node.join(await alice.invite())
            villager = Villager(bob_node, bob)
            await demoted_meanwhile(network, alice, bob, bob_node)
            network.heal()
            await asyncio.sleep(60)
            await network.converged(alice, bob)
            assert not villager.of_kind(CloneDetected)

    network.run(scenario)


def test_crash_while_it_goes_on_in_new_logs_loses_nothing_and_repeats_nothing(seed: int) -> None:
    network = NodeNetwork(seed)

    async def scenario() -> None:
        async with network.node("alice") as alice_node, network.node("bob") as bob_node:
            alice = await alice_node.create("notes")
            document = await bob_node.join(await alice.invite())
            document.text("body").insert(0, "begun ")
            await document.durable("peers:1")
            bob = network._now.find("bob")
            backup = copy.deepcopy(bob.machine.disk.content)
            for word in ("one ", "two "):
                document.text("body").insert(0, word)
                await document.durable("peers:1")
            document = await put_back(network, bob, backup, alice.id)
            for word in ("three ", "four "):
                document.text("body").insert(0, word)
                await document.durable()
            network.heal()
            for _ in range(8):
                await asyncio.sleep(network.random.uniform(0, 0.15))
                await network.crash("bob")
                await bob.start()
            document = await (await network.restart("bob")).document(alice.id)
            await until(alice, lambda each: len(text(each).split()) == 5)
            await equal(alice, document)
            assert sorted(text(alice).split()) == ["begun", "four", "one", "three", "two"]

    network.run(scenario)
