"""A device that shows one history to some and another to others: who meets later agrees, and keeps what was written."""

import asyncio
from collections.abc import Awaitable, Callable

from adapters.simulation.link import LinkOptions
from adapters.simulation.loop import run
from domain.events import ForkProven, OperationRefused
from domain.identity import verify_operation
from domain.operations.operation import Operation, decode_header
from domain.sync.wire import OutgoingWire
from tests.simulation.hostile import Hostile, own_update
from tests.simulation.test_hostile import with_signature
from tests.simulation.village import Village, Villager, open_village, running

AGREED_S = 300
Story = Callable[[Village], Awaitable[None]]


def play(seed: int, story: Story) -> None:
    async def scenario(seed: int) -> None:
        async with open_village(seed) as village:
            await story(village)

    run(scenario, seed, virtual_s_max=3_600)


async def agreed(*villagers: Villager) -> None:
    """Wait until all show the same and say that they have the same."""
    async with asyncio.timeout(AGREED_S):
        while len({_account(each) for each in villagers}) > 1:  # noqa: ASYNC110
            await asyncio.sleep(0.1)


def _account(villager: Villager) -> tuple[object, ...]:
    return villager.text, tuple(sorted(villager.document.heights.items()))


def branch(mallory: Hostile, name: str, count: int) -> list[Operation]:
    """The first operations of the content log, as it could be."""
    written: list[Operation] = []
    for number in range(count):
        update = own_update(mallory, f"{name} ") if not number else b"\0\0"
        written.append(mallory.update(update, after=written[-1] if written else None))
    return written


async def insert(villager: Villager, word: str, text: str) -> None:
    """Write in the middle of a word."""
    villager.document.text("text").insert(villager.text.index(word) + 2, text)
    await villager.document.durable()


async def show_two_histories(village: Village) -> None:
    """Mallory shows one branch to Alice and another to Bob, who cannot hear each other, and each writes after it."""
    world, mallory = village.world, village.mallory
    first, second = branch(mallory, "one", 3), branch(mallory, "two", 5)
    world.network.partition(("alice", "mallory"), ("bob",))
    await mallory.send(await mallory.connect_to(world.machine("alice")), *first)
    await village.alice.until_text_has("one")
    await insert(village.alice, "one", "ALICE")
    world.network.partition(("alice",), ("bob", "mallory"))
    await mallory.send(await mallory.connect_to(world.machine("bob")), *second)
    await village.bob.until_text_has("two")
    await insert(village.bob, "two", "BOB")
    world.network.heal()


def test_members_that_took_different_branches_end_agreed(seed: int) -> None:
    async def story(village: Village) -> None:
        await show_two_histories(village)
        await agreed(village.alice, village.bob)
        for villager in (village.alice, village.bob):
            assert "onALICEe" in villager.text
            assert "twBOBo" in villager.text
            [proof] = await villager.until(ForkProven)
            assert proof.author == village.mallory.machine.key.peer
        await village.alice.document.remove(village.mallory.machine.key.peer)
        await agreed(village.alice, village.bob)
        assert (
            "onALICEe" in village.bob.text
        )  # it was there before the removal, like all that builds on it

    play(seed, story)


def test_who_joins_later_and_who_restarts_agree(seed: int) -> None:
    async def story(village: Village) -> None:
        await show_two_histories(village)
        await agreed(village.alice, village.bob)
        carol = village.world.machine("carol")
        async with running(carol) as node:
            document = await node.join(await village.alice.document.invite())
            await document.synced()
            await agreed(village.alice, village.bob, Villager(node, document))
        async with running(carol) as node:
            again = Villager(node, await node.document(village.document))
            await agreed(village.alice, village.bob, again)

    play(seed, story)


def test_a_rival_that_its_author_did_not_sign_proves_nothing(seed: int) -> None:
    async def story(village: Village) -> None:
        connection = await village.attack()
        mallory = village.mallory
        [first] = branch(mallory, "one", 1)
        [rival] = branch(mallory, "two", 1)
        await mallory.send(connection, first)
        await village.alice.until_text_has("one")
        await mallory.send(connection, with_signature(rival, bytes(64)))
        await village.check_unharmed()
        assert village.alice.of_kind(ForkProven) == []
        assert village.alice.state.ledger.forks.logs == {}

    play(seed, story)


def test_a_rival_that_may_not_stand_there_proves_nothing(seed: int) -> None:
    async def story(village: Village) -> None:
        connection = await village.attack()
        mallory = village.mallory
        first = branch(mallory, "one", 2)
        await mallory.send(connection, *first)
        await village.alice.until_text_has("one")
        known = first[0].extension.previous[0]
        rival = mallory.update(own_update(mallory, "two"), after=first[0], previous=(known,))
        await mallory.send(connection, rival)
        [refused] = await village.alice.until(OperationRefused)
        assert refused.reason.startswith("redundant-previous")
        assert village.alice.state.ledger.forks.logs == {}
        await village.check_unharmed()

    play(seed, story)


def test_a_fork_is_reported_and_both_branches_show_everywhere(seed: int) -> None:
    async def story(village: Village) -> None:
        connection = await village.attack()
        mallory = village.mallory
        await mallory.send(connection, mallory.update(own_update(mallory, "one")))
        await village.alice.until_text_has("one")
        await mallory.send(connection, mallory.update(own_update(mallory, "two")))
        await village.bob.until_text_has("two")
        [proof] = await village.alice.until(ForkProven)
        headers = [decode_header(data) for data in proof.headers]
        assert {header.author for header in headers} == {mallory.machine.key.peer} == {proof.author}
        assert {header.seq_num for header in headers} == {proof.seq_num}
        for header in headers:
            assert verify_operation(header.author, header.unsigned(), header.signature)
        assert "one" in village.bob.text
        await village.bob.until(ForkProven)
        await village.check_unharmed()

    play(seed, story)


def test_a_rival_that_overtakes_what_it_builds_on_holds_up_nothing(seed: int) -> None:
    """What it builds on is large, and goes in bulk; the rival comes live, before it."""

    async def story(village: Village) -> None:
        world, mallory, alice, bob = village.world, village.mallory, village.alice, village.bob
        to_bob = await mallory.connect_to(world.machine("bob"))
        to_alice = await mallory.connect_to(world.machine("alice"))
        world.network.set_link("alice", "bob", LinkOptions(delay_s=5.0))
        alice.document.text("more").insert(0, "x" * 70_000)
        await alice.document.durable()
        await asyncio.sleep(0.1)  # it is on its way
        world.network.set_link("alice", "bob", LinkOptions())
        [large] = alice.state.ledger.tips
        [first] = branch(mallory, "one", 1)
        rival = mallory.update(own_update(mallory, "two"), previous=(large,))
        await mallory.send(to_alice, rival, mallory.update(b"\0\0", after=rival))
        mallory.wire = OutgoingWire()
        await mallory.send(to_bob, first)
        await bob.until_text_has("two")
        await agreed(alice, bob)
        await village.check_unharmed()

    play(seed, story)
