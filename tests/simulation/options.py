"""What a seed decides about a scenario before it begins."""

from dataclasses import dataclass
from random import Random
from typing import Final

NAMES: Final = "abcde"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something that goes wrong, `at_s` seconds after the start, for `lasts_s` seconds.

    `kind` is `partition` (`hosts` against the rest), `block` (two hosts), `break` (their connections), `crash` or
    `stop` (one host), `full` (its disk, after `after_writes` more writes), `slow` (its disk), or `clock` (its date
    jumps).
    """

    at_s: float
    kind: str
    hosts: tuple[str, ...]
    lasts_s: float
    after_writes: int = 0


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


def draw_options(seed: int) -> Options:
    """Draw a scenario."""
    random = Random(f"{seed} options")
    names = NAMES[: random.randint(2, 5)]
    faulty_s = random.uniform(5, 60)
    faults = [_draw_fault(random, names, faulty_s) for _ in range(random.randint(0, 12))]
    return Options(
        names=names,
        edits=random.choice(
            (random.randint(20, 50), random.randint(20, 50), random.randint(50, 200))
        ),
        faulty_s=faulty_s,
        delay_s=random.choice((0.0, 0.001, 0.02, 0.15)),
        jitter_s=random.choice((0.0, 0.005, 0.1, 0.5)),
        lifetime_s=random.choice((None, None, 5.0, 20.0)),
        silence_s_max=random.choice((5.0, 30.0)),
        durable_share=random.choice((0.05, 0.3, 1.0)),
        is_mesh=random.random() < 0.7,
        faults=tuple(sorted(faults, key=lambda fault: fault.at_s)),
    )


def _draw_fault(random: Random, names: str, faulty_s: float) -> Fault:
    kind = random.choice(
        ("partition", "block", "break", "crash", "crash", "crash", "stop", "full", "slow", "clock")
    )
    count = {"partition": random.randint(1, len(names) - 1), "block": 2, "break": 2}.get(kind, 1)
    return Fault(
        at_s=random.uniform(0, faulty_s),
        kind=kind,
        hosts=tuple(random.sample(names, count)),
        lasts_s=random.choice((random.uniform(0, 1), random.uniform(0, faulty_s))),
        after_writes=random.choice((0, 0, 1, 5)),
    )
