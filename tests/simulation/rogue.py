"""One more member of a scenario, who joins in good order and does harm from then on, until all is well."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence
from random import Random
from typing import Final

from adapters.simulation.world import SimulatedMachine
from domain import limits
from domain.connectivity.close_codes import CloseCode
from domain.errors import InviteError, NetworkError, NodeClosedError, StorageError
from domain.identifiers import DocumentId, OperationId
from domain.ports.network import Connection
from domain.sync.message import Have
from node import Node, NodeConfig
from tests.simulation.hostile import Hostile, leave
from tests.simulation.member import AdaptersOpener, Board

FLOOD_OPERATIONS: Final = 60
FLOOD_MESSAGES: Final = 200
GARBAGE_BYTES_MAX: Final = 2_000
ATTACKS_MAX: Final = 12
"""What as many do not break, more of the same does not, and each is as dear as many edits."""
PAUSE_S: Final = (0.2, 2.0)
DIAL_S_MAX: Final = 5.0
JOIN_S_MAX: Final = 30.0


class Rogue(ABC):
    """Joins with a node, switches it off, and goes on with its key.

    Args:
        machine: Where its key is.
        adapters: Opens what a node needs to run on it.
        seed: What chance follows.
        board: What members tell each other.
    """

    def __init__(
        self, machine: SimulatedMachine, adapters: AdaptersOpener, seed: int, board: Board
    ) -> None:
        self.machine = machine
        self._adapters = adapters
        self._random = Random(f"{seed} rogue")
        self._victims: Sequence[SimulatedMachine] = [*board.machines]
        self._board = board

    async def run(self) -> None:
        """Do harm, until it was enough, or cancelled."""
        await self.misbehave(await self._become_member())

    @abstractmethod
    async def misbehave(self, document: DocumentId) -> None:
        """Do harm to a document, of which it is a member now."""

    async def attack_all(self, document: DocumentId) -> None:
        """Attack one after the other, with what its node has left."""
        async with self._adapters.open_adapters(self.machine, NodeConfig()) as environment:
            hostile = leave(self.machine, document, environment.network)
            try:
                for _ in range(ATTACKS_MAX):
                    await self._attack_somebody(hostile)
                    await asyncio.sleep(self._random.uniform(*PAUSE_S))
            finally:
                await environment.network.close(CloseCode.NORMAL, "enough")

    @abstractmethod
    async def attack(self, hostile: Hostile, connection: Connection) -> None:
        """Do harm to the other end of a connection."""

    async def _attack_somebody(self, hostile: Hostile) -> None:
        victim = self._random.choice(self._victims)
        try:
            async with asyncio.timeout(DIAL_S_MAX):
                connection = await hostile.connect(victim.key.peer, victim.address)
                await self.attack(hostile, connection)
        except (NetworkError, TimeoutError):
            pass

    async def _become_member(self) -> DocumentId:
        while True:
            try:
                async with (
                    self._adapters.open_adapters(self.machine, NodeConfig()) as environment,
                    Node.run(environment) as node,
                ):
                    return await self._join(node)
            except (InviteError, NetworkError, StorageError, NodeClosedError, TimeoutError):
                await asyncio.sleep(self._random.uniform(*PAUSE_S))

    async def _join(self, node: Node) -> DocumentId:
        if self._board.invite is None:
            raise InviteError("unreachable", "there is no invite yet")
        document = await node.join(self._board.invite)
        owner, content = document._owner, self.machine.disk.content
        async with asyncio.timeout(
            JOIN_S_MAX
        ):  # until it has been given a secret, and that is on disk
            await owner.wait_until(
                lambda: (
                    owner.courier.is_ready
                    and any(
                        name.startswith(b"secret") for name in content.document_records[document.id]
                    )
                )
            )
        return document.id


class Vandal(Rogue):
    """Sends bytes that are no messages, operations whose past never comes, or questions whose answers it does not take.

    Args:
        kind: Which: `garbage` or `flood`.
        machine: See `Rogue`, like the others.
    """

    def __init__(
        self,
        kind: str,
        machine: SimulatedMachine,
        adapters: AdaptersOpener,
        seed: int,
        board: Board,
    ) -> None:
        super().__init__(machine, adapters, seed, board)
        self._attack = {"garbage": self._send_garbage, "flood": self._flood}[kind]

    async def misbehave(self, document: DocumentId) -> None:
        await self.attack_all(document)

    async def attack(self, hostile: Hostile, connection: Connection) -> None:
        await self._attack(hostile, connection)

    async def _send_garbage(self, hostile: Hostile, connection: Connection) -> None:
        garbage = self._random.randbytes(self._random.randint(1, GARBAGE_BYTES_MAX))
        if self._random.random() < 1 / 2:
            await connection.control.send(garbage)
        else:
            await hostile.say(connection, garbage)

    async def _flood(self, hostile: Hostile, connection: Connection) -> None:
        for _ in range(FLOOD_MESSAGES):
            await hostile.say(connection, Have(is_last=True, heights=()))
        unknown = OperationId(self._random.randbytes(OperationId.LENGTH))
        orphan = hostile.update(b"\0\0", previous=(unknown,))
        for _ in range(min(FLOOD_OPERATIONS, limits.PARKED_OPERATIONS_MAX)):
            orphan = hostile.update(b"\0\0", after=orphan)
            await hostile.send(connection, orphan)
