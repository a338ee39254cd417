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
        statement = join_statement(owner.document.document, peer, join.prekey_hash)
        if not verify(join.invite_key, Label.JOIN, statement, join.proof):
            return "forged"
        in_progress = self._being_admitted.setdefault(invite, set())
        uses = membership.uses(invite) + len(in_progress)
        refusal = "revoked" if membership.is_revoked(invite) else self._why_not(invitation, uses)
        if refusal is not None:
            return refusal
        in_progress.add(peer)
        try:
            add = Add(
                member=peer,
                role=invitation.terms.role,
                invite=invite,
                prekey_hash=join.prekey_hash,
                proof=join.proof,
            )
            await owner.write_control(Kind.ADD, add)
        except NotPermittedError:
            return "refused"
        finally:
            in_progress.discard(peer)
        return None

    def _why_not(self, invitation: Invitation, uses: int) -> str | None:
        if invitation.terms.confirm:
            return (
                "refused"  # it asks for two people to compare a code, which this version cannot do
            )
        if self._clock.timestamp_us() >= invitation.terms.expires_us:
            return "expired"
        return "used" if uses >= invitation.terms.uses else None
