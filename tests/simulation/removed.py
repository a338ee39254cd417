"""A member that is removed while it is cut off, writes on, and tells everybody afterwards; and what may come of it."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from adapters.simulation.world import SimulatedMachine
from domain.errors import RefusedEditsError, SealError
from domain.identifiers import DocumentId, PeerId
from domain.keyring import Keyring
from domain.ledger.ledger import Ledger
from domain.operations.kind import is_content
from domain.operations.operation import Operation
from domain.ports.network import Connection
from domain.sealing import open_body
from node import Document, Node, NodeConfig
from node.owner import DocumentOwner
from node.stored import from_stored
from tests.simulation.changes import PASSING
from tests.simulation.edit import Editor, marks
from tests.simulation.hostile import Hostile, leave
from tests.simulation.member import AdaptersOpener, Board, Member
from tests.simulation.options import ROGUE
from tests.simulation.rogue import Rogue
from tests.simulation.stage import Stage

VOID: Final = "void"
"""With this its marks begin from when it is cut off."""
EDITS_BEFORE: Final = 4
EDIT_S: Final = (0.1, 0.8)
SAVE_S_MAX: Final = 5.0
REMOVE_S_MAX: Final = 5.0
TOLD_S_MAX: Final = 20.0
OPERATIONS_SENT_MAX: Final = 50


class RemovedMember(Rogue):
    """Edits in good order, is cut off and removed, edits on, comes back, and in the end sends what does not count.

    Args:
        machine: See `Rogue`, like the others.
        stage: Where it is cut off.
        manager: Who removes it.
    """

    def __init__(
        self, machine: SimulatedMachine, stage: Stage, seed: int, board: Board, manager: Member
    ) -> None:
        super().__init__(machine, stage, seed, board)
        self._stage = stage
        self._manager = manager
        self._last: Operation | None = None

    async def misbehave(self, document: DocumentId) -> None:
        adapters: AdaptersOpener = self._stage
        async with (
            adapters.open_adapters(self.machine, NodeConfig()) as environment,
            Node.run(environment) as node,
        ):
            for victim in self._victims:
                node.peers.want(victim.key.peer, (victim.address,))
            mine = await node.document(document)
            await self._edit(mine, Editor(self._random, ROGUE, is_flat=True), EDITS_BEFORE)
            await self._be_removed(mine, node.peer_id)
            with suppress(TimeoutError):  # who could tell it may be down
                async with asyncio.timeout(TOLD_S_MAX):
                    await mine.wait_until(lambda: mine.role is None)
        await self.attack_all(document)

    async def _be_removed(self, document: Document, peer: PeerId) -> None:
        for victim in self._victims:
            self._stage.block(ROGUE, victim.name)
        void = Editor(self._random, VOID, is_flat=True)
        async with asyncio.TaskGroup() as group:
            removal = group.create_task(self._have_it_removed(peer), name="removal of the rogue")
            while not removal.done():
                await self._edit(document, void, 1)
        for victim in self._victims:
            self._stage.unblock(ROGUE, victim.name)

    async def _edit(self, document: Document, editor: Editor, count: int) -> None:
        for _ in range(count):
            editor.edit(document)
            with suppress(RefusedEditsError):  # it has heard that it is out
                async with asyncio.timeout(SAVE_S_MAX):
                    await document.durable()
            await asyncio.sleep(self._random.uniform(*EDIT_S))

    async def _have_it_removed(self, peer: PeerId) -> None:
        while True:
            document = self._manager.document
            try:
                if document is not None:
                    async with asyncio.timeout(REMOVE_S_MAX):
                        await document.remove(peer)
                        return
            except PASSING:
                if document is not None and self._is_removed(document, peer):
                    return
            await asyncio.sleep(self._random.uniform(*EDIT_S))

    @staticmethod
    def _is_removed(document: Document, peer: PeerId) -> bool:
        return not document._owner.is_closed and peer not in document.members()

    async def attack(self, hostile: Hostile, connection: Connection) -> None:
        content = self.machine.disk.content.ledger(hostile.document)
        own = [from_stored(stored) for stored in content.operations if stored.log == hostile.log][
            -OPERATIONS_SENT_MAX:
        ]
        if not own:
            return  # it was out before it had any secret to write with
        if self._last is None:  # the same for everybody: it does not tell two histories
            self._last = hostile.update(b"\0\0", after=own[-1])
        await hostile.send(connection, *own, self._last)


class NothingFromRemoved:
    """Nothing beyond the causal past of its removal counts anywhere, and it opens nothing that was written after that.

    Args:
        machine: That of the removed member.
    """

    def __init__(self, machine: SimulatedMachine) -> None:
        self._machine = machine
        self._peer = machine.key.peer

    def check(self, members: Sequence[Member]) -> list[str]:
        complaints = []
        for member in members:
            assert member.document is not None
            owner = member.document._owner
            if void := [mark for mark in marks(member.document) if mark.startswith(f"<{VOID}")]:
                complaints.append(f"{member.name} shows {void[0]} of the removed member")
            if owner.document.ledger.membership.is_former(self._peer):
                complaints += self._check_counted(member.name, owner.document.ledger)
                complaints += self._check_secrets(member, owner)
        return complaints

    def _check_counted(self, name: str, ledger: Ledger) -> list[str]:
        [removal] = ledger.membership.removals_of(self._peer)
        counted = {
            slot: ledger.counting.counted(slot)
            for slot in ledger.present()
            if ledger.log_in(slot).key.author == self._peer
        }
        return [
            f"for {name} {count} operations of the removed member count, not {removal.past.get(slot, 0)}"
            for slot, count in counted.items()
            if count > removal.past.get(slot, 0)
        ]

    def _check_secrets(self, member: Member, owner: DocumentOwner) -> list[str]:
        keyring = leave(self._machine, owner.document.document).state.keyring
        ledger = owner.document.ledger
        [removal] = ledger.membership.removals_of(self._peer)
        complaints = []
        for stored in member.machine.disk.content.ledger(owner.document.document).operations:
            operation = from_stored(stored)
            if not is_content(operation.extension.kind) or operation.author == self._peer:
                continue
            if removal.is_in(ledger.past_of(operation.position)) and _opens(
                keyring, owner.document.document, operation
            ):
                complaints.append(
                    f"the removed member reads {operation.position.seq_num} of {member.name}"
                )
        return complaints


def _opens(keyring: Keyring, document: DocumentId, operation: Operation) -> bool:
    for secret in keyring.secrets.values():
        try:
            open_body(
                secret, document, operation.position, operation.extension.kind, operation.body
            )
        except SealError:
            continue
        return True
    return False
