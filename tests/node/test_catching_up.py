"""What is lacking is brought by one peer, not by all; who brings nothing keeps nobody else from it."""

import asyncio
from contextlib import AsyncExitStack
from functools import partial

import pytest

from adapters.simulation.loop import run
from node import Document, Node
from node.catching_up import BRING_S_MAX, IDLE_S_MAX, CatchingUp, Heights
from node.simulation import NodeNetwork
from tests.contracts.operation_store import log_key

WORDS = 200
MEMBERS = 6


class Peer:
    """Somebody who may bring something, and how often it was told how far we are."""

    def __init__(self, turns: CatchingUp, brings: Heights | None = None) -> None:
        self.turns = turns
        self.begun = 0
        self.has = brings

    def say_heights(self) -> None:
        self.begun += 1

    def brings(self) -> Heights | None:
        return self.has

    def ask(self) -> int:
        self.turns.ask(self)
        return self.begun


def peers(count: int, brings: Heights | None = None) -> tuple[CatchingUp, list[Peer]]:
    turns = CatchingUp()
    return turns, [Peer(turns, brings) for _ in range(count)]


def begun(some: list[Peer]) -> list[int]:
    return [each.begun for each in some]


@pytest.mark.parametrize("brings", [None, {log_key(1): 3}])
def test_one_begins_after_the_other_has_ended(seed: int, brings: Heights | None) -> None:
    async def scenario(seed: int) -> None:
        turns, some = peers(4, brings)
        a, b, c, d = some
        assert [each.ask() for each in some] == [1, 0, 0, 0]
        turns.leave(b)
        turns.end(c)  # of a turn that it had long ago
        turns.end(a)
        assert begun(some) == [1, 0, 1, 0]
        assert c.ask() == 2
        turns.end(c)
        assert begun(some) == [1, 0, 2, 1]
        turns.end(d)
        assert a.ask() == 2
        turns.leave(a)

    run(scenario, seed)


def test_who_has_nothing_that_is_lacking_is_told_at_once(seed: int) -> None:
    async def scenario(seed: int) -> None:
        turns, some = peers(3)
        some[1].has = {}
        assert [each.ask() for each in some] == [1, 1, 0]
        turns.leave(some[0])
        assert begun(some) == [1, 1, 1]
        turns.leave(some[2])

    run(scenario, seed)


def test_who_has_something_that_no_other_brings_is_told_at_once(seed: int) -> None:
    async def scenario(seed: int) -> None:
        turns, some = peers(4, {log_key(1): 3, log_key(2): 5})
        a, b, c, d = some
        b.has = {log_key(1): 4}
        c.has = {log_key(1): 3, log_key(3): 1}
        assert [each.ask() for each in some] == [1, 1, 1, 0]
        for each in (a, b, c):
            turns.end(each)
        assert d.begun == 1
        turns.end(d)

    run(scenario, seed)


def test_what_a_bringer_has_may_become_known_later(seed: int) -> None:
    async def scenario(seed: int) -> None:
        turns, (a, b, c) = peers(3)
        b.has, c.has = {log_key(1): 3}, {log_key(1): 2}
        assert [each.ask() for each in (a, b, c)] == [1, 0, 0]
        a.has = {log_key(1): 2, log_key(2): 7}
        turns.note_heights(c)  # which is not bringing
        assert begun([a, b, c]) == [1, 0, 0]
        turns.note_heights(a)
        assert begun([a, b, c]) == [1, 1, 0]
        for each in (a, b, c):
            turns.leave(each)

    run(scenario, seed)


def test_who_brings_nothing_makes_room_soon_and_who_brings_something_later(seed: int) -> None:
    async def scenario(seed: int) -> None:
        turns, some = peers(3)
        for each in some:
            each.ask()
        await asyncio.sleep(IDLE_S_MAX + 0.01)
        assert begun(some) == [1, 1, 0]
        for _ in range(int(BRING_S_MAX)):
            assert begun(some) == [1, 1, 0]
            turns.note_brought(some[1])
            await asyncio.sleep(1.0)
        await asyncio.sleep(IDLE_S_MAX + 0.01)
        assert begun(some) == [1, 1, 1]
        turns.end(some[2])

    run(scenario, seed)


async def meet(network: NodeNetwork, stack: AsyncExitStack) -> tuple[list[Node], list[Document]]:
    """Members of one document, each connected to each."""
    nodes = [await stack.enter_async_context(network.node(f"n{n}")) for n in range(MEMBERS)]
    documents = [await nodes[0].create("notes")]
    documents += [await node.join(await documents[0].invite()) for node in nodes[1:]]
    for node in nodes:
        for other in nodes:
            node.peers.want(other.peer_id, other.addresses)
    await network.converged()
    return nodes, documents


async def write(documents: list[Document]) -> None:
    for number in range(WORDS):
        documents[number % len(documents)].text("text").insert(0, f"w{number} ")
        await asyncio.sleep(0.1)


def has_all(document: Document) -> bool:
    return len(str(document.text("text")).split()) == WORDS


@pytest.mark.parametrize("silent", [False, True], ids=["all answer", "one falls silent"])
def test_who_comes_back_is_brought_each_operation_once(seed: int, silent: bool) -> None:
    network = NodeNetwork(seed)

    async def scenario() -> None:
        async with AsyncExitStack() as stack:
            _, documents = await meet(network, stack)
            away = f"n{MEMBERS - 1}"
            await network.crash(away)
            await write(documents[:-1])
            await asyncio.sleep(5)
            if silent:
                network.set_link("n0", away, delay_s=20.0, jitter_s=0.0)
            back = await network.restart(away)
            document = await back.document(documents[0].id)
            async with asyncio.timeout(2 * IDLE_S_MAX + 1):
                await document.wait_until(partial(has_all, document))
            exchanges = back.exchanges(document._owner)
            assert sum(each.received for each in exchanges) <= WORDS * 1.05
            await network.converged()

    network.run(scenario)


def test_who_comes_back_with_edits_of_its_own_gives_them_to_all_at_once(seed: int) -> None:
    network = NodeNetwork(seed)

    async def scenario() -> None:
        async with AsyncExitStack() as stack:
            nodes, documents = await meet(network, stack)
            away = f"n{MEMBERS - 1}"
            network.partition([away])
            await write(documents)
            network.heal()
            async with asyncio.timeout(60):
                for document in documents:
                    await document.wait_until(partial(has_all, document))
            for node, document in zip(nodes[:-1], documents[:-1], strict=True):
                own = WORDS / MEMBERS
                [exchange] = [
                    each
                    for each in node.exchanges(document._owner)
                    if each.peer == nodes[-1].peer_id
                ]
                assert exchange.received <= 2 * own

    network.run(scenario)
