"""Who is a member, as of any place in the causal graph, and which operations count.

Membership is looked up in a causal past, or in all that is here, never by order of arrival; `domain.ledger.resolver`
says which changes count in either. Where no two changes of the set are at odds, all of them do, and nothing has to be
resolved: that is the usual case, and it costs what the changes about one device cost.
"""

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from domain import codec, limits
from domain.errors import OperationError
from domain.identifiers import OperationId, PeerId
from domain.ledger.reach import Vector
from domain.ledger.resolver import Change, resolve, role_by, strikes
from domain.operations.control import (
    Add,
    ControlBody,
    Genesis,
    InviteTerms,
    Leave,
    Remove,
    Role,
    SetRole,
    decode_body,
    encode_body,
)
from domain.operations.kind import Kind

CHANGING_KINDS = frozenset(
    {Kind.GENESIS, Kind.INVITE, Kind.ADD, Kind.REMOVE, Kind.SET_ROLE, Kind.LEAVE}
)
NOTHING: frozenset[OperationId] = frozenset()
Standing = tuple[Role | None, PeerId | None]
"""What a device may do, and the first device of its person; both None for who is no member."""
CacheKey = TypeVar("CacheKey")
CacheValue = TypeVar("CacheValue")


class Place(NamedTuple):
    """Where an operation stands: its log, its number there, and its causal past without itself."""

    slot: int
    seq_num: int
    past: Vector


@dataclass(frozen=True, slots=True, kw_only=True)
class Invitation:
    """An invite operation: where it stands, who made it, what it allows."""

    slot: int
    seq_num: int
    inviter: PeerId
    terms: InviteTerms


