"""Finds a shorter scenario that fails like a given one: with fewer faults, nodes and edits."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from tests.simulation.options import EDITS_MIN, Options, draw_options, narrow
from tests.simulation.scenario import Report

TRIES_MAX = 60
EDITS_TRIED = (1, 3, 10, EDITS_MIN)
NODES_MIN = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """What stays of the scenario of a seed; see `tests.simulation.options.narrow`."""

    nodes: int
    edits: int
    faults: tuple[int, ...]
    rogue: bool
    changes: bool

    @classmethod
    def whole(cls, options: Options) -> "Cut":
        """Leave everything as it is."""
        return cls(
            nodes=len(options.names),
            edits=options.edits,
            faults=tuple(range(len(options.faults))),
            rogue=options.rogue is not None,
            changes=bool(options.changes),
        )

    def apply(self, options: Options) -> Options:
        """Give the shorter scenario."""
        return narrow(
            options,
            nodes=self.nodes,
            edits=self.edits,
            faults=",".join(map(str, self.faults)),
            rogue=self.rogue,
            changes=self.changes,
        )

    def flags(self) -> str:
        """Say it as the options of the command that runs it."""
        faults = f"--faults={','.join(map(str, self.faults))}"
        without = "" if self.rogue else " --no-rogue"
        without += "" if self.changes else " --no-changes"
        return f"--nodes={self.nodes} --edits={self.edits} {faults}{without}"


def shrink(seed: int, run: Callable[[int, Options], Report]) -> tuple[Cut, Report] | None:
    """Cut the scenario of a seed while it still fails; None if it holds as a whole.

    Args:
        seed: The seed.
        run: Runs a scenario; is called `TRIES_MAX` times at most.
    """
    options = draw_options(seed)
    best, report = Cut.whole(options), run(seed, options)
    if not report.complaints:
        return None
    tries = 1
    shorter = _shorter(best)
    while tries < TRIES_MAX:
        cut = next(shorter, None)
        if cut is None:
            break
        tries += 1
        found = run(seed, cut.apply(options))
        if found.complaints:
            best, report = cut, found
            shorter = _shorter(best)
    return best, report


def _shorter(cut: Cut) -> Iterator[Cut]:
    """Shorter ones, the boldest first."""
    half = len(cut.faults) // 2
    if half:
        yield replace(cut, faults=cut.faults[:half])
        yield replace(cut, faults=cut.faults[half:])
    if cut.rogue:
        yield replace(cut, rogue=False)
    if cut.changes:
        yield replace(cut, changes=False)
    for nodes in range(NODES_MIN, cut.nodes):
        yield replace(cut, nodes=nodes)
    for edits in EDITS_TRIED:
        if edits < cut.edits:
            yield replace(cut, edits=edits)
    for index in range(len(cut.faults)):
        yield replace(cut, faults=(*cut.faults[:index], *cut.faults[index + 1 :]))
