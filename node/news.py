"""What has changed about the members of a document, as events."""

from collections.abc import Callable

from domain.document import Document
from domain.events import Event, MemberAdded, MemberRemoved, RoleChanged
from domain.identifiers import PeerId
from domain.operations.control import Role


class MemberNews:
    """Says how the members differ from those that it last looked at.

    Args:
        document: The document.
        publish: Takes events.
    """

    def __init__(self, document: Document, publish: Callable[[Event], None]) -> None:
        self._document = document
        self._publish = publish
        self._members: dict[PeerId, Role] = {}

    def start(self) -> None:
        """Look at the members, and say nothing."""
        self._members = self._document.ledger.membership.members()

    def tell(self) -> None:
        """Look again, and say who came, who has another role, and who went."""
        document, before = self._document.document, self._members
        self.start()
        for peer, role in self._members.items():
            if peer not in before:
                self._publish(MemberAdded(document=document, peer=peer, role=role))
            elif before[peer] != role:
                self._publish(RoleChanged(document=document, peer=peer, role=role))
        for peer in before.keys() - self._members.keys():
            self._publish(MemberRemoved(document=document, peer=peer))
