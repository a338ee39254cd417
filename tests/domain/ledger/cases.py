"""The hard cases of membership by name: what was done at the same time, and what has to come of it.

Devices are named by letters: `a` founds the document. Their operations are also the conformance vectors of
`tests/vectors/membership.json`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from domain.identifiers import PeerId
from domain.operations.control import Leave, Remove, Role, SetRole
from domain.operations.kind import Kind
from domain.operations.operation import Operation
from tests.domain.ledger.committee import INVITES, Member, found_committee, terms_of
from tests.domain.ledger.devices import SECRET
from tests.strategies import key

MANAGE, WRITE, READ, PULL = Role.MANAGE, Role.WRITE, Role.READ, Role.PULL


@dataclass(slots=True)
class Case:
    """A case: who takes part, what they wrote, and what is to come of it.

    Args:
        devices: By letter.
        written: All operations, in a causal order.
        members: The letters of those who are members in the end, with their roles.
        void: Operations that do not count.
    """

    devices: dict[str, Member]
    written: list[Operation]
    members: dict[str, Role] = field(default_factory=dict)
    void: list[Operation] = field(default_factory=list)

    def do(self, letter: str, body: Leave | Remove | SetRole) -> Operation:
        """Let a device change something, by what it has seen."""
        return self._keep(self.devices[letter].change(body))

    def remove(self, letter: str, other: str) -> Operation:
        return self.do(letter, Remove(member=self.devices[other].peer))

    def set_role(self, letter: str, other: str, role: Role) -> Operation:
        return self.do(letter, SetRole(member=self.devices[other].peer, role=role))

    def invite(
        self, letter: str, number: int, role: Role, *, uses: int = 9, person: PeerId | None = None
    ) -> Operation:
        return self._keep(
            self.devices[letter].change(terms_of(number, role, uses=uses, person=person))
        )

    def add(self, letter: str, number: int, invite: Operation, other: str, role: Role) -> Operation:
        if other not in self.devices:
            self.devices[other] = Member(ord(other) - ord("a") + 1, self.devices["a"].document)
        member = self.devices[other].peer
        addition = self.devices[letter].addition_by(number, invite.operation_id, member, role)
        return self._keep(self.devices[letter].change(addition))

    def write(self, letter: str) -> Operation:
        device = self.devices[letter]
        is_new = device.ledger.log(device.content_log) is None
        operation = device.draft(Kind.UPDATE, b"text", secret=SECRET if is_new else None)
        assert device.take([operation]).entered
        return self._keep(operation)

    def see(self, letter: str, *operations: Operation) -> None:
        """Hand operations to a device, which has everything that they build on."""
        admitted = self.devices[letter].take(list(operations))
        assert not admitted.refused
        assert len(admitted.entered) == len(operations)

    def _keep(self, operation: Operation) -> Operation:
        self.written.append(operation)
        return operation


def start(*roles: Role) -> Case:
    """`a` manages; `b`, `c` and so on have these roles; all have seen that."""
    members, written = found_committee(1 + len(roles), roles or (WRITE,))
    letters = {chr(ord("a") + at): member for at, member in enumerate(members)}
    return Case(letters if roles else {"a": members[0]}, written)


def removal() -> Case:
    """What the removed wrote counts as far as the remover had seen it."""
    case = start(WRITE, WRITE)
    seen = case.write("b")
    case.see("a", seen)
    case.void = [case.write("b"), case.write("b")]
    case.remove("a", "b")
    case.members = {"a": MANAGE, "c": WRITE}
    return case


def void_that_is_built_on() -> Case:
    """Who built on what is void later has done nothing wrong: its own work counts."""
    case = start(WRITE, WRITE)
    void = case.write("b")
    case.see("c", void)
    case.write("c")
    case.remove("a", "b")
    case.void = [void]
    case.members = {"a": MANAGE, "c": WRITE}
    return case


def mutual_removal() -> Case:
    """Two managers remove each other: both are out, a third manages."""
    case = start(MANAGE, MANAGE)
    case.remove("b", "c")
    case.remove("c", "b")
    case.members = {"a": MANAGE}
    return case


def mutual_removal_of_all() -> Case:
    """The only two managers remove each other: the senior stays, and what it did at the same time counts."""
    case = start(MANAGE, WRITE)
    case.remove("a", "b")
    case.set_role("a", "c", READ)
    case.void = [case.remove("b", "a")]
    case.members = {"a": MANAGE, "c": READ}
    return case


def ring_of_removals() -> Case:
    """Each removes the next: all of them are out."""
    case = start(MANAGE, MANAGE, MANAGE)
    case.remove("b", "c")
    case.remove("c", "d")
    case.remove("d", "b")
    case.members = {"a": MANAGE}
    return case


def puppet() -> Case:
    """A removed manager has let somebody in who removes the remover: both sides are out."""
    case = start(MANAGE, MANAGE)
    case.remove("b", "c")
    invite = case.invite("c", INVITES[30], MANAGE)
    added = case.add("c", INVITES[30], invite, "e", MANAGE)
    case.see("e", *[one for one in case.written if one.author != case.devices["b"].peer])
    case.remove("e", "b")
    case.void = [invite, added]
    case.members = {"a": MANAGE}
    return case


def acts_of_the_removed() -> Case:
    """A removal that the removed did at the same time does not count, if it hit somebody else."""
    case = start(MANAGE, MANAGE)
    case.remove("a", "b")
    case.void = [case.remove("b", "c")]
    case.members = {"a": MANAGE, "c": MANAGE}
    return case


def acts_of_the_demoted() -> Case:
    """Who is demoted keeps what its new role allows."""
    case = start(MANAGE, WRITE)
    case.set_role("a", "b", WRITE)
    case.void = [case.set_role("b", "c", MANAGE)]
    case.write("b")
    case.members = {"a": MANAGE, "b": WRITE, "c": WRITE}
    return case


def removal_against_promotion() -> Case:
    """One manager promotes whom another removes: the removal counts for more."""
    case = start(MANAGE, WRITE)
    case.set_role("b", "c", MANAGE)
    case.remove("a", "c")
    case.members = {"a": MANAGE, "b": MANAGE}
    return case


def two_roles_at_once() -> Case:
    """Two managers give different roles: the lower one counts."""
    case = start(MANAGE, READ)
    case.set_role("a", "c", WRITE)
    case.set_role("b", "c", MANAGE)
    case.members = {"a": MANAGE, "b": MANAGE, "c": WRITE}
    return case


def adding_again() -> Case:
    """Who was removed and added again writes in new logs."""
    case = start(WRITE)
    case.write("b")
    case.remove("a", "b")
    invite = case.invite("a", INVITES[31], WRITE)
    case.add("a", INVITES[31], invite, "b", WRITE)
    case.see("b", *case.written[-3:])
    case.void = [case.written[3]]
    old_log = case.devices["b"].log_ids
    case.void.append(case.write("b"))  # in the old log, of which the removal had not seen the end
    case.devices["b"].renew(7)
    case.write("b")
    case.devices["b"].log_ids = old_log
    case.members = {"a": MANAGE, "b": WRITE}
    return case


def adding_again_at_once() -> Case:
    """One manager removes whom another has removed and added again: the removal counts for more."""
    case = start(MANAGE, WRITE)
    case.remove("a", "c")
    case.remove("b", "c")
    invite = case.invite("b", INVITES[31], WRITE)
    case.add("b", INVITES[31], invite, "c", WRITE)
    case.members = {"a": MANAGE, "b": MANAGE}
    return case


def back_dated() -> Case:
    """Who was removed pretends not to have known: it counts as little."""
    case = start(MANAGE, WRITE)
    case.remove("a", "b")
    late = case.remove("b", "c")  # signed later, and says that it was earlier
    invite = case.invite("b", INVITES[31], MANAGE)
    added = case.add("b", INVITES[31], invite, "e", MANAGE)
    case.void = [late, invite, added]
    case.members = {"a": MANAGE, "c": WRITE}
    return case


def invite_revoked() -> Case:
    """Who was let in by an invite while it was being revoked is out again."""
    case = start(MANAGE)
    invite = case.invite("a", INVITES[31], WRITE)
    case.see("b", invite)
    case.do("a", Remove(member=key(INVITES[31]).peer))
    case.void = [case.add("b", INVITES[31], invite, "e", WRITE)]
    case.members = {"a": MANAGE, "b": MANAGE}
    return case


def invite_used_twice() -> Case:
    """Two managers let in somebody each by an invite for one: the lower operation id counts."""
    case = start(MANAGE)
    invite = case.invite("a", INVITES[31], WRITE, uses=1)
    case.see("b", invite)
    additions = {
        "e": case.add("a", INVITES[31], invite, "e", WRITE),
        "f": case.add("b", INVITES[31], invite, "f", WRITE),
    }
    first, second = sorted(additions, key=lambda letter: additions[letter].operation_id)
    case.void = [additions[second]]
    case.members = {"a": MANAGE, "b": MANAGE, first: WRITE}
    return case


def key_of_a_member() -> Case:
    """Who may do nothing publishes an invite with the id of a later member for its key, and revokes it."""
    case = start(PULL)
    invite = case.invite("a", INVITES[31], MANAGE)
    added = case.add("a", INVITES[31], invite, "c", MANAGE)
    case.see("c", *case.written)
    case.write("c")
    b, c = case.devices["b"], case.devices["c"]
    case.invite("b", c.number, PULL, person=b.peer)
    case.do("b", Remove(member=c.peer))
    case.see("b", invite, added)
    case.do("b", Leave())
    case.members = {"a": MANAGE, "c": MANAGE}
    return case


def key_published_again() -> Case:
    """Who may do nothing publishes an invite of its own with the key of another, and revokes it."""
    case = start(PULL)
    invite = case.invite("a", INVITES[31], WRITE)
    case.invite("b", INVITES[31], PULL, person=case.devices["b"].peer)
    case.do("b", Remove(member=key(INVITES[31]).peer))
    case.add("a", INVITES[31], invite, "e", WRITE)
    case.members = {"a": MANAGE, "b": PULL, "e": WRITE}
    return case


def device_named_like_an_invite() -> Case:
    """Who may do nothing makes a device of its own of the key of an invite, and that device leaves."""
    case = start(PULL)
    invite = case.invite("a", INVITES[31], WRITE)
    own = case.invite("b", INVITES[30], PULL, person=case.devices["b"].peer)
    case.devices["f"] = Member(INVITES[31], case.devices["a"].document)
    case.add("b", INVITES[30], own, "f", PULL)
    case.see("f", *[one for one in case.written if one is not invite])
    case.do("f", Leave())
    case.add("a", INVITES[31], invite, "e", WRITE)
    case.members = {"a": MANAGE, "b": PULL, "e": WRITE}
    return case


def lost_device() -> Case:
    """A device without power over others removes another of the same person."""
    case = start(WRITE, WRITE)
    invite = case.invite("b", INVITES[31], WRITE, person=case.devices["b"].peer)
    case.add("b", INVITES[31], invite, "e", WRITE)
    case.see("e", *case.written)
    case.remove("e", "b")
    case.members = {"a": MANAGE, "c": WRITE, "e": WRITE}
    return case


def lost_device_lets_somebody_in() -> Case:
    """What a device did at the same time as another of its person removed it does not count."""
    case = start(WRITE)
    invite = case.invite("b", INVITES[31], WRITE, person=case.devices["b"].peer)
    case.add("b", INVITES[31], invite, "e", WRITE)
    case.see("e", *case.written)
    own = case.invite("e", INVITES[32], WRITE, person=case.devices["b"].peer)
    case.void = [own, case.add("e", INVITES[32], own, "f", WRITE), case.write("e")]
    case.remove("b", "e")
    case.members = {"a": MANAGE, "b": WRITE}
    return case


def added_by_another_person() -> Case:
    """Who may do nothing adds a later manager as a device of its own: that one stays a manager."""
    case = start(PULL)
    invite = case.invite("a", INVITES[31], MANAGE)
    case.add("a", INVITES[31], invite, "c", MANAGE)
    own = case.invite("b", INVITES[30], PULL, person=case.devices["b"].peer)
    case.add("b", INVITES[30], own, "c", PULL)
    case.members = {"a": MANAGE, "b": PULL, "c": MANAGE}
    return case


def removed_by_another_person() -> Case:
    """Then it removes that device of its own: what others gave stays, and so does what was done by that."""
    case = start(PULL)
    invite = case.invite("a", INVITES[31], MANAGE)
    case.add("a", INVITES[31], invite, "c", MANAGE)
    case.see("c", *case.written)
    case.write("c")
    case.set_role("c", "b", READ)
    own = case.invite("b", INVITES[30], PULL, person=case.devices["b"].peer)
    case.add("b", INVITES[30], own, "c", PULL)
    case.remove("b", "c")
    case.members = {"a": MANAGE, "b": READ, "c": MANAGE}
    return case


def leaving() -> Case:
    """Two managers leave at the same time, as each takes the other to stay: the senior has to."""
    case = start(MANAGE)
    case.void = [case.do("a", Leave())]
    case.do("b", Leave())
    case.members = {"a": MANAGE}
    return case


CASES: Final[dict[str, Callable[[], Case]]] = {
    make.__name__.replace("_", " "): make
    for make in (
        removal,
        void_that_is_built_on,
        mutual_removal,
        mutual_removal_of_all,
        ring_of_removals,
        puppet,
        acts_of_the_removed,
        acts_of_the_demoted,
        removal_against_promotion,
        two_roles_at_once,
        adding_again,
        adding_again_at_once,
        back_dated,
        invite_revoked,
        invite_used_twice,
        key_of_a_member,
        key_published_again,
        device_named_like_an_invite,
        lost_device,
        lost_device_lets_somebody_in,
        added_by_another_person,
        removed_by_another_person,
        leaving,
    )
}
