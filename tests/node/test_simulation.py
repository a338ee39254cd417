"""The simulated network for embedders: what it promises about time, crashes, partitions and waiting."""

import asyncio
from collections.abc import Callable

import pytest

from domain.errors import NodeClosedError, StorageError, UnsavedEditsError, UsageError
from node import Document, Node
from node.simulation import NodeNetwork, NotSettledError
from tests.simulation.restoring import restored, text

KEPT, LOST = "kept", "lost"


@pytest.fixture
def network(seed: int) -> NodeNetwork:
    return NodeNetwork(seed)


async def share(alice: Node, bob: Node) -> tuple[Document, Document]:
    document = await alice.create("notes")
    copy = await bob.join(await document.invite())
    await copy.synced()
    return document, copy


def write(document: Document, text: str) -> None:
    document.array("lines").append(text)


def lines(document: Document) -> list[str]:
    return [str(line) for line in document.array("lines")]


def test_same_seed_gives_the_same_run(network: NodeNetwork) -> None:
    async def scenario() -> tuple[object, ...]:
        async with network.node("alice") as alice, network.node("bob") as bob:
            document, copy = await share(alice, bob)
            network.set_link(jitter_s=0.5)
            for number in range(network.random.randint(5, 20)):
                write(document, str(number))
                await asyncio.sleep(network.random.random())
            await network.converged()
            return alice.peer_id, document.id, lines(copy), asyncio.get_running_loop().time()

    first, story = network.run(scenario), network.story()
    assert (network.run(scenario), network.story()) == (first, story)
    assert network.run(scenario, seed=network.seed + 1) != first


def test_crash_loses_what_was_not_yet_on_disk_and_nothing_else(network: NodeNetwork) -> None:
    async def scenario() -> None:
        async with network.node("alice") as alice:
            document = await alice.create("notes")
            write(document, KEPT)
            await document.durable()
            write(document, LOST)
            await network.crash("alice")
            with pytest.raises(NodeClosedError):
                lines(document)
        async with network.node("alice") as alice:
            assert lines(await alice.document(document.id)) == [KEPT]

    network.run(scenario)


def test_node_that_was_stopped_in_good_order_has_lost_nothing(network: NodeNetwork) -> None:
    async def scenario() -> None:
        async with network.node("alice") as alice:
            document = await alice.create("notes")
            write(document, KEPT)
            again = await network.restart("alice")
            assert lines(await again.document(document.id)) == [KEPT]

    network.run(scenario)


def test_partition_keeps_edits_apart_until_it_heals(network: NodeNetwork) -> None:
    async def scenario() -> None:
        async with network.node("alice") as alice, network.node("bob") as bob:
            document, copy = await share(alice, bob)
            network.partition("alice", ["bob"])
            write(document, "apart")
            with pytest.raises(
                NotSettledError, match=r"bob lacks 1 of the \d+ operations of 'notes'"
            ):
                await network.converged(document, copy, within_s=60)
            await asyncio.sleep(300)  # longer than connections bear silence
            assert lines(copy) == []
            network.heal()
            await network.converged(document, copy, within_s=60)
            assert lines(copy) == ["apart"]

    network.run(scenario)


def test_quiet_waits_until_nothing_is_on_its_way(network: NodeNetwork) -> None:
    async def scenario() -> None:
        async with network.node("alice") as alice, network.node("bob") as bob:
            document, copy = await share(alice, bob)
            network.set_link("alice", "bob", delay_s=20.0)
            network.partition("bob")
            write(document, "slow")
            network.heal()
            await network.quiet()
            assert lines(copy) == ["slow"]

    network.run(scenario)


def test_quiet_fails_while_somebody_goes_on_talking(network: NodeNetwork) -> None:
    async def scenario() -> None:
        async with network.node("alice") as alice, network.node("bob") as bob:
            document, _ = await share(alice, bob)
            loop = asyncio.get_running_loop()

            def talk() -> None:
                write(document, "again")
                loop.call_later(30, talk)

            talk()
            with pytest.raises(NotSettledError, match="not quiet within 600 virtual s"):
                await network.quiet()

    network.run(scenario)


def test_slow_link_takes_its_time(network: NodeNetwork) -> None:
    async def scenario() -> None:
        async with network.node("alice") as alice, network.node("bob") as bob:
            document, copy = await share(alice, bob)
            await network.quiet()
            network.set_link(delay_s=3.0)
            begun = asyncio.get_running_loop().time()
            write(document, "slow")
            await network.converged(document, copy)
            assert 3.0 < asyncio.get_running_loop().time() - begun < 3.5

    network.run(scenario)


def test_broken_connection_is_made_again(network: NodeNetwork) -> None:
    async def scenario() -> None:
        async with network.node("alice") as alice, network.node("bob") as bob:
            document, copy = await share(alice, bob)
            network.break_connections("alice", "bob")
            write(document, "after")
            await network.converged(document, copy)
            assert lines(copy) == ["after"]

    network.run(scenario)
    assert network.story().count(" opened") >= 2


