"""Whole nodes in virtual time, while networks part, machines crash and disks are full: from a seed, always the same."""

import logging
import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import pytest

from adapters.simulation.loop import run
from domain.identifiers import LogId, PeerId
from domain.operations.kind import Kind
from domain.operations.operation import decode_header
from domain.ports.storage import StoredOperation
from tests.simulation.options import NAMES, Options, draw_options
from tests.simulation.scenario import Report, Scenario, simulate
from tests.simulation.shrink import shrink
from tests.simulation.stage import Mode, make_stage

ROOT = Path(__file__).parents[2]
SEEDS = {Mode.MESSAGES: 300, Mode.DATAGRAMS: 20}
CHUNKS = 6  # a failure names its seed; fewer chunks start fewer processes
PROCESSES = 2
CHUNK_S_MAX = 600


def be_quiet() -> None:
    """Do not print what nodes log in the middle of faults: the scenario itself looks at it."""
    for name in ("node", "quic"):
        logging.getLogger(name).propagate = False


@pytest.mark.timeout(CHUNK_S_MAX)
@pytest.mark.parametrize("chunk", range(CHUNKS))
@pytest.mark.parametrize("mode", list(Mode), ids=lambda mode: mode.value)
def test_replicas_converge_and_lose_no_acknowledged_edit_whatever_goes_wrong(
    mode: Mode, chunk: int
) -> None:
    with ProcessPoolExecutor(
        PROCESSES, mp_context=get_context("spawn"), initializer=be_quiet
    ) as executor:
        seeds = range(chunk, SEEDS[mode], CHUNKS)
        reports = executor.map(partial(simulate, options=None, mode=mode), seeds)
        failed = [report for report in reports if report.complaints]
    assert not failed, "\n".join(
        f"make sim SEED={report.seed} MODE={mode.value}: {'; '.join(report.complaints)} with"
        f" {report.options}"
        for report in failed
    )


@pytest.mark.parametrize("mode", list(Mode), ids=lambda mode: mode.value)
def test_the_same_seed_gives_the_same_trace_in_two_processes(seed: int, mode: Mode) -> None:
    number = seed % 10_000
    printed = [
        subprocess.run(
            [
                *(sys.executable, "-m", "scripts.simulate", "--mode", mode.value),
                *("--seed", str(number), "--nodes", "3", "--edits", "50"),
            ],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        ).stdout
        for hash_seed in ("1", "2")
    ]
    assert printed[0] == printed[1]
    assert "trace" in printed[0]


def test_another_seed_gives_another_trace() -> None:
    assert simulate(0).digest != simulate(1).digest


def test_a_failing_scenario_shrinks_to_what_it_takes_to_fail() -> None:
    seed = next(seed for seed in range(1_000) if wanted(draw_options(seed)))

    def fail(seed: int, options: Options) -> Report:
        blank = Report(
            seed=seed, options=options, complaints=(), digest="", events=0, operations=0, edits=0, crashes=0,
            settled_s=None,
        )  # fmt: skip
        crashes = sum(fault.kind == "crash" for fault in options.faults)
        return replace(blank, complaints=("it fails",) if crashes and options.edits >= 10 else ())

    found = shrink(seed, fail)
    assert found is not None
    cut, report = found
    assert report.complaints
    (index,) = cut.faults
    (host,) = draw_options(seed).faults[index].hosts
    assert cut.nodes == max(2, NAMES.index(host) + 1)
    assert (cut.edits, cut.rogue) == (10, False)
    assert cut.apply(draw_options(seed)) == report.options


def play(seed: int, rogue: str) -> tuple[Report, list[StoredOperation]]:
    """Run a scenario without faults in which a rogue has time; gives what the founder has in the end, too."""
    plain = replace(draw_options(seed), faults=(), changes=(), is_mesh=True)
    options = replace(plain, names=NAMES[:3], edits=20, faulty_s=30.0, rogue=rogue)

    async def live(seed: int) -> tuple[Report, list[StoredOperation]]:
        scenario = Scenario(seed, options, make_stage(Mode.MESSAGES, seed, options))
        report = await scenario.run()
        (ledger,) = scenario.members["a"].machine.disk.content.ledgers.values()
        return report, ledger.operations

    return run(live, seed, virtual_s_max=3_600)


def test_a_rogue_that_is_removed_has_been_removed_and_written_on(seed: int) -> None:
    report, operations = play(seed, "removed")
    assert report.complaints == ()
    kinds = [decode_header(each.header).extension.kind for each in operations]  # type: ignore[union-attr]
    assert Kind.REMOVE in kinds


def test_an_equivocator_is_found_out_and_both_its_histories_are_kept(seed: int) -> None:
    for number in range(3):  # now and then it speaks to one half before they know it for a member
        report, operations = play(seed + number, "equivocator")
        assert report.complaints == ()
        places: dict[tuple[PeerId, LogId, int], int] = {}
        for each in operations:
            header = decode_header(each.header)
            place = (header.author, header.extension.log_id, header.seq_num)  # type: ignore[union-attr]
            places[place] = places.get(place, 0) + 1
        if max(places.values()) == 2:
            return
    raise AssertionError("nobody has heard two histories")


def wanted(options: Options) -> bool:
    """A scenario with much to cut, in which somebody crashes."""
    crashes = [fault for fault in options.faults if fault.kind == "crash"]
    return len(options.names) > 4 and options.rogue is not None and bool(crashes)


def test_a_scenario_that_holds_does_not_shrink() -> None:
    assert shrink(1, simulate) is None
