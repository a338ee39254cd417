"""On disk first: what a node tells others, shows, or knows of its peers is on the disk that it speaks of."""

from collections.abc import Collection, Sequence
from typing import Final

from domain.identifiers import PeerId, Position
from node.owner import DocumentOwner
from tests.simulation.member import Member

COMPLAINTS_MAX: Final = 20


class DiskFirst:
    """Nothing is announced, shown or acknowledged before it is stored; call `look` often.

    Every number that a node would tell its peers is on its own disk, everything that it has applied is too, and what it
    believes a peer to hold is on the disk of that peer. Who is interrupted while it joins forgets what it had: a peer
    counts from when it has entered.

    Args:
        without: Devices whose logs may be cut in two where they fork: then what was acknowledged has another name.
        restored: Devices that may lose what they have acknowledged.
    """

    def __init__(self, without: Collection[PeerId] = (), restored: Collection[PeerId] = ()) -> None:
        self.complaints: list[str] = []
        self._without = without
        self._restored = restored
        self._entered: set[PeerId] = set()

    def look(self, members: Sequence[Member]) -> None:
        """Look at every node that runs."""
        by_id = {member.machine.key.peer: member for member in members}
        self._entered |= {peer for peer, member in by_id.items() if member.document is not None}
        for member in members:
            if member.node is not None and len(self.complaints) < COMPLAINTS_MAX:
                for owner in member.node._documents:
                    self._look_at_own_disk(member, owner)
                    self._look_at_peers(member, owner, by_id)

    def _look_at_own_disk(self, member: Member, owner: DocumentOwner) -> None:
        if owner.guard._plan is not None or owner.guard._fork is not None:
            return  # what goes on in another log is deleted first, and the document comes up again from what is left
        ledger = member.machine.disk.content.ledger(owner.document.document)
        self.complaints += [
            f"{member.name} tells of operation {height.count - 1} of a log, which is not on its disk"
            for log, height in owner.document.heights.items()
            if Position(log, height.count - 1) not in ledger.arrivals
        ]
        self.complaints += [
            f"{member.name} shows operation {tip.short}, which is not on its disk"
            for tip in owner.document.replica.tips
            if tip not in ledger.places
        ]

    def _look_at_peers(
        self, member: Member, owner: DocumentOwner, by_id: dict[PeerId, Member]
    ) -> None:
        for peer in self._entered.intersection(owner.receipts._held).difference(self._restored):
            other, counts = by_id[peer], owner.receipts._held[peer]
            ledger = other.machine.disk.content.ledger(owner.document.document)
            self.complaints += [
                f"{member.name} holds a receipt of {other.name} for operation {count - 1} of a log,"
                " which is not on that disk"
                for log, count in counts.items()
                if count
                and log.author not in self._without
                and Position(log, count - 1) not in ledger.arrivals
            ]

    def check(self, members: Sequence[Member]) -> list[str]:
        """Give what was seen."""
        return self.complaints
