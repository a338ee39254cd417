"""Devices that change each other's roles at the same time: histories of membership, made from a seed."""

import random
from typing import Any, Final

from domain.errors import OperationError
from domain.identifiers import DocumentId, LogKey, OperationId, PeerId
from domain.identity import Label
from domain.operations.control import (
    Add,
    ControlBody,
    InviteTerms,
    Leave,
    Remove,
    Role,
    SetRole,
    encode_body,
    join_statement,
)
from domain.operations.kind import Kind
from domain.operations.operation import Operation
from tests.domain.ledger.devices import FOUNDER, SECRET, Device, found, log_id
from tests.strategies import key

INVITES: Final = range(200, 260)
ROLES: Final = tuple(Role)
UNKNOWN_KIND: Final = 63


def terms_of(
    number: int, role: Role, *, uses: int = 9, person: PeerId | None = None
) -> InviteTerms:
    """An invite whose key is that of test device `number`."""
    return InviteTerms(key=key(number).peer, role=role, expires_us=0, uses=uses, person=person)


class Member(Device):
    """A device that may be added again, with new logs."""

    def renew(self, generation: int) -> None:
        self.log_ids = {
            False: log_id(self.number, generation, 1),
            True: log_id(self.number, generation, 2),
        }

    def addition_by(self, number: int, invite: OperationId, member: PeerId, role: Role) -> Add:
        proof = key(number).sign(Label.JOIN, join_statement(self.document, member, None))
        return Add(member=member, role=role, invite=invite, prekey_hash=None, proof=proof)

    def change(self, body: ControlBody) -> Operation:
        return self.write_control(kind_of(body), body)

    def may(self, kind: int, body: bytes) -> Operation | None:
        """The operation, if it may stand at the place where this device would put it now."""
        draft = self.draft(kind, body)
        try:
            self.ledger.examine(draft)
        except OperationError:
            return None
        return draft


def kind_of(body: ControlBody) -> Kind:
    kinds: dict[type[Any], Kind] = {
        InviteTerms: Kind.INVITE,
        Add: Kind.ADD,
        Remove: Kind.REMOVE,
        SetRole: Kind.SET_ROLE,
        Leave: Kind.LEAVE,
    }
    return kinds[type(body)]


def found_committee(
    count: int, roles: tuple[Role, ...] = (Role.MANAGE,), *, timestamp: int = 0
) -> tuple[list[Member], list[Operation]]:
    """Found a document with so many members; the roles repeat. All have everything."""
    founder, genesis = found(timestamp)
    members = [Member(FOUNDER + n, founder.document) for n in range(count)]
    first = members[0]
    first.take([genesis])
    written = [genesis]
    for at, member in enumerate(members[1:]):
        role = roles[at % len(roles)]
        number = INVITES[at]
        written.append(first.change(terms_of(number, role)))
        invite = written[-1].operation_id
        written.append(first.change(first.addition_by(number, invite, member.peer, role)))
    for member in members[1:]:
        member.take(written)
    return members, written


class Committee:
    """What members did at the same time, handing on to each other at random what they have.

    Args:
        seed: Makes the same history again.
        steps: How many things happen.
    """

    def __init__(self, seed: int, steps: int) -> None:
        self.random = random.Random(seed)
        count = self.random.randint(3, 5)
        roles = tuple(self.random.choice((Role.MANAGE, Role.MANAGE, *ROLES)) for _ in range(count))
        self.members, written = found_committee(count, roles)
        self.held = {member.number: list(written) for member in self.members}
        self.invites: list[tuple[int, OperationId, Role]] = []
        self.generation = 10
        for _ in range(steps):
            self._step()

    @property
    def document(self) -> DocumentId:
        return self.members[0].document

    @property
    def operations(self) -> list[Operation]:
        everything = {one.operation_id: one for held in self.held.values() for one in held}
        return list(everything.values())

    def _step(self) -> None:
        member, other = self.random.sample(self.members, 2)
        match self.random.randrange(12):
            case 0 | 1 | 2:
                self._hand_on(member, other)
            case 3 | 4:
                self._try(member, Remove(member=other.peer))
            case 5:
                self._try(member, SetRole(member=other.peer, role=self.random.choice(ROLES)))
            case 6 if self.random.random() < 0.3:
                self._try(member, Leave())
            case 7:
                self._invite(member)
            case 8 | 9 if self.invites:
                self._admit(member, other)
            case 10 if self.random.random() < 0.2:
                self._take(member, member.may(UNKNOWN_KIND, b"of a newer version"))
            case _:
                self._write(member)

    def _try(self, member: Member, body: ControlBody) -> bool:
        return self._take(member, member.may(kind_of(body), encode_body(body)))

    def _take(self, member: Member, operation: Operation | None) -> bool:
        if operation is not None:
            assert member.take([operation]).entered == [operation]
            self.held[member.number].append(operation)
        return operation is not None

    def _invite(self, member: Member) -> None:
        number = INVITES[10 + len(self.invites) % 40]
        if self.random.random() < 0.1:  # whoever publishes a key chooses it
            number = self.random.choice(self.members).number
        elif self.invites and self.random.random() < 0.1:
            number = self.random.choice(self.invites)[0]
        role = self.random.choice(ROLES)
        person = (
            member.ledger.membership.person(member.peer) if self.random.random() < 0.4 else None
        )
        if self._try(member, terms_of(number, role, uses=self.random.randint(1, 2), person=person)):
            self.invites.append((number, self.held[member.number][-1].operation_id, role))
        elif self.invites and self.random.random() < 0.5:
            self._try(member, Remove(member=key(self.random.choice(self.invites)[0]).peer))

    def _admit(self, member: Member, other: Member) -> None:
        number, invite, role = self.random.choice(self.invites)
        if self.random.random() < 0.3 and len(self.members) < 7:
            other = Member(FOUNDER + len(self.members), self.document)
        if self._try(member, member.addition_by(number, invite, other.peer, role)):
            self.generation += 1
            other.renew(self.generation)
            if other not in self.members:
                self.members.append(other)
                self.held[other.number] = []
            self._hand_on(member, other)

    def _write(self, member: Member) -> None:
        log = LogKey(member.peer, member.log_ids[True])
        secret = None if member.ledger.log(log) else SECRET
        draft = member.draft(Kind.UPDATE, self.random.randbytes(3), secret=secret)
        if member.ledger.membership.role(member.peer) in (Role.WRITE, Role.MANAGE):
            admitted = member.take([draft])
            if admitted.entered:
                self.held[member.number].append(draft)

    def _hand_on(self, giver: Member, taker: Member) -> None:
        given = list(self.held[giver.number])
        self.random.shuffle(given)
        admitted = taker.take(given)
        assert not admitted.refused
        self.held[taker.number] += admitted.entered
