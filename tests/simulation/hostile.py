"""Members who break the rules, with a key of their own and without a node."""

from typing import Any, Final

from pycrdt import Doc, Text

from adapters.simulation.world import SimulatedMachine
from domain.document import Document as DocumentState
from domain.identifiers import DocumentId, LogId, LogKey, OperationId, PeerId, Position
from domain.keyring import Keyring
from domain.ledger.claim import client_id
from domain.operations.kind import Kind
from domain.operations.operation import Extension, Operation, sign
from domain.ports.network import Connection, NetworkInterface
from domain.record import DocumentRecord
from domain.sealing import NONCE_BYTES, open_record, seal_body
from domain.sync.frontier import channel_name
from domain.sync.message import Digests, Message, encode_message
from domain.sync.wire import OutgoingWire
from node.stored import from_stored

LATER_US: Final = 10_000_000_000
HOSTILE_PORT: Final = 2
"""Not where its node was: who dials that crosses no dial of ours."""


class Hostile:
    """A member that breaks rules: it signs with its own key, and speaks without a node.

    Args:
        machine: Where its key is, and its disk, if it was a member.
        document: The document.
        record: Its logs.
        keyring: Its secrets.
        operations: What it knows of the document.
        network: How it reaches others; that of the machine if None.
    """

    def __init__(
        self,
        machine: SimulatedMachine,
        document: DocumentId,
        record: DocumentRecord,
        keyring: Keyring,
        operations: list[Operation],
        network: NetworkInterface | None = None,
    ) -> None:
        self.machine = machine
        self.document = document
        self.record = record
        self.state = DocumentState(machine.key, document, record, keyring)
        self.state.replay(operations)
        self.log = LogKey(machine.key.peer, record.content_log)
        self.wire = OutgoingWire()
        self._network = network or machine.open_network(port=HOSTILE_PORT)

    async def connect(self, peer: PeerId, address: str) -> Connection:
        """Dial somebody, and make him open the channel of the document."""
        if not self._network.addresses:
            await self._network.start()
        connection = await self._network.dial(peer, [address])
        await self.compare(connection, bytes([7]) * 32)
        self.wire = OutgoingWire()
        return connection

    async def connect_to(self, machine: SimulatedMachine) -> Connection:
        """Dial the node of a machine."""
        return await self.connect(machine.key.peer, machine.address)

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
        secret = self.state.current_secret() or next(iter(self.state.keyring.secrets.values()))
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


def leave(
    machine: SimulatedMachine, document: DocumentId, network: NetworkInterface | None = None
) -> Hostile:
    """Make a hostile member of what an honest one left on the disk of its machine."""
    content = machine.disk.content
    sealed = content.records[document]
    record = DocumentRecord.decode(open_record(machine.storage_key, "document", document, sealed))
    keyring = Keyring()
    keyring.load(
        {
            name: open_record(machine.storage_key, "key", document + name, value)
            for name, value in content.document_records[document].items()
        }
    )
    operations = [from_stored(each) for each in content.ledger(document).operations]
    return Hostile(machine, document, record, keyring, operations, network)


def update_of(client: int, text: str = "m") -> bytes:
    """An update that inserts a text, by that client."""
    doc: Doc[Any] = Doc(client_id=client)
    doc["text"] = Text(text)
    return doc.get_update()


def own_update(mallory: Hostile, text: str = "m") -> bytes:
    """An update that inserts a text, by the client that is its own."""
    return update_of(client_id(mallory.log), text)
