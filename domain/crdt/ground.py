"""What stands at the clocks of a document, as far as it decides where more may be put.

yrs recurses through shared types that stand in one another: deleting thousands of them ends the process, wherever their
structs come from. And it fails on a struct whose parent is no shared type, unless that parent has been deleted, so that
some replicas could apply it and others not. Both are refused here, by what updates said when they were made: that
depends on an update and its causal past alone, whatever has been deleted or forgotten since.

Codes of the errors: too-deep, wrong-parent.
"""

from typing import Final

from domain import codec, limits
from domain.crdt.walker import HAS_ANY_ORIGIN, KIND_BITS, Named, Walk
from domain.errors import UpdateError
from domain.ledger.staircase import Staircase

# What stands at a clock, as one number: in how many types and roots it is, doubled, and whether a parent may be there.
VOID: Final = 1  # collected before it was sent: in nothing, and what is put in it is nothing, too
HOLDS: Final = 1

DELETED: Final = 1  # kinds of structs; what was deleted before it was sent has no content any more
TYPE: Final = 7


class Ground:
    """For each client, what stands at its clocks."""

    def __init__(self) -> None:
        self._steps: dict[int, Staircase] = {}
        self._checked: tuple[Walk, _Survey] | None = None

    def check(self, walk: Walk) -> None:
        """Check where the structs of an update are put; all that it names has to be known, or in the update.

        Raises:
            UpdateError: A parent is no shared type (`wrong-parent`), or types are nested too deep (`too-deep`).
        """
        self._checked = walk, _Survey(self, walk)

    def take(self, walk: Walk) -> None:
        """Know what the structs of an update have put there, which has passed `check`."""
        checked, self._checked = self._checked, None
        survey = checked[1] if checked and checked[0] is walk else _Survey(self, walk)
        for client, steps in survey.steps.items():
            known = self._steps.setdefault(client, Staircase())
            for clock in steps.steps:
                if (value := steps.before(clock + 1)) != known.last:
                    known.raise_to(clock, value)

    def at(self, client: int, clock: int) -> int:
        """Give what stands at a clock."""
        steps = self._steps.get(client)
        return steps.before(clock + 1) if steps is not None else VOID

    def to_value(self) -> codec.Value:
        """Give what `restore` reads."""
        return [(client, steps.to_value()) for client, steps in self._steps.items()]

    def restore(self, value: object) -> None:
        """Read what `to_value` gave."""
        for entry in codec.take_list(value, maximum=2**32):
            client, steps = codec.take_list(entry, maximum=2)
            self._steps[codec.take_int(client, maximum=limits.CLIENT_ID_MAX)] = (
                Staircase.from_value(steps)
            )


class _Survey:
    """What the structs of one update put where, each looked at after those that it names."""

    def __init__(self, ground: Ground, walk: Walk) -> None:
        self._ground = ground
        self._placings = walk.placings
        self._next = dict.fromkeys(walk.placings, 0)
        self._reached = {section.client: section.clock for section in walk.sections}
        self.steps = {client: Staircase() for client in walk.placings}
        for client in walk.placings:
            stack = [client]
            while stack:
                awaited = self._go_on(stack[-1])
                if awaited is None:
                    stack.pop()
                else:  # that one gets further now: the walker lets no circles through
                    stack.append(awaited)

    def _go_on(self, client: int) -> int | None:
        """Go through the structs of a client; give the client whose struct is named and has not been looked at."""
        placings, steps = self._placings[client], self.steps[client]
        for index in range(self._next[client], len(placings)):
            clock, info, first, second = placings[index]
            self._reached[client] = clock
            awaited = self._awaited(client, first) or self._awaited(client, second)
            if awaited is not None:
                self._next[client] = index
                return awaited
            value = self._value(info, first, second)
            if not index or value != steps.last:
                steps.raise_to(clock, value)
        self._next[client] = len(placings)
        self._reached[client] = limits.CLOCK_MAX
        return None

    def _awaited(self, client: int, named: Named) -> int | None:
        if (
            named is None
            or named[0] == client
            or named[1] < self._reached.get(named[0], named[1] + 1)
        ):
            return None
        return named[0]

    def _value(self, info: int, first: Named, second: Named) -> int:
        if not info:
            return VOID
        kind = info & KIND_BITS
        if info & HAS_ANY_ORIGIN:
            around = max(self._at(first), self._at(second)) >> 1
        elif first is None:
            around = 1
        else:
            parent = self._at(first)
            if not parent & HOLDS:
                raise UpdateError(
                    "wrong-parent", f"nothing can be in clock {first[1]} of {first[0]}"
                )
            around = (parent >> 1) + (parent != VOID)
        if kind == TYPE and around > limits.UPDATE_TYPES_DEPTH_MAX:
            raise UpdateError(
                "too-deep", f"a type nested deeper than {limits.UPDATE_TYPES_DEPTH_MAX}"
            )
        return around << 1 | (HOLDS if kind in (DELETED, TYPE) else 0)

    def _at(self, named: Named) -> int:
        if named is None:
            return 0
        client, clock = named
        steps = self.steps.get(client)
        if steps is not None and (first := steps.first) is not None and first <= clock:
            return steps.before(clock + 1)
        return self._ground.at(client, clock)