class Membership:
    """The members of one document."""

    def __init__(self) -> None:
        self._changes: list[Change] = []
        self._bodies: list[ControlBody] = []
        self._by_slot: dict[int, list[Change]] = {}
        self._about: dict[PeerId, list[Change]] = {}
        self._by_author: dict[PeerId, list[Change]] = {}
        self._takers: list[Change] = []
        self._invites: dict[OperationId, Change] = {}
        self._invitations: dict[OperationId, Invitation] = {}
        self._by_key: dict[PeerId, list[Change]] = {}
        self._revocations: dict[OperationId, list[Change]] = {}
        self._additions: dict[OperationId, list[Change]] = {}
        self._odds: list[tuple[Change, Change]] = []
        self._odds_are_many = False
        self._resolved: OrderedDict[tuple[int, ...], frozenset[OperationId]] = OrderedDict()
        self._standings: OrderedDict[tuple[PeerId, tuple[int, ...]], Standing] = OrderedDict()
        # By everything: asked at each step of every exchange, changed by a change of membership alone.
        self._everything: Vector = {}
        self._roles: dict[PeerId, Role | None] = {}
        self._void: frozenset[OperationId] | None = None

    # -- As of a causal past --

    def role_at(self, peer: PeerId, past: Vector) -> Role | None:
        """Give the peer's role as of a causal past; None for who is no member."""
        return self._standing_at(peer, past)[0]

    def person_at(self, peer: PeerId, past: Vector) -> PeerId | None:
        """Give the first device of the peer's person as of a causal past; None for who is no member."""
        return self._standing_at(peer, past)[1]

    def members_at(self, past: Vector) -> dict[PeerId, Role]:
        """Give all members with their roles, as of a causal past."""
        key = self._key(past)
        roles = {peer: self._standing(peer, past, key)[0] for peer in self._about}
        return {peer: role for peer, role in roles.items() if role is not None}

    def _standing_at(self, peer: PeerId, past: Vector) -> Standing:
        return self._standing(peer, past, self._key(past))

    def _standing(self, peer: PeerId, past: Vector, key: tuple[int, ...]) -> Standing:
        if peer not in self._about:
            return None, None
        known = self._standings.get((peer, key))
        if known is None:
            known = role_by(self._counting(peer, past, self._void_at(past, key)))
            _remember(self._standings, (peer, key), known)
        return known

    def _counting(
        self, peer: PeerId, past: Vector, void: frozenset[OperationId]
    ) -> Iterable[Change]:
        return (
            change
            for change in self._about.get(peer, ())
            if change.is_in(past) and change.operation_id not in void
        )

    def _key(self, past: Vector) -> tuple[int, ...]:
        """Name a causal past by how many changes of each log belong to it."""
        key: list[int] = []
        for slot, changes in self._by_slot.items():
            count = _count_in(changes, past.get(slot, 0))
            if count:
                key += (slot, count)
        return tuple(key)

    def _void_at(self, past: Vector, key: tuple[int, ...]) -> frozenset[OperationId]:
        """Give the changes of a causal past that do not count in it."""
        if not self._odds_are_many and not any(
            first.is_in(past) and second.is_in(past) for first, second in self._odds
        ):
            return NOTHING
        void = self._resolved.get(key)
        if void is None:
            void = resolve([change for change in self._changes if change.is_in(past)])
            _remember(self._resolved, key, void)
        return void

    # -- By everything that this replica has --

    @property
    def everything(self) -> Vector:
        """The causal past that holds all changes."""
        return self._everything

    def void(self) -> frozenset[OperationId]:
        """Give the changes that do not count."""
        if self._void is None:
            self._void = self._void_at(self._everything, self._key(self._everything))
        return self._void

    def role(self, peer: PeerId) -> Role | None:
        """Give the peer's role."""
        if peer not in self._about:
            return None
        if peer not in self._roles:
            self._roles[peer] = self.role_at(peer, self._everything)
        return self._roles[peer]

    def members(self) -> dict[PeerId, Role]:
        """Give all members with their roles."""
        return self.members_at(self.everything)

    def person(self, peer: PeerId) -> PeerId | None:
        """Give the first device of the peer's person, which names the person; None for who is no member."""
        return self.person_at(peer, self.everything)

    def standing_of(self, peer: PeerId) -> list[Change]:
        """List what the peer's role hangs on: the changes about it that count, but for what came before others."""
        void = self.void()
        changes = [one for one in self._about.get(peer, ()) if one.operation_id not in void]
        return [one for one in changes if not any(one.precedes(other) for other in changes)]

    def removals_of(self, peer: PeerId) -> list[Change]:
        """List the changes that count and ended a membership of the peer, its own leaving included."""
        void = self.void()
        return [
            change
            for change in self._about.get(peer, ())
            if change.role is None and change.operation_id not in void
        ]

    def is_former(self, peer: PeerId) -> bool:
        """Whether the peer was a member, and is none any more."""
        return self.role(peer) is None and bool(self.removals_of(peer))

    def invitation(self, invite: OperationId) -> Invitation | None:
        """Find an invite operation."""
        return self._invitations.get(invite)

    def invite_of(self, peer: PeerId) -> Invitation | None:
        """Find the invite by which a device is a member; None for who founded the document, and for who is none."""
        void = self.void()
        additions = [
            change
            for change in self._about.get(peer, ())
            if change.invite is not None and change.operation_id not in void
        ]
        invite = additions[-1].invite if additions else None
        return self._invitations[invite.operation_id] if invite is not None else None

    def invitation_by_key(self, key: PeerId, own: PeerId) -> tuple[OperationId, Invitation] | None:
        """Find the invite operation that published a key; of several, as anybody can repeat one, the least doubtful.

        That is our own, or else one that took a manager.
        """
        published = self._by_key.get(key)
        if not published:
            return None
        chosen = min(
            published,
            key=lambda one: (
                one.author != own,
                one.need < Role.MANAGE,
                one.depth,
                one.operation_id,
            ),
        ).operation_id
        return chosen, self._invitations[chosen]

    def latest_invitations(self, now_us: int) -> Iterator[Invitation]:
        """Give the invites by which somebody may still join, those that came last first."""
        for operation_id, invitation in reversed(self._invitations.items()):
            terms = invitation.terms
            if (
                terms.expires_us > now_us
                and not self.is_revoked(operation_id)
                and self.uses(operation_id) < terms.uses
            ):
                yield invitation

    def is_revoked(self, invite: OperationId) -> bool:
        """Whether nobody may join by that invite any more, since it was revoked or does not count."""
        return self.is_revoked_at(invite, self.everything)

    def uses(self, invite: OperationId) -> int:
        """Count the distinct devices that joined by an invite."""
        return len(self.admitted_at(invite, self.everything))

    @property
    def changes(self) -> Sequence[Change]:
        """All changes, in causal order."""
        return self._changes

    @property
    def is_at_odds(self) -> bool:
        """Whether there are changes that do not all count together."""
        return bool(self._odds) or self._odds_are_many

    def last_changes(self) -> list[Change]:
        """Give the last change of each log that holds any."""
        return [changes[-1] for changes in self._by_slot.values()]

    def takers_from(self, author: PeerId, need: Role) -> list[Change]:
        """List the changes that count and leave a device less than a role."""
        void = self.void()
        about = [one for one in self._about.get(author, ()) if one.operation_id not in void]
        grants = [one for one in about if one.grants]
        return [
            change
            for change in about
            if change.takes
            and (change.role is None or change.role < need)
            and all(change.ends(grant) or change.precedes(grant) for grant in grants)
        ]

    def supports(self, author: PeerId, past: Vector, need: Role) -> bool:
        """Whether the author has a role in that causal past by the changes that count now."""
        if not self.is_at_odds:
            return True  # every change counts, as it did when the operation was let in
        role, _ = role_by(self._counting(author, past, self.void()))
        return role is not None and role >= need

    # -- For checking a change at its place --

    def invites_at(self, key: PeerId, past: Vector) -> list[Change]:
        """List the invite operations of a causal past that published a key."""
        return [one for one in self._by_key.get(key, ()) if one.is_in(past)]

    def is_revoked_at(self, invite: OperationId, past: Vector) -> bool:
        """Whether nobody may join by an invite as of a causal past, since it was revoked or does not count."""
        void = self._void_at(past, self._key(past))
        return invite in void or any(
            one.is_in(past) and one.operation_id not in void
            for one in self._revocations.get(invite, ())
        )

    def admitted_at(self, invite: OperationId, past: Vector) -> set[PeerId]:
        """Give the devices that joined by an invite as of a causal past."""
        void = self._void_at(past, self._key(past))
        return {
            one.target
            for one in self._additions.get(invite, ())
            if one.is_in(past) and one.operation_id not in void
        }

    # -- Taking a change into account --

    def take(
        self,
        operation_id: OperationId,
        author: PeerId,
        body: ControlBody,
        place: Place,
        need: Role,
    ) -> None:
        """Take a checked change into account; `need` is the role that its author needs for it."""
        change = self._make(operation_id, author, body, place, need)
        self._note_odds(change)
        self._changes.append(change)
        self._bodies.append(body)
        self._by_slot.setdefault(change.slot, []).append(change)
        self._by_author.setdefault(author, []).append(change)
        if change.concerns_member:
            self._about.setdefault(change.target, []).append(change)
        if change.takes:
            self._takers.append(change)
        for revoked in change.revokes:
            self._revocations.setdefault(revoked.operation_id, []).append(change)
        if isinstance(body, InviteTerms):
            self._invites[operation_id] = change
            self._by_key.setdefault(body.key, []).append(change)
            self._invitations[operation_id] = Invitation(
                slot=change.slot, seq_num=change.seq_num, inviter=author, terms=body
            )
        if isinstance(body, Add):
            self._additions.setdefault(body.invite, []).append(change)
        self._everything = {**self._everything, change.slot: change.seq_num + 1}
        self._roles.clear()
        self._void = None

    def _make(
        self,
        operation_id: OperationId,
        author: PeerId,
        body: ControlBody,
        place: Place,
        need: Role,
    ) -> Change:
        kind, target, role = Kind.GENESIS, author, None
        invite, uses, person = None, 0, None
        had_role, revokes = True, tuple[Change, ...]()
        match body:
            case Genesis():
                role, person = Role.MANAGE, author
            case InviteTerms():
                kind, target, uses = Kind.INVITE, body.key, body.uses
            case Add():
                kind, target, role = Kind.ADD, body.member, body.role
                invite = self._invites.get(body.invite)
                if invite is None:
                    raise OperationError("unknown-invite", "an addition comes before its invite")
                person = self._invitations[body.invite].terms.person or body.member
            case Remove():
                kind, target = Kind.REMOVE, body.member
                had_role = self.role_at(target, place.past) is not None
                if had_role and need < Role.MANAGE and author != target:
                    person = self.person_at(author, place.past)
                revokes = tuple(self.invites_at(target, place.past))
            case SetRole():
                kind, target, role = Kind.SET_ROLE, body.member, body.role
            case Leave():
                kind = Kind.LEAVE
            case _:
                raise AssertionError(f"{type(body).__name__} changes no membership")
        return Change(
            operation_id=operation_id,
            kind=kind,
            author=author,
            slot=place.slot,
            seq_num=place.seq_num,
            past=place.past,
            depth=self._depth(place),
            target=target,
            role=role,
            need=need,
            had_role=had_role,
            revokes=revokes,
            invite=invite,
            uses=uses,
            person=person,
            persons=frozenset(
                one.person
                for one in self._about.get(author, ())
                if one.grants and one.person is not None and one.is_in(place.past)
            ),
        )

    def _depth(self, place: Place) -> int:
        counts = {
            slot: _count_in(changes, place.past.get(slot, 0))
            for slot, changes in self._by_slot.items()
        }
        depths = [
            self._by_slot[slot][count - 1].depth + 1 for slot, count in counts.items() if count
        ]
        return max(depths, default=0)

    def _note_odds(self, change: Change) -> None:
        """Note with which earlier changes this one is at odds, so that not both may count in the end."""
        against: list[Change] = []
        touching = list(self._about.get(change.author, ()))
        if change.invite is not None:
            touching += self._revocations.get(change.invite.operation_id, ())
            additions = self._additions.get(change.invite.operation_id, [])
            if len({change.target, *(one.target for one in additions)}) > change.invite.uses:
                against += [one for one in additions if not one.precedes(change)]
        against += [one for one in touching if strikes(one, change)]
        if change.takes:
            struck = list(self._by_author.get(change.target, ()))
            for invite in change.revokes:
                struck += self._additions.get(invite.operation_id, ())
            against += [one for one in struck if strikes(change, one)]
            # Together, such changes may leave nobody who manages the document.
            against += [one for one in self._takers if not one.precedes(change)]
        self._odds += [(one, change) for one in against]
        if len(self._odds) > limits.ODDS_MAX:
            self._odds.clear()
            self._odds_are_many = True

    # -- Keeping --

    def to_value(self) -> codec.Value:
        """Give what `restore` reads."""
        return [
            (
                change.operation_id,
                change.author,
                int(change.kind),
                encode_body(body),
                change.slot,
                change.seq_num,
                list(change.past.items()),
                int(change.need),
            )
            for change, body in zip(self._changes, self._bodies, strict=True)
        ]

    def restore(self, value: object) -> None:
        """Read what `to_value` gave."""
        for entry in codec.take_list(value, maximum=2**32):
            operation_id, author, kind, body, slot, seq_num, past, need = codec.take_list(
                entry, maximum=8
            )
            pairs = [
                codec.take_list(pair, maximum=2) for pair in codec.take_list(past, maximum=2**32)
            ]
            self.take(
                OperationId(codec.take_bytes(operation_id, maximum=32)),
                PeerId(codec.take_bytes(author, maximum=32)),
                decode_body(
                    codec.take_int(kind, maximum=63),
                    codec.take_bytes(body, maximum=limits.CONTROL_BODY_BYTES_MAX),
                ),
                Place(
                    codec.take_int(slot, maximum=2**32),
                    codec.take_int(seq_num, maximum=2**32),
                    {
                        codec.take_int(log, maximum=2**32): codec.take_int(height, maximum=2**32)
                        for log, height in pairs
                    },
                ),
                Role(codec.take_int(need, maximum=max(Role))),
            )


def _remember(cache: OrderedDict[CacheKey, CacheValue], key: CacheKey, value: CacheValue) -> None:
    cache[key] = value
    if len(cache) > limits.MEMBERSHIPS_CACHED_MAX:
        cache.popitem(last=False)


def _count_in(changes: list[Change], height: int) -> int:
    """Count the changes of a log among its first so many operations."""
    if not height or height > changes[-1].seq_num:
        return len(changes) if height else 0
    return bisect_left(changes, height, key=lambda change: change.seq_num)
