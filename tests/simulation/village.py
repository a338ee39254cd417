"""Honest nodes in virtual time, and somebody with a key of his own who says to them what he likes."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

from adapters.simulation.loop import run
from adapters.simulation.network import SimulatedNetwork
from adapters.simulation.world import SimulatedMachine, SimulatedWorld
from domain.document import Document as DocumentState
from domain.events import Event, OperationRefused, PeerDisconnected
from domain.identifiers import DocumentId
from domain.ports.network import Connection
from node import Document, Node, NodeConfig
from node.wiring.simulated import simulated_adapters
from tests.simulation.hostile import Hostile, leave

WAIT_S: Final = 20.0
SILENCE_S: Final = 30.0


@asynccontextmanager
async def running(
    machine: SimulatedMachine, config: NodeConfig | None = None
) -> AsyncIterator[Node]:
    """Run a node on a machine."""
    async with (
        simulated_adapters(machine, config or NodeConfig()) as environment,
        Node.run(environment) as node,
    ):
        yield node


class Villager:
    """An honest node with its document, and everything that happened to it."""

    def __init__(self, node: Node, document: Document) -> None:
        self.node = node
        self.document = document
        self.events: list[Event] = []
        self._happened = asyncio.Condition()
        self._listening = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        async for event in self.node.events():
            async with self._happened:
                self.events.append(event)
                self._happened.notify_all()

    def of_kind(self, kind: type[Any]) -> list[Any]:
        """The events of a kind."""
        return [event for event in self.events if isinstance(event, kind)]

    async def until(self, kind: type[Any], count: int = 1) -> list[Any]:
        """Wait for that many events of a kind."""
        async with asyncio.timeout(WAIT_S), self._happened:
            await self._happened.wait_for(lambda: len(self.of_kind(kind)) >= count)
        return self.of_kind(kind)

    @property
    def state(self) -> DocumentState:
        """What lies behind the document."""
        return self.document._owner.document

    @property
    def text(self) -> str:
        return str(self.document.text("text"))

    async def until_text_has(self, part: str) -> None:
        async with asyncio.timeout(WAIT_S):
            await self.document.wait_until(lambda: part in self.text)


class Village:
    """Alice and Bob, who are honest, and Mallory, a member who is not.

    Args:
        world: Where they live.
    """

    def __init__(self, world: SimulatedWorld, alice: Villager, bob: Villager) -> None:
        self.world = world
        self.alice = alice
        self.bob = bob
        self.mallory: Hostile
        self._rounds = 0

    @property
    def document(self) -> DocumentId:
        return self.alice.document.id

    async def attack(self) -> Connection:
        """Connect Mallory to Alice."""
        alice = self.world.machine("alice")
        return await self.mallory.connect(alice.key.peer, alice.address)

    async def check_unharmed(self) -> None:
        """Alice and Bob still hear each other, on the connection that they had."""
        self._rounds += 1
        for writer, reader in ((self.alice, self.bob), (self.bob, self.alice)):
            word = f"[{self._rounds} by {writer.node.peer_id.short}]"
            writer.document.text("text").insert(0, word)
            await writer.document.durable()
            await reader.until_text_has(word)
        assert self.alice.text == self.bob.text
        lost = [event.peer for event in self.alice.of_kind(PeerDisconnected)]
        assert self.bob.node.peer_id not in lost
        assert self.alice.node.runtime.task_count < 40


@asynccontextmanager
async def open_village(seed: int) -> AsyncIterator[Village]:
    """Let Alice found a document, Bob join it, and Mallory too, before his node is switched off."""
    loop = asyncio.get_running_loop()
    network = SimulatedNetwork(loop, seed, silence_s_max=SILENCE_S)
    world = SimulatedWorld(loop, seed, network=network)
    async with running(world.machine("alice")) as alice, running(world.machine("bob")) as bob:
        document = await alice.create("notes")
        village = Village(
            world,
            Villager(alice, document),
            Villager(bob, await bob.join(await document.invite())),
        )
        machine = world.machine("mallory")
        async with running(machine) as mallory:
            joined = await mallory.join(await document.invite())
            await joined.synced()
        village.mallory = leave(machine, document.id)
        await village.check_unharmed()
        yield village


def play(seed: int, attack: Callable[[Village], Awaitable[None]]) -> None:
    """Open a village, let Mallory attack, and see that the others have not suffered."""

    async def scenario(seed: int) -> None:
        async with open_village(seed) as village:
            await attack(village)
            await village.check_unharmed()

    run(scenario, seed)


async def until_refused(village: Village, code: str) -> OperationRefused:
    """Wait until Alice has refused something, first of all for that reason."""
    (event, *_) = await village.alice.until(OperationRefused)
    assert isinstance(event, OperationRefused)
    assert event.reason.startswith(code)
    return event
