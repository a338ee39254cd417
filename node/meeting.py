"""Where this node meets the other members of its documents: what finding them through others and nearby goes by."""

from collections.abc import Callable, Iterable
from itertools import islice

from domain.connectivity.meeting import MeetingPlace, invite_discovery_key
from domain.identifiers import DocumentId, PeerId
from domain.limits import MEETING_INVITES_MAX, OLD_KEY_S
from domain.operations.control import Role
from domain.ports.environment import Clock
from domain.secrets import meeting_keys
from node.owner import DocumentOwner


class MeetingPlaces:
    """The meeting places of a node's documents, as they are now.

    A member that knows the latest key looks for others under older ones too, so that those who were away are found.
    It is found under the key before for `OLD_KEY_S` alone, counted from when it saw the change.

    Args:
        own_id: Our own.
        owners: Gives all documents that are open here.
        clock: The time, by which invites expire and old keys end.
    """

    def __init__(
        self, own_id: PeerId, owners: Callable[[], Iterable[DocumentOwner]], clock: Clock
    ) -> None:
        self._own_id = own_id
        self._owners = owners
        self._clock = clock
        self._latest: dict[DocumentId, tuple[bytes, float]] = {}

    def __call__(self) -> list[MeetingPlace]:
        """List them: one for each document."""
        places = [self._place(owner) for owner in self._owners()]
        self._latest = {
            place.document: self._latest[place.document]
            for place in places
            if place.document in self._latest
        }
        return places

    def _place(self, owner: DocumentOwner) -> MeetingPlace:
        ledger, document = owner.document.ledger, owner.document.document
        keys = meeting_keys(ledger, owner.document.keyring.discovery_keys)
        if keys and self._latest.get(document, (b"", 0.0))[0] != keys[0]:
            old_until = self._clock.now() + OLD_KEY_S if document in self._latest else 0.0
            self._latest[document] = (keys[0], old_until)
        invite_keys: tuple[bytes, ...] = ()
        if ledger.membership.role(self._own_id) is Role.MANAGE:
            invitations = ledger.membership.latest_invitations(self._clock.timestamp_us())
            invite_keys = tuple(
                invite_discovery_key(document, each.terms.key)
                for each in islice(invitations, MEETING_INVITES_MAX)
            )
        return MeetingPlace(
            document=document,
            members=frozenset(ledger.membership.members()),
            keys=keys,
            invite_keys=invite_keys,
        )

    def own_keys(self, place: MeetingPlace) -> tuple[bytes, ...]:
        """The keys by which we are found in a place."""
        latest = self._latest.get(place.document)
        is_old_good = latest is not None and self._clock.now() < latest[1]
        return (*place.keys[: 2 if is_old_good else 1], *place.invite_keys)
