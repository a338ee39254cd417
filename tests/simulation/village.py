"""Honest nodes in virtual time, and somebody with a key of his own who says to them what he likes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from adapters.simulation.disk import SimulatedDisk
from adapters.simulation.network import SimulatedNetwork
from adapters.simulation.world import SimulatedMachine, SimulatedWorld
from domain.document import Document as DocumentState
from domain.events import Event, PeerDisconnected
from domain.identifiers import DocumentId, LogId, LogKey, OperationId, PeerId, Position
from domain.operations.kind import Kind
from domain.operations.operation import Extension, Operation, sign
from domain.ports.network import Connection
from domain.record import DocumentRecord
from domain.sealing import NONCE_BYTES, open_record, seal_body
from domain.sync.frontier import channel_name
from domain.sync.message import Digests, Message, encode_message
from domain.sync.wire import OutgoingWire
from node import Document, Node, NodeConfig
from node.stored import from_stored
from node.wiring.simulated import simulated_adapters

WAIT_S: Final = 20.0
SILENCE_S: Final = 30.0
LATER_US: Final = 10_000_000_000


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


class Hostile:
    """A member that breaks rules: it signs with its own key, and speaks without a node.

    Args:
        machine: Where its key is, and its disk, if it was a member.
        document: The document.
        record: Its logs, and the document's secret.
        operations: What it knows of the document.
    """

    def __init__(
        self,
        machine: SimulatedMachine,
        document: DocumentId,
        record: DocumentRecord,
        operations: list[Operation],
    ) -> None:
        self.machine = machine
        self.document = document
        self.record = record
        self.state = DocumentState(machine.key, document, record)
        self.state.replay(operations)
        self.log = LogKey(machine.key.peer, record.content_log)
        self.wire = OutgoingWire()
        self._network = machine.open_network()

    async def connect(self, peer: PeerId, address: str) -> Connection:
        """Dial somebody, and make him open the channel of the document."""
        if not self._network.addresses:
            await self._network.start()
        connection = await self._network.dial(peer, [address])
        await self.compare(connection, bytes([7]) * 32)
        self.wire = OutgoingWire()
        return connection

    async def compare(self, connection: Connection, digest: bytes) -> None:
        """Say on the control channel how far we are."""
        name = channel_name(self.document, connection.binding)
        await connection.control.send(encode_message(Digests(entries=((name, digest),))))

    async def say(self, connection: Connection, *messages: Message | bytes) -> None:
        """Say something on the channel of the document."""
        channel = connection.channel(channel_name(self.document, connection.binding))
        for message in messages:
            data = message if isinstance(message, bytes) else encode_message(message)
            await channel.send(data)

    async def send(self, connection: Connection, *operations: Operation) -> None:
        """Send operations."""
        for operation in operations:
            await self.say(connection, *self.wire.compact(operation))

    @property
    def _tips(self) -> tuple[OperationId, ...]:
        return tuple(sorted(self.state.ledger.tips))

    def update(
        self,
        update: bytes,
        *,
        after: Operation | None = None,
        log_id: LogId | None = None,
        seq_num: int | None = None,
        backlink: OperationId | None = None,
        previous: tuple[OperationId, ...] | None = None,
    ) -> Operation:
        """Sign an update as the next operation of its content log, or as something else."""
        log = LogKey(self.machine.key.peer, log_id or self.record.content_log)
        count = after.header.seq_num + 1 if after else 0
        place = count if seq_num is None else seq_num
        secret = self.record.secrets[-1]
        body = seal_body(
            secret,
            self.document,
            Position(log, place),
            Kind.UPDATE,
            update,
            nonce=self.machine.entropy.draw(NONCE_BYTES),
        )
        made = Extension(
            log_id=log.log_id,
            timestamp=self.machine.clock.timestamp_us() + LATER_US,
            kind=Kind.UPDATE,
            document=self.document if place == 0 else None,
            previous=previous if previous is not None else () if place else self._tips,
            secret=secret.secret_id if place == 0 else None,
        )
        link = backlink or (after.operation_id if after else None)
        header = sign(
            self.machine.key,
            seq_num=place,
            backlink=link,
            extension=made,
            body=body,
        )
        return Operation.assemble(header, body)


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


def leave(machine: SimulatedMachine, disk: SimulatedDisk, document: DocumentId) -> Hostile:
    """Make a hostile member of what an honest one left on its disk."""
    sealed = disk.content.records[document]
    record = DocumentRecord.decode(open_record(machine.storage_key, "document", document, sealed))
    stored = disk.content.ledger(document).operations
    return Hostile(machine, document, record, [from_stored(each) for each in stored])


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
        village.mallory = leave(machine, machine.disk, document.id)
        await village.check_unharmed()
        yield village
