"""Which changes of membership count, of any causally closed set of them; the same on every replica.

Concurrent changes resolve by strong removal, as p2panda-auth has it. A change *strikes* what the device that it removes
or demotes did at the same time and may no longer do. Whether a change counts hangs on two things, each of which may
fall: its author had the role for it, by what counts in its causal past; and nothing that counts strikes it. Where
changes hang on each other in a circle (Alice removes Bob while Bob removes Alice, or by way of devices that they have
just added), those of the circle that strike all count: everybody in it is removed. If that would leave nobody who
manages the document, the most senior of those who lost their role to each other keeps it, and what took it does not
count. An invite admits no more devices than it says: first come by causal order, then by operation id.

Nothing here knows in which order changes came. `tests/domain/ledger/reference_resolver.py` says the same at length.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from domain.identifiers import OperationId, PeerId
from domain.ledger.reach import Vector
from domain.operations.control import Role
from domain.operations.kind import Kind


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Change:
    """An operation that changes who may do what, and what of it the resolver looks at.

    Args:
        operation_id: Its id.
        kind: Genesis, invite, add, remove, set-role or leave.
        author: Who signed it.
        slot: Its log.
        seq_num: Its place there.
        past: Its causal past, without itself.
        depth: The length of the longest chain of changes that it builds on.
        target: Whose role it changes; the key of an invite where it publishes or revokes one.
        had_role: Whether the target had one before it: a removal that only revokes is about no member.
        revokes: For a removal, the invites in its causal past that have the target as their key.
        role: The role that the target has by it; None where that is none.
        need: The role that its author needs for it.
        invite: For an addition, the invite operation.
        uses: For an invite, how many devices may join.
        person: For an addition or the genesis, the first device of the target's person. For a removal by right of one
            person alone, that person: it ends what devices of that person gave, and no other membership.
        persons: As devices of which persons its author was added before it.
    """

    operation_id: OperationId
    kind: Kind
    author: PeerId
    slot: int
    seq_num: int
    past: Vector
    depth: int
    target: PeerId
    role: Role | None
    need: Role
    had_role: bool = True
    revokes: "tuple[Change, ...]" = ()
    invite: "Change | None" = None
    uses: int = 0
    person: PeerId | None = None
    persons: frozenset[PeerId] = frozenset()

    def precedes(self, other: "Change") -> bool:
        """Whether it is in the causal past of another."""
        return self.seq_num < other.past.get(self.slot, 0)

    def is_in(self, past: Vector) -> bool:
        """Whether it belongs to a causally closed set."""
        return self.seq_num < past.get(self.slot, 0)

    @property
    def grants(self) -> bool:
        """Whether it makes a device a member."""
        return self.kind in (Kind.ADD, Kind.GENESIS)

    @property
    def takes(self) -> bool:
        """Whether it can take something: a membership, a role, the power of an invite."""
        return self.kind in (Kind.REMOVE, Kind.SET_ROLE, Kind.LEAVE)

    @property
    def concerns_member(self) -> bool:
        """Whether it is about what a device may do."""
        return self.grants or (self.takes and self.had_role)

    def ends(self, grant: "Change") -> bool:
        """Whether a removal ends a membership that was given before it, or at the same time."""
        return self.person in (None, grant.person) and not self.precedes(grant)


def strikes(striker: Change, struck: Change) -> bool:
    """Whether one change, if it counts, makes that another does not, which came at the same time."""
    if not striker.takes or striker is struck:
        return False
    falls = struck.invite is not None and struck.invite in striker.revokes
    if striker.target == struck.author and striker.concerns_member:
        is_reached = striker.person is None or struck.persons <= {striker.person}
        falls = falls or (is_reached and (striker.role is None or striker.role < struck.need))
    return falls and not striker.precedes(struck) and not struck.precedes(striker)


def role_by(changes: Iterable[Change]) -> tuple[Role | None, PeerId | None]:
    """Give the role that changes about one device, all of which count, amount to; and its person.

    A removal ends every membership that was not given after it, or those of one person. Of what is left the latest
    counts; of what came at the same time, the lowest role that it was set to, or else the highest that it was added
    with: whoever adds a device that another adds, too, must not take anything from it.

    Args:
        changes: In causal order.
    """
    removals: list[Change] = []
    events: list[Change] = []
    for change in changes:
        if change.role is None:
            removals = [
                one
                for one in removals
                if not one.precedes(change) or change.person not in (None, one.person)
            ] + [change]
        else:
            events.append(change)
    grants: list[Change] = []
    latest: list[Change] = []
    for change in events:
        if change.grants:
            if any(removal.ends(change) for removal in removals):
                continue
            grants.append(change)
        elif any(one.person is None and not one.precedes(change) for one in removals) or not any(
            grant.precedes(change) for grant in grants
        ):
            continue
        latest = [one for one in latest if not one.precedes(change)] + [change]
    if not grants:
        return None, None
    person = min(grants, key=_standing_first).person
    set_to = [one.role for one in latest if one.role is not None and not one.grants]
    added_with = [one.role for one in latest if one.role is not None and one.grants]
    return min(set_to) if set_to else max(added_with), person


def _standing_first(grant: Change) -> tuple[bool, int, OperationId]:
    """Sort memberships so that those come first that nobody gives for a person of theirs alone."""
    is_of_one_person = grant.kind == Kind.ADD and grant.need < Role.MANAGE
    return is_of_one_person, grant.depth, grant.operation_id


@dataclass(slots=True)
class _Case:
    """What is being resolved: changes in causal order, and what hangs on what."""

    changes: Sequence[Change]
    counts: dict[OperationId, bool]
    about: dict[PeerId, list[Change]] = field(default_factory=dict)
    strikers: dict[OperationId, list[Change]] = field(default_factory=dict)
    supports: dict[OperationId, list[Change]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        by_author: dict[PeerId, list[Change]] = {}
        by_invite: dict[Change, list[Change]] = {}
        for change in self.changes:
            by_author.setdefault(change.author, []).append(change)
            if change.concerns_member:
                self.about.setdefault(change.target, []).append(change)
            if change.invite is not None:
                by_invite.setdefault(change.invite, []).append(change)
            support = [one for one in self.about.get(change.author, ()) if one.precedes(change)]
            if change.invite is not None:
                support.append(change.invite)
            self.supports[change.operation_id] = support
        for change in self.changes:
            if change.takes:
                touched = dict.fromkeys(by_author.get(change.target, ()))
                for invite in change.revokes:
                    touched.update(dict.fromkeys(by_invite.get(invite, ())))
                for other in touched:
                    if strikes(change, other):
                        self.strikers.setdefault(other.operation_id, []).append(change)

    def struck_by(self, change: Change) -> Sequence[Change]:
        return self.strikers.get(change.operation_id, ())

    def is_open(self, change: Change) -> bool:
        return change.operation_id not in self.counts

    def hangs_on(self, change: Change) -> list[Change]:
        """List what is open and has to be decided before that change can be."""
        on = (*self.supports[change.operation_id], *self.struck_by(change))
        return [one for one in on if self.is_open(one)]

    def decide(self, change: Change) -> bool:
        """Decide a change if that is possible; whether it was."""
        if any(self.counts.get(one.operation_id) for one in self.struck_by(change)):
            self.counts[change.operation_id] = False
        elif self.hangs_on(change):
            return False
        else:
            self.counts[change.operation_id] = self._is_supported(change)
        return True

    def _is_supported(self, change: Change) -> bool:
        if change.kind == Kind.GENESIS:
            return True
        support = [one for one in self.supports[change.operation_id] if self._does_count(one)]
        if change.invite is not None and change.invite not in support:
            return False
        role, _ = role_by(one for one in support if one.concerns_member)
        return role is not None and role >= change.need

    def _does_count(self, change: Change) -> bool:
        return self.counts[change.operation_id]


def _settle(changes: Sequence[Change], forced: frozenset[OperationId]) -> dict[OperationId, bool]:
    """Decide which changes count; `forced` do not, whatever else."""
    case = _Case(changes, dict.fromkeys(forced, False))
    waiting = [change for change in changes if case.is_open(change)]
    while waiting:
        left = [change for change in waiting if not case.decide(change)]
        if len(left) == len(waiting):
            for circle in _first_circles(left, case.hangs_on):
                for change in circle:
                    for other in circle & frozenset(case.struck_by(change)):
                        case.counts[other.operation_id] = True
        waiting = [change for change in left if case.is_open(change)]
    return case.counts


def _first_circles(
    changes: Sequence[Change], hangs_on: Callable[[Change], list[Change]]
) -> list[frozenset[Change]]:
    """Find the strongly connected components that hang on nothing outside of themselves (Kosaraju's algorithm)."""
    on = {change: hangs_on(change) for change in changes}
    back: dict[Change, list[Change]] = {change: [] for change in changes}
    for change, others in on.items():
        for other in others:
            back[other].append(change)
    order: list[Change] = []
    seen: set[Change] = set()
    for change in changes:
        _walk(change, back, seen, order)
    component: dict[Change, frozenset[Change]] = {}
    done: set[Change] = set()
    for change in reversed(order):
        members: list[Change] = []
        _walk(change, on, done, members)
        together = frozenset(members)
        component.update(dict.fromkeys(members, together))
    return [
        circle
        for circle in dict.fromkeys(component.values())
        if all(other in circle for change in circle for other in on[change])
    ]


def _walk(
    start: Change, edges: Mapping[Change, list[Change]], seen: set[Change], order: list[Change]
) -> None:
    """Walk depth first from a change, without recursion; append what was not seen, innermost first."""
    if start in seen:
        return
    seen.add(start)
    stack = [(start, iter(edges[start]))]
    while stack:
        change, others = stack[-1]
        for other in others:
            if other not in seen:
                seen.add(other)
                stack.append((other, iter(edges[other])))
                break
        else:
            order.append(change)
            stack.pop()


def resolve(changes: Sequence[Change]) -> frozenset[OperationId]:
    """Give the changes that do not count.

    Args:
        changes: A causally closed set of changes, in any causal order.
    """
    forced: frozenset[OperationId] = frozenset()
    while True:
        counts = _settle(changes, forced)
        valid = [change for change in changes if counts[change.operation_id]]
        more = _beyond_uses(valid) or _against_the_senior(valid)
        if not more:
            return frozenset(one for one, does_count in counts.items() if not does_count)
        forced |= more


def _beyond_uses(valid: Sequence[Change]) -> frozenset[OperationId]:
    """Give the additions that are more than their invite allows, by causal order, then operation id."""
    by_invite: dict[Change, list[Change]] = {}
    for change in valid:
        if change.invite is not None:
            by_invite.setdefault(change.invite, []).append(change)
    beyond: set[OperationId] = set()
    for invite, additions in by_invite.items():
        if len(additions) > invite.uses:
            admitted: set[PeerId] = set()
            for addition in _in_order(additions):
                if addition.target in admitted or len(admitted) < invite.uses:
                    admitted.add(addition.target)
                else:
                    beyond.add(addition.operation_id)
    return frozenset(beyond)


def _in_order(changes: Sequence[Change]) -> list[Change]:
    """Sort by depth, which respects causal order, then by operation id."""
    return sorted(changes, key=lambda change: (change.depth, change.operation_id))


def _against_the_senior(valid: Sequence[Change]) -> frozenset[OperationId]:
    """If nobody manages the document, give the changes that took the role from the most senior who lost it."""
    about: dict[PeerId, list[Change]] = {}
    for change in valid:
        if change.concerns_member:
            about.setdefault(change.target, []).append(change)
    if any(role_by(changes)[0] == Role.MANAGE for changes in about.values()):
        return frozenset()
    takers = [
        change
        for change in valid
        if change.takes
        and change.concerns_member
        and change.role != Role.MANAGE
        and any(one.role == Role.MANAGE for one in about[change.target])
    ]
    last = [one for one in takers if not any(one.precedes(other) for other in takers)]
    against = [one for one in last if one.kind != Kind.LEAVE] or last
    if not against:
        return frozenset()
    first_grant = {
        peer: _in_order([one for one in changes if one.grants])[0]
        for peer, changes in about.items()
        if any(one.grants for one in changes)
    }
    seniors = _in_order([first_grant[one.target] for one in against if one.target in first_grant])
    if not seniors:
        return frozenset()
    senior = seniors[0].target
    return frozenset(one.operation_id for one in takers if one in last and one.target == senior)
