"""Who is a member, as of any place in the causal graph.

This version knows founding and adding; nobody is removed yet. Membership is looked up in a causal past, never "now", so
that every replica answers alike.
"""

from dataclasses import dataclass

from domain import codec
from domain.errors import OperationError
from domain.identifiers import DocumentId, OperationId, PeerId
from domain.identity import Label, verify
from domain.ledger.log import Vector
from domain.operations.control import (
    Add,
    InviteTerms,
    Role,
    decode_body,
    encode_body,
    join_statement,
)
from domain.operations.kind import Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Invitation:
    """An invite operation: where it stands, who made it, what it allows."""

    slot: int
    seq_num: int
    inviter: PeerId
    terms: InviteTerms


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A role that somebody was given: where that stands, and by which invite."""

    slot: int
    seq_num: int
    role: Role
    invite: OperationId | None


class Membership:
    """The members of one document.

    Args:
        document: The document.
    """

    def __init__(self, document: DocumentId) -> None:
        self._document = document
        self._grants: dict[PeerId, list[Grant]] = {}
        self._invitations: dict[OperationId, Invitation] = {}

    def role_at(self, peer: PeerId, past: Vector) -> Role | None:
        """Give the peer's role as of a causal past; None for who is no member."""
        roles = [
            grant.role
            for grant in self._grants.get(peer, ())
            if grant.seq_num < past.get(grant.slot, 0)
        ]
        return max(roles, default=None)

    def role(self, peer: PeerId) -> Role | None:
        """Give the peer's role by everything that this replica has."""
        return max((grant.role for grant in self._grants.get(peer, ())), default=None)

    def members(self) -> dict[PeerId, Role]:
        """Give all members with their roles, by everything that this replica has."""
        return {peer: max(grant.role for grant in grants) for peer, grants in self._grants.items()}

    def invitation(self, invite: OperationId) -> Invitation | None:
        """Find an invite operation."""
        return self._invitations.get(invite)

    def invitation_by_key(self, key: PeerId) -> tuple[OperationId, Invitation] | None:
        """Find the invite operation that published a key."""
        for operation_id, invitation in self._invitations.items():
            if invitation.terms.key == key:
                return operation_id, invitation
        return None

    def uses(self, invite: OperationId) -> int:
        """Count the distinct devices that joined by an invite."""
        return sum(
            any(grant.invite == invite for grant in grants) for grants in self._grants.values()
        )

    def found(self, creator: PeerId, slot: int) -> None:
        """Take the genesis operation into account: its author manages the document."""
        self._grants[creator] = [Grant(slot=slot, seq_num=0, role=Role.MANAGE, invite=None)]

    def check_invite(self, author: PeerId, terms: InviteTerms, past: Vector) -> None:
        """Check an invite operation at its place.

        Raises:
            OperationError: Its author may not invite, or the role cannot be granted by this version.
        """
        self._check_manager(author, past)
        _check_role(terms.role)

    def check_add(self, author: PeerId, add: Add, past: Vector) -> None:
        """Check an add operation at its place: one Ed25519 verification.

        Raises:
            OperationError: Its author may not add, the invite is unknown there or allows something else, or the proof
                is none.
        """
        self._check_manager(author, past)
        invitation = self._invitations.get(add.invite)
        if invitation is None or invitation.seq_num >= past.get(invitation.slot, 0):
            raise OperationError(
                "unknown-invite", "the invite does not stand in the causal past of its use"
            )
        if add.role != invitation.terms.role:
            raise OperationError("wrong-role", "the invite grants another role")
        _check_role(add.role)
        statement = join_statement(self._document, add.member, add.prekey_hash)
        if not verify(invitation.terms.key, Label.JOIN, statement, add.proof):
            raise OperationError("wrong-proof", "the joiner did not hold the invite's key")

    def invite(self, operation_id: OperationId, invitation: Invitation) -> None:
        """Take a checked invite operation into account."""
        self._invitations[operation_id] = invitation

    def add(self, add: Add, slot: int, seq_num: int) -> None:
        """Take a checked add operation into account."""
        grant = Grant(slot=slot, seq_num=seq_num, role=add.role, invite=add.invite)
        self._grants.setdefault(add.member, []).append(grant)

    def _check_manager(self, author: PeerId, past: Vector) -> None:
        if self.role_at(author, past) != Role.MANAGE:
            raise OperationError(
                "not-permitted", f"{author.short} does not manage the document there"
            )

    def to_value(self) -> codec.Value:
        """Give what `restore` reads."""
        return (
            [
                (
                    peer,
                    [
                        (grant.slot, grant.seq_num, int(grant.role), grant.invite)
                        for grant in grants
                    ],
                )
                for peer, grants in self._grants.items()
            ],
            [
                (operation_id, entry.slot, entry.seq_num, entry.inviter, encode_body(entry.terms))
                for operation_id, entry in self._invitations.items()
            ],
        )

    def restore(self, value: object) -> None:
        """Read what `to_value` gave."""
        grants, invitations = codec.take_list(value, maximum=2)
        for entry in codec.take_list(grants, maximum=2**32):
            peer, granted = codec.take_list(entry, maximum=2)
            self._grants[PeerId(codec.take_bytes(peer, maximum=32))] = [
                _restore_grant(grant) for grant in codec.take_list(granted, maximum=2**32)
            ]
        for entry in codec.take_list(invitations, maximum=2**32):
            operation_id, slot, seq_num, inviter, body = codec.take_list(entry, maximum=5)
            terms = decode_body(Kind.INVITE, codec.take_bytes(body, maximum=1024))
            assert isinstance(terms, InviteTerms)
            self._invitations[OperationId(codec.take_bytes(operation_id, maximum=32))] = Invitation(
                slot=codec.take_int(slot, maximum=2**32),
                seq_num=codec.take_int(seq_num, maximum=2**32),
                inviter=PeerId(codec.take_bytes(inviter, maximum=32)),
                terms=terms,
            )


def _restore_grant(value: object) -> Grant:
    slot, seq_num, role, invite = codec.take_list(value, maximum=4)
    return Grant(
        slot=codec.take_int(slot, maximum=2**32),
        seq_num=codec.take_int(seq_num, maximum=2**32),
        role=Role(codec.take_int(role, maximum=max(Role))),
        invite=None if invite is None else OperationId(codec.take_bytes(invite, maximum=32)),
    )


def _check_role(role: Role) -> None:
    if role != Role.WRITE:
        raise OperationError(
            "unsupported-role", f"this version grants the role write alone, not {role.name.lower()}"
        )
