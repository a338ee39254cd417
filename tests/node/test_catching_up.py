"""What is lacking is brought by one peer, not by all; who brings nothing keeps nobody else from it."""

import asyncio
from contextlib import AsyncExitStack
from functools import partial

import pytest

from adapters.simulation.loop import run
from node import Document, Node
from node.catching_up import BRING_S_MAX, IDLE_S_MAX, CatchingUp
from node.simulation import NodeNetwork

WORDS = 200
MEMBERS = 6


class Queue:
    """Peers that ask for their turn, and who has begun."""

    def __init__(self) -> None:
        self.turns = CatchingUp()
        self.begun: list[str] = []

    def ask(self, who: str, *, brings: bool = True) -> None:
        def begin() -> bool:
            self.begun.append(who)
            return brings

        self.turns.ask(who, begin)


def test_one_begins_after_the_other_has_ended(seed: int) -> None:
    async def scenario(seed: int) -> None:
        queue = Queue()
        for who in "abc":
            queue.ask(who)
        assert queue.begun == ["a"]
        queue.turns.leave("b")
        queue.turns.end("a")
        assert queue.begun == ["a", "c"]
        queue.ask("c")
        assert queue.begun == ["a", "c", "c"]
        queue.turns.end("c")
        queue.turns.end("c")
        queue.ask("a")
        assert queue.begun[-1] == "a"

    run(scenario, seed)


def test_who_has_brought_what_it_had_before_still_gets_the_turn_that_it_waits_for(
    seed: int,
) -> None:
    async def scenario(seed: int) -> None:
        queue = Queue()
        for who in "abc":
            queue.ask(who)
        queue.turns.end("b")  # of a turn that it had long ago
        queue.turns.end("a")
        assert queue.begun == ["a", "b"]
        queue.turns.leave("b")
        queue.turns.leave("c")

    run(scenario, seed)


def test_who_has_nothing_that_is_lacking_takes_no_turn(seed: int) -> None:
    async def scenario(seed: int) -> None:
        queue = Queue()
        for who in "abc":
            queue.ask(who, brings=False)
        queue.ask("d")
        assert queue.begun == ["a", "b", "c", "d"]

    run(scenario, seed)


def test_who_brings_nothing_makes_room_soon_and_who_brings_something_later(seed: int) -> None:
    async def scenario(seed: int) -> None:
        queue = Queue()
        for who in "abc":
            queue.ask(who)
        await asyncio.sleep(IDLE_S_MAX + 0.01)
        assert queue.begun == ["a", "b"]
        for _ in range(int(BRING_S_MAX)):
            assert queue.begun == ["a", "b"]
            queue.turns.note_brought("b")
            await asyncio.sleep(1.0)
        await asyncio.sleep(IDLE_S_MAX + 0.01)
        assert queue.begun == ["a", "b", "c"]
        queue.turns.end("c")

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
            async with asyncio.timeout(3 * IDLE_S_MAX):
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
