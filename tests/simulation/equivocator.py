"""A member that tells one half of the others one history, and the other half another one."""

from typing import Any, Final

from pycrdt import Doc, Text

from domain.identifiers import DocumentId
from domain.ledger.claim import client_id
from domain.operations.operation import Operation
from domain.ports.network import Connection
from node.stored import from_stored
from tests.simulation.hostile import Hostile
from tests.simulation.rogue import Rogue

SIDES: Final = "lr"
COMMON_MAX: Final = 2
"""How many operations both histories begin with, at most."""
OPERATIONS_MAX: Final = 20


class History:
    """One of its histories: operations of one log, each an update of one text.

    Args:
        name: With this its marks begin.
    """

    def __init__(self, name: str) -> None:
        self.operations: list[Operation] = []
        self._name = name
        self._updates: list[bytes] = []
        self._doc: Doc[Any] | None = None

    def grow(self, hostile: Hostile) -> None:
        """Write one more operation, unless there are many."""
        if len(self.operations) >= OPERATIONS_MAX:
            return
        if self._doc is None:
            self._doc = Doc(client_id=client_id(hostile.log))
            for update in self._updates:
                self._doc.apply_update(update)
        before = self._doc.get_state()
        text = self._doc.get("text", type=Text)
        text.insert(len(str(text)), f"<{self._name}{len(self.operations)}>")
        update = self._doc.get_update(before)
        latest = self.operations[-1] if self.operations else None
        self.operations.append(hostile.update(update, after=latest))
        self._updates.append(update)

    def branch(self, name: str) -> "History":
        """Begin another one as this one begins."""
        other = History(name)
        other.operations, other._updates = [*self.operations], [*self._updates]
        return other


class Equivocator(Rogue):
    """Signs two operations for one place, and goes on from each; see `Rogue` for the arguments.

    What its node had left unsent comes first, as its histories build on that.
    """

    _histories: dict[str, History] | None = None

    async def misbehave(self, document: DocumentId) -> None:
        await self.attack_all(document)

    async def attack(self, hostile: Hostile, connection: Connection) -> None:
        if self._histories is None:
            common = History("rogue")
            for _ in range(self._random.randint(0, COMMON_MAX)):
                common.grow(hostile)
            self._histories = {side: common.branch(f"rogue{side}") for side in SIDES}
        peers = sorted(victim.key.peer for victim in self._victims)
        side = SIDES[peers.index(connection.peer) % 2]
        history = self._histories[side]
        history.grow(hostile)
        stored = self.machine.disk.content.ledger(hostile.document).operations
        left = [from_stored(each) for each in stored if each.log.author == self.machine.key.peer]
        await hostile.send(connection, *left, *history.operations)
