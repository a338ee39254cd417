"""What `domain.ledger.resolver` says, once more: slowly, by plain sets, with no thought of cost.

A change is looked at through its causal past as a set of operation ids; every rule is a quantifier over all changes.
"""

from collections.abc import Callable, Iterable

from domain.identifiers import OperationId, PeerId
from domain.ledger.resolver import Change
from domain.operations.control import Role
from domain.operations.kind import Kind

Past = dict[OperationId, frozenset[OperationId]]


def pasts_of(changes: Iterable[Change]) -> Past:
    """The causal past of each change, as the ids of the changes in it."""
    everything = list(changes)
    return {
        one.operation_id: frozenset(
            other.operation_id
            for other in everything
            if other is not one and other.seq_num < one.past.get(other.slot, 0)
        )
        for one in everything
    }


def is_about_a_member(one: Change) -> bool:
    """Whether it is about what a device may do; a removal is not, where the target was the key of an invite alone."""
    return one.kind != Kind.INVITE and one.had_role


class Reference:
    """Resolves a causally closed set of changes."""

    def __init__(self, changes: Iterable[Change]) -> None:
        self.changes = list(changes)
        self.past = pasts_of(self.changes)

    def before(self, one: Change, other: Change) -> bool:
        return one.operation_id in self.past[other.operation_id]

    def concurrent(self, one: Change, other: Change) -> bool:
        return one is not other and not self.before(one, other) and not self.before(other, one)

    def strikes(self, one: Change, other: Change) -> bool:
        if one.kind not in (Kind.REMOVE, Kind.SET_ROLE, Kind.LEAVE):
            return False
        if not self.concurrent(one, other):
            return False
        if one.target == other.author and one.had_role and int(one.role or 0) < other.need:
            added_as = {grant.person for grant in self.changes if self.grants_before(grant, other)}
            if one.person is None or added_as <= {one.person}:
                return True
        return (
            one.kind == Kind.REMOVE
            and other.kind == Kind.ADD
            and other.invite is not None
            and other.invite.target == one.target
            and self.before(other.invite, one)
        )

    def grants_before(self, grant: Change, one: Change) -> bool:
        """Whether a change made the author of another a member before that."""
        is_grant = grant.kind in (Kind.ADD, Kind.GENESIS) and grant.target == one.author
        return is_grant and self.before(grant, one)

    def ended(self, one: Change, ends: list[Change]) -> bool:
        """Whether a removal ended a membership; who removes by right of its person alone ends what that person gave."""
        return any(
            not self.before(end, one)
            and (end.person is None or (one.kind != Kind.SET_ROLE and end.person == one.person))
            for end in ends
        )

    def role(self, peer: PeerId, among: Iterable[Change]) -> Role | None:
        """The role of a peer by a set of changes that all count."""
        about = [one for one in among if one.target == peer and is_about_a_member(one)]
        ends = [one for one in about if one.role is None]
        alive = [one for one in about if one.role and not self.ended(one, ends)]
        grants = [one for one in alive if one.kind in (Kind.ADD, Kind.GENESIS)]
        alive = [
            one
            for one in alive
            if one in grants or any(self.before(grant, one) for grant in grants)
        ]
        latest = [one for one in alive if not any(self.before(one, other) for other in alive)]
        set_to = [one.role for one in latest if one.role is not None and one not in grants]
        added_with = [one.role for one in latest if one.role is not None and one in grants]
        return min(set_to, default=max(added_with, default=None))

    def supported(self, one: Change, counts: Callable[[Change], bool]) -> bool:
        if one.kind == Kind.GENESIS:
            return True
        if one.kind == Kind.ADD and not (one.invite is not None and counts(one.invite)):
            return False
        behind = [other for other in self.changes if self.before(other, one) and counts(other)]
        role = self.role(one.author, behind)
        return role is not None and role >= one.need

    def hangs_on(self, one: Change) -> set[Change]:
        """What has a say in whether a change counts."""
        strikers = {other for other in self.changes if self.strikes(other, one)}
        support = {
            other
            for other in self.changes
            if self.before(other, one)
            and (other is one.invite or (other.target == one.author and is_about_a_member(other)))
        }
        return strikers | support

    def settle(self, forced: frozenset[OperationId]) -> dict[Change, bool]:
        decided = {one: False for one in self.changes if one.operation_id in forced}
        while len(decided) < len(self.changes):
            waiting = [one for one in self.changes if one not in decided]
            now = {
                one: verdict
                for one in waiting
                if (verdict := self.verdict(one, decided)) is not None
            }
            decided |= now or self.break_circles(waiting, decided)
        return decided

    def verdict(self, one: Change, decided: dict[Change, bool]) -> bool | None:
        if any(decided.get(other) and self.strikes(other, one) for other in self.changes):
            return False
        if any(other not in decided for other in self.hangs_on(one)):
            return None
        return self.supported(one, lambda other: decided.get(other, False))

    def break_circles(
        self, waiting: list[Change], decided: dict[Change, bool]
    ) -> dict[Change, bool]:
        """Everything in a circle that hangs on nothing outside, and strikes something in it, counts."""
        on = {one: self.hangs_on(one) - set(decided) for one in waiting}
        reach = {one: set(others) for one, others in on.items()}
        for _ in waiting:
            for one in waiting:
                for other in tuple(reach[one]):
                    reach[one] |= reach[other]
        first = [one for one in waiting if all(one in reach[other] for other in reach[one])]
        return {
            one: True
            for one in first
            if any(other in reach[one] and self.strikes(one, other) for other in first)
        }

    def resolve(self) -> frozenset[OperationId]:
        forced: frozenset[OperationId] = frozenset()
        while True:
            decided = self.settle(forced)
            valid = [one for one in self.changes if decided[one]]
            more = self.over_used(valid) or self.against_senior(valid)
            if not more:
                return frozenset(one.operation_id for one in self.changes if not decided[one])
            forced |= more

    def over_used(self, valid: list[Change]) -> frozenset[OperationId]:
        over = set()
        for invite in (one for one in valid if one.kind == Kind.INVITE):
            additions = sorted(
                (one for one in valid if one.invite is invite),
                key=lambda one: (one.depth, one.operation_id),
            )
            devices = list(dict.fromkeys(one.target for one in additions))[: invite.uses]
            over |= {one.operation_id for one in additions if one.target not in devices}
        return frozenset(over)

    def against_senior(self, valid: list[Change]) -> frozenset[OperationId]:
        peers = {one.target for one in valid if is_about_a_member(one)}
        if any(self.role(peer, valid) == Role.MANAGE for peer in peers):
            return frozenset()
        managers = {one.target for one in valid if one.role == Role.MANAGE}
        takers = [
            one
            for one in valid
            if one.kind in (Kind.REMOVE, Kind.SET_ROLE, Kind.LEAVE)
            and one.had_role
            and one.role != Role.MANAGE
            and one.target in managers
        ]
        last = [one for one in takers if not any(self.before(one, other) for other in takers)]
        asked = [one for one in last if one.kind != Kind.LEAVE] or last
        grants = sorted(
            (
                one
                for one in valid
                if one.kind in (Kind.ADD, Kind.GENESIS)
                and one.target in {taker.target for taker in asked}
            ),
            key=lambda one: (one.depth, one.operation_id),
        )
        if not grants:
            return frozenset()
        return frozenset(one.operation_id for one in last if one.target == grants[0].target)
