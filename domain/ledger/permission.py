"""Whether a change of membership may stand at its place: by its author's role and by what is there.

All of it depends on the change and its causal past alone, so that every replica refuses the same ones.
"""

from collections.abc import Mapping

from domain.errors import OperationError
from domain.identifiers import DocumentId, PeerId
from domain.identity import Label, can_be_sealed_to, verify
from domain.ledger.membership import Membership
from domain.ledger.reach import Vector
from domain.operations.control import (
    Add,
    Claim,
    ControlBody,
    Genesis,
    InviteTerms,
    Leave,
    Remove,
    Role,
    SetRole,
    join_statement,
)
from domain.operations.distribution import PrekeyNotice, SecretDistribution


class Permission:
    """Checks changes of the membership of one document.

    Args:
        document: The document.
        membership: Its members.
    """

    def __init__(self, document: DocumentId, membership: Membership) -> None:
        self._document = document
        self._membership = membership

    def check(self, author: PeerId, body: ControlBody, past: Vector) -> Role:
        """Check a change at its place; give the role that its author needs for it, the lowest for what is no change.

        Raises:
            OperationError: Its author may not do that there, or it cannot be done there.
        """
        match body:
            case InviteTerms():
                return self._check_invite(author, body, past)
            case Add():
                return self._check_add(author, body, past)
            case Remove():
                return self._check_remove(author, body, past)
            case SetRole():
                self._need(author, Role.MANAGE, past)
                self._check_member(body.member, past)
                if body.role != Role.MANAGE:
                    self._check_not_last(body.member, past)
                return Role.MANAGE
            case Leave():
                self._check_not_last(author, past)
            case Genesis() | Claim() | PrekeyNotice() | SecretDistribution():
                pass
        return Role.PULL

    def _need(self, author: PeerId, role: Role, past: Vector) -> Role:
        actual = self._membership.role_at(author, past)
        if actual is None or actual < role:
            raise OperationError(
                "not-permitted", f"{author.short} may not do there what {role.name.lower()} may"
            )
        return role

    def _check_invite(self, author: PeerId, terms: InviteTerms, past: Vector) -> Role:
        if terms.person is None:
            return self._need(author, Role.MANAGE, past)
        if terms.person != self._membership.person_at(author, past):
            raise OperationError("wrong-person", "devices are invited by others of their person")
        return self._need(author, terms.role, past)

    def _check_add(self, author: PeerId, add: Add, past: Vector) -> Role:
        """Check an addition: one Ed25519 verification, and a look at the new key that costs as much."""
        membership = self._membership
        invitation = membership.invitation(add.invite)
        if invitation is None or invitation.seq_num >= past.get(invitation.slot, 0):
            self._need(author, Role.MANAGE, past)
            raise OperationError(
                "unknown-invite", "the invite does not stand in the causal past of its use"
            )
        terms = invitation.terms
        is_own = terms.person is not None and terms.person == membership.person_at(author, past)
        need = self._need(author, terms.role if is_own else Role.MANAGE, past)
        if add.role != terms.role:
            raise OperationError("wrong-role", "the invite grants another role")
        if membership.is_revoked_at(add.invite, past):
            raise OperationError("revoked", "the invite was revoked")
        if membership.role_at(add.member, past) is not None:
            raise OperationError("already-member", f"{add.member.short} is a member there")
        if len(membership.admitted_at(add.invite, past) - {add.member}) >= terms.uses:
            raise OperationError("used", "the invite was used as often as it allows")
        if not can_be_sealed_to(add.member):
            raise OperationError("wrong-member", "nothing can be sealed to a device of that id")
        statement = join_statement(self._document, add.member, add.prekey_hash)
        if not verify(terms.key, Label.JOIN, statement, add.proof):
            raise OperationError("wrong-proof", "the joiner did not hold the invite's key")
        return need

    def _check_remove(self, author: PeerId, remove: Remove, past: Vector) -> Role:
        membership = self._membership
        need = Role.PULL
        invites = membership.invites_at(remove.member, past)
        if invites:
            is_own = all(one.author == author for one in invites)
            need = self._need(author, Role.PULL if is_own else Role.MANAGE, past)
            if membership.role_at(remove.member, past) is None:
                return need
        # Whoever publishes an invite chooses its key, and may choose the id of a member.
        person = membership.person_at(author, past)
        is_own = person is not None and person == membership.person_at(remove.member, past)
        if not is_own:
            self._need(author, Role.MANAGE, past)
        role = self._check_member(remove.member, past)
        self._check_not_last(remove.member, past)
        return max(need, self._need(author, role if is_own else Role.MANAGE, past))

    def _check_member(self, member: PeerId, past: Vector) -> Role:
        role = self._membership.role_at(member, past)
        if role is None:
            raise OperationError("unknown-member", f"{member.short} is no member there")
        return role

    def _check_not_last(self, member: PeerId, past: Vector) -> None:
        if self._membership.role_at(member, past) == Role.MANAGE and not any(
            role == Role.MANAGE and peer != member
            for peer, role in self._membership.members_at(past).items()
        ):
            raise OperationError("last-manager", "nobody else would manage the document")


EXPLANATIONS: Mapping[str, str] = {
    "not-permitted": "the role of this device does not allow it: ask somebody who manages the document",
    "not-a-member": "this device is no member of the document",
    "unknown-member": "no such member: `culm members` lists them",
    "last-manager": "nobody else would manage the document: give another member the role manage first",
    "already-member": "the device is a member already",
    "wrong-person": "a device invites others of its own person alone",
    "revoked": "the invite was revoked",
    "used": "the invite was used as often as it allows",
}


def explain(error: OperationError) -> str:
    """Say to a person why a change of theirs is refused, and what to do."""
    return EXPLANATIONS.get(error.code, str(error))
