"""What a seed decides about a scenario before it begins."""

from dataclasses import dataclass, replace
from random import Random
from typing import Final

NAMES: Final = "abcdefgh"
COUNT_WEIGHTS: Final = (12, 12, 6, 3, 1, 1, 1)
"""How often there are 2, 3, ... 8 of them: what each says goes to all others, so many are dear."""
ROGUE: Final = "rogue"
ROGUES: Final = ("garbage", "flood", "removed", "equivocator")
ROGUE_SHARE: Final = 0.15
CHANGES: Final = ("rotate", "manage", "read", "invite", "restore", "restore")
CHANGES_SHARE: Final = 0.4
EDITS_MIN: Final = 50
EDITS_MAX: Final = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something that goes wrong, `at_s` seconds after the start, for `lasts_s` seconds.

    `kind` is `partition` (`hosts` against the rest), `block` (two hosts), `break` (their connections), `crash` or
    `stop` (one host), `full` (its disk, after `after_writes` more writes), `error` (one write of it, after so many),
    `slow` (its disk), or `clock` (its date jumps).
    """

    at_s: float
    kind: str
    hosts: tuple[str, ...]
    lasts_s: float
    after_writes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A change of who may do what or is what, `at_s` seconds after the start.

    `kind` is `rotate` (`name` makes a new secret), `manage` (it becomes a manager), `read` (it may not write, for
    `lasts_s` seconds), `invite` (the founder revokes the invite and makes another), or `restore` (its data directory is
    copied, and put back in its place `lasts_s` seconds later).
    """

    at_s: float
    kind: str
    name: str
    lasts_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """A scenario.

    Args:
        names: The hosts; the first founds the document.
        edits: How many edits each makes.
        faulty_s: How long things go wrong.
        delay_s: The least time between two hosts, one way.
        jitter_s: What chance adds to it; it lets channels overtake each other.
        lifetime_s: How long a connection lasts on average.
        silence_s_max: How long a connection bears silence.
        durable_share: How often an edit is followed by waiting for the disk.
        is_mesh: Whether all know where all are; else only where the founder is, so that everything goes through it.
        faults: What goes wrong.
        rogue: What one more member does who breaks the rules, if there is one.
        changes: What changes in who may do what.
    """

    names: str
    edits: int
    faulty_s: float
    delay_s: float
    jitter_s: float
    lifetime_s: float | None
    silence_s_max: float
    durable_share: float
    is_mesh: bool
    faults: tuple[Fault, ...]
    rogue: str | None = None
    changes: tuple[Change, ...] = ()

    @property
    def demoted(self) -> frozenset[str]:
        """Who may not write for a while."""
        return frozenset(change.name for change in self.changes if change.kind == "read")

    @property
    def restored(self) -> frozenset[str]:
        """Whose data directories are put back to what they were."""
        return frozenset(change.name for change in self.changes if change.kind == "restore")


def draw_options(seed: int) -> Options:
    """Draw a scenario."""
    random = Random(f"{seed} options")
    counts = range(2, len(NAMES) + 1)
    names = NAMES[: random.choices(counts, COUNT_WEIGHTS)[0]]
    faulty_s = random.uniform(5, 60)
    faults = [_draw_fault(random, names, faulty_s) for _ in range(random.randint(0, 12))]
    return Options(
        names=names,
        edits=_draw_edits(random, len(names)),
        faulty_s=faulty_s,
        delay_s=random.choice((0.0, 0.001, 0.02, 0.15)),
        jitter_s=random.choice((0.0, 0.005, 0.1, 0.5)),
        lifetime_s=random.choice((None, None, 5.0, 20.0)),
        silence_s_max=random.choice((5.0, 30.0)),
        durable_share=random.choice((0.05, 0.3, 1.0)),
        is_mesh=random.random() < 0.7,
        faults=tuple(sorted(faults, key=lambda fault: fault.at_s)),
        rogue=random.choice(ROGUES) if random.random() < ROGUE_SHARE else None,
        changes=_draw_changes(Random(f"{seed} changes"), names, faulty_s),
    )


def _draw_changes(random: Random, names: str, faulty_s: float) -> tuple[Change, ...]:
    if random.random() > CHANGES_SHARE:
        return ()
    changes = [
        Change(
            at_s=random.uniform(0, faulty_s),
            kind=random.choice(CHANGES),
            name=random.choice(names[1:]),
            lasts_s=random.uniform(0, faulty_s / 2),
        )
        for _ in range(random.randint(1, 2))
    ]
    return tuple(sorted(changes, key=lambda change: change.at_s))


def _draw_edits(random: Random, nodes: int) -> int:
    """Mostly few: most of what can go wrong between edits goes wrong between the first fifty.

    Each edit goes from everybody to everybody, so many edits of many nodes are as dear as a hundred scenarios.
    """
    some, many = random.randint(EDITS_MIN, 2 * EDITS_MIN), random.randint(EDITS_MIN, EDITS_MAX)
    weights = (nodes * nodes, 3, 1 / nodes)
    return random.choices((EDITS_MIN, some, many), weights)[0]


def _draw_fault(random: Random, names: str, faulty_s: float) -> Fault:
    kind = random.choice(
        (
            "partition",
            "block",
            "break",
            "crash",
            "crash",
            "crash",
            "stop",
            "full",
            "error",
            "slow",
            "clock",
        )
    )
    count = {"partition": random.randint(1, len(names) - 1), "block": 2, "break": 2}.get(kind, 1)
    return Fault(
        at_s=random.uniform(0, faulty_s),
        kind=kind,
        hosts=tuple(random.sample(names, count)),
        lasts_s=random.choice((random.uniform(0, 1), random.uniform(0, faulty_s))),
        after_writes=random.choice((0, 0, 1, 5)),
    )


def narrow(
    options: Options,
    *,
    nodes: int | None = None,
    edits: int | None = None,
    faults: str | None = None,
    rogue: bool = True,
    changes: bool = True,
) -> Options:
    """Give a shorter scenario: with fewer nodes and edits, and of the faults only those with these numbers.

    Args:
        options: The scenario.
        nodes: How many of its nodes stay; faults that name others go.
        edits: How many edits each makes.
        faults: The numbers of the faults that stay, from 0, with commas between them.
        rogue: Whether the rogue stays.
        changes: Whether who may do what changes.
    """
    kept = options.faults
    if faults is not None:
        numbers = [int(number) for number in faults.split(",") if number]
        kept = tuple(options.faults[number] for number in numbers)
    names = options.names[: max(2, nodes or len(options.names))]
    return replace(
        options,
        names=names,
        edits=min(options.edits, edits or options.edits),
        faults=tuple(fault for fault in kept if set(fault.hosts) <= set(names)),
        rogue=options.rogue if rogue else None,
        changes=tuple(change for change in options.changes if changes and change.name in names),
    )
