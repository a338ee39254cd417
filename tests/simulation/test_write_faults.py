"""Each write of a node fails in turn, once, through a life with everything in it: nothing that was answered is lost."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import count
from typing import Final, TypeVar

import pytest

from adapters.simulation.loop import run
from adapters.simulation.world import SimulatedWorld
from domain.errors import (
    InviteError,
    NetworkError,
    NodeClosedError,
    NotPermittedError,
    StorageError,
    UnsavedEditsError,
)
from domain.operations.control import Role
from node import Document, Node
from tests.simulation.village import running

TRIES_MAX: Final = 20
TRY_S: Final = 10.0
WAIT_S: Final = 120.0
PASSING: Final = (
    InviteError,
    NetworkError,
    NodeClosedError,
    NotPermittedError,
    StorageError,
    TimeoutError,
    UnsavedEditsError,
)
T = TypeVar("T")


async def again(act: Callable[[], Awaitable[T]]) -> T:
    """Do something until it succeeds, as somebody would who reads what went wrong."""
    for _ in range(TRIES_MAX):
        try:
            async with asyncio.timeout(TRY_S):
                return await act()
        except PASSING:
            await asyncio.sleep(1)
    raise AssertionError(f"{act} never succeeds")


async def write(document: Document, word: str) -> None:
    document.array("words").append(word)
    await again(document.durable)


async def live(alice: Node, bob: Node) -> tuple[Document, Document]:
    """Found, invite, join, edit, change who may do what, renew the secret."""
    document = await again(lambda: alice.create("notes"))
    await write(document, "founded")
    invite = await again(lambda: document.invite(uses=TRIES_MAX))
    copy = await again(lambda: bob.join(invite))
    await again(copy.synced)
    for number in range(2):
        await write(document, f"alice {number}")
        await write(copy, f"bob {number}")
    peer = bob.peer_id
    await again(lambda: document.set_role(peer, Role.MANAGE))
    await again(document.rotate)
    await write(document, "rotated")
    await again(copy.synced)
    await write(copy, "the end")
    return document, copy


WORDS: Final = sorted(["founded", "alice 0", "bob 0", "alice 1", "bob 1", "rotated", "the end"])


def words(document: Document) -> list[str]:
    return sorted(document.array("words"))


async def until_words(document: Document) -> None:
    async with asyncio.timeout(WAIT_S):
        await document.wait_until(lambda: words(document) == WORDS)


async def scenario(name: str, after_writes: int, seed: int) -> bool:
    """Let one write of a machine fail; says whether there were so many."""
    world = SimulatedWorld(asyncio.get_running_loop(), seed)
    machines = {each: world.machine(each) for each in ("alice", "bob")}
    disk = machines[name].disk
    disk.fail(StorageError("this write fails"), after_writes=after_writes, lasts=False)
    async with running(machines["alice"]) as alice, running(machines["bob"]) as bob:
        document, copy = await live(alice, bob)
        await until_words(document)
        await until_words(copy)
        known = document.id
        has_failed = disk.write_count > after_writes
    for machine in machines.values():
        async with running(machine) as node:
            assert words(await node.document(known)) == WORDS
    return has_failed


@pytest.mark.parametrize("name", ["alice", "bob"])
def test_each_write_that_fails_costs_nothing_that_was_answered(seed: int, name: str) -> None:
    for after_writes in count():
        if not run(partial(scenario, name, after_writes), seed, virtual_s_max=3_600):
            break
    assert after_writes > 12