def test_full_disk_shows_and_can_be_mended(network: NodeNetwork) -> None:
    async def scenario() -> None:
        async with network.node("alice") as alice:
            document = await alice.create("notes")
            network.fill_disk("alice")
            write(document, KEPT)
            with pytest.raises(UnsavedEditsError):
                await document.durable()
            network.mend_disk("alice")
            await document.durable()

    network.run(scenario)


# -- What goes wrong in a scenario --


def test_error_of_a_scenario_leaves_as_it_is_with_the_seed_in_a_note(network: NodeNetwork) -> None:
    async def scenario() -> None:
        async with network.node("alice"):
            await asyncio.sleep(1.5)
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine") as caught:
        network.run(scenario)
    assert f"seed {network.seed}, at 1.5" in "".join(caught.value.__notes__)


def test_skip_within_a_scenario_skips(network: NodeNetwork) -> None:
    async def scenario() -> None:
        async with network.node("alice"):
            pytest.skip("not today")

    with pytest.raises(pytest.skip.Exception, match="not today"):
        network.run(scenario)


def test_wait_that_nothing_ends_fails(network: NodeNetwork) -> None:
    async def scenario() -> None:
        async with network.node("alice"):
            await asyncio.Event().wait()

    with pytest.raises(Exception, match="nothing will ever happen"):
        network.run(scenario)


def test_scenario_that_takes_too_long_fails() -> None:
    async def scenario() -> None:
        await asyncio.sleep(101)

    with pytest.raises(Exception, match="not over after 100 s"):
        NodeNetwork(1, virtual_s_max=100).run(scenario)


def test_node_that_fails_unforeseen_ends_the_scenario(network: NodeNetwork) -> None:
    async def scenario() -> None:
        async with network.node("alice") as alice:
            document = await alice.create("notes")
            (owner,) = alice.owners()
            owner.on_commit[lambda *_: 1 / 0] = None  # type: ignore[index]
            write(document, "x")
            await document.durable("peers:1")

    with pytest.raises(ExceptionGroup) as caught:
        network.run(scenario)
    assert caught.group_contains(ZeroDivisionError)


async def crash_who_does_not_run(network: NodeNetwork) -> None:
    async with network.node("alice"):
        pass
    await network.crash("alice")


async def start_twice(network: NodeNetwork) -> None:
    async with network.node("alice"), network.node("alice"):
        pass


async def misspell(network: NodeNetwork) -> None:
    network.partition("alcie")


async def link_alone(network: NodeNetwork) -> None:
    network.set_link("alice")


async def name_badly(network: NodeNetwork) -> None:
    async with network.node("alice:1"):
        pass


@pytest.mark.parametrize(
    ("misuse", "text"),
    [
        (crash_who_does_not_run, "does not run"),
        (start_twice, "runs already"),
        (misspell, "there is no node 'alcie'"),
        (link_alone, "two machines"),
        (name_badly, "cannot be the name"),
    ],
)
def test_misuse_is_told(
    network: NodeNetwork, misuse: Callable[[NodeNetwork], object], text: str
) -> None:
    async def scenario() -> None:
        await misuse(network)  # type: ignore[misc]

    with pytest.raises(UsageError, match=text):
        network.run(scenario)


def test_network_exists_only_while_a_scenario_runs(network: NodeNetwork) -> None:
    with pytest.raises(UsageError, match=r"within `network.run"):
        network.heal()


def test_document_that_cannot_be_forgotten_on_a_full_disk_is_there_as_before(
    network: NodeNetwork,
) -> None:
    async def scenario() -> None:
        async with network.node("alice") as alice, network.node("bob") as bob:
            document = await alice.create("notes")
            copy = await bob.join(await document.invite())
            document.text("body").insert(0, "kept")
            await network.converged()
            network.fill_disk("bob")
            copy.text("body").insert(0, "unsaved ")
            with pytest.raises(UnsavedEditsError):
                await copy.durable()
            copy.text("body").insert(0, "and ")
            with pytest.raises(StorageError):
                await bob.forget(copy.id)
            network.mend_disk("bob")
            assert [each.id for each in bob.documents()] == [document.id]
            await (await bob.document(copy.id)).durable()
            await network.converged()
            assert text(document) == text(await bob.document(copy.id)) == "and unsaved kept"
            await bob.forget(copy.id)
            assert bob.documents() == []

    network.run(scenario)


@pytest.mark.parametrize("write_s", [(0.0005, 0.005), (0.3, 0.6)])
def test_replicas_have_not_converged_while_one_comes_back_from_a_backup(
    network: NodeNetwork, write_s: tuple[float, float]
) -> None:
    async def scenario() -> None:
        async with network.node("alice") as alice_node, network.node("bob") as bob_node:
            alice = await alice_node.create("notes")
            host, bob = await restored(network, alice, await bob_node.join(await alice.invite()))
            bob.text("body").insert(0, "fork ")
            await bob.durable()
            host.machine.disk.write_s = write_s
            network.heal()
            for _ in range(100):
                await network.converged(alice, bob)
                assert text(alice) == text(bob)
                await asyncio.sleep(0.01)

    network.run(scenario)
