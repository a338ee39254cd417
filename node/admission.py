"""Letting in those who hold an invite."""

from domain.errors import NotPermittedError
from domain.identifiers import OperationId, PeerId
from domain.identity import Label, verify
from domain.ledger.membership import Invitation
from domain.operations.control import Add, join_statement
from domain.operations.kind import Kind
from domain.ports.environment import Clock
from domain.sync.message import Join
from node.owner import DocumentOwner


class InviteAdmission:
    """Admits who proves to hold an invite's key, as often and as long as the invite says.

    Args:
        clock: Tells the time, by which invites expire.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._being_admitted: dict[OperationId, set[PeerId]] = {}

    async def admit(self, owner: DocumentOwner, peer: PeerId, join: Join) -> str | None:
        """Make the peer a member; durable on return. None, or the reason of a refusal (see `InviteError`)."""
        membership = owner.document.ledger.membership
        if membership.role(peer) is not None:
            return None
        found = membership.invitation_by_key(join.invite_key)
        if found is None:
            return "refused"
        invite, invitation = found
        in_progress = self._being_admitted.setdefault(invite, set())
        uses = membership.uses(invite) + len(in_progress)
        refusal = "forged" if not _is_sound(owner, peer, join) else None
        refusal = refusal or ("revoked" if membership.is_revoked(invite) else None)
        refusal = refusal or self._why_not(invitation, uses)
        if refusal is not None:
            return refusal
        in_progress.add(peer)
        try:
            return await self._add(owner, peer, join, invite)
        finally:
            in_progress.discard(peer)

    async def _add(
        self, owner: DocumentOwner, peer: PeerId, join: Join, invite: OperationId
    ) -> str | None:
        invitation = owner.document.ledger.membership.invitation(invite)
        assert invitation is not None
        add = Add(
            member=peer,
            role=invitation.terms.role,
            invite=invite,
            prekey_hash=join.prekey.digest(),
            proof=join.proof,
        )
        owner.courier.present(peer, join.prekey)
        try:
            await owner.write_control(Kind.ADD, add)
        except NotPermittedError:
            return "refused"
        return None

    def _why_not(self, invitation: Invitation, uses: int) -> str | None:
        if invitation.terms.confirm:
            return (
                "refused"  # it asks for two people to compare a code, which this version cannot do
            )
        if self._clock.timestamp_us() >= invitation.terms.expires_us:
            return "expired"
        return "used" if uses >= invitation.terms.uses else None


def _is_sound(owner: DocumentOwner, peer: PeerId, join: Join) -> bool:
    """Whether the holder of the invite's key vouches for this very peer and its prekey, and the peer for the latter."""
    statement = join_statement(owner.document.document, peer, join.prekey.digest())
    is_vouched_for = verify(join.invite_key, Label.JOIN, statement, join.proof)
    return is_vouched_for and join.prekey.is_signed_by(peer)
