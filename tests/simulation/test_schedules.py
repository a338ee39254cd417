"""Whole nodes in virtual time, while networks part, machines crash and disks are full: from a seed, always the same."""

import logging
import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from tests.simulation.options import draw_options
from tests.simulation.scenario import simulate

ROOT = Path(__file__).parents[2]
SEEDS = 200
CHUNK = 50  # a failure names its seed; fewer chunks start fewer processes
PROCESSES = 2


def be_quiet() -> None:
    """Do not print what nodes log in the middle of faults: the scenario itself looks at it."""
    logging.getLogger("node").propagate = False


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_replicas_converge_and_lose_no_acknowledged_edit_whatever_goes_wrong(first: int) -> None:
    with ProcessPoolExecutor(
        PROCESSES, mp_context=get_context("spawn"), initializer=be_quiet
    ) as executor:
        reports = executor.map(simulate, range(first, first + CHUNK))
        failed = [report for report in reports if report.complaints]
    assert not failed, "\n".join(
        f"make sim SEED={report.seed}: {'; '.join(report.complaints)} with {report.options}"
        for report in failed
    )


def test_the_same_seed_gives_the_same_trace_in_two_processes(seed: int) -> None:
    number = seed % 10_000
    printed = [
        subprocess.run(
            [sys.executable, "-m", "scripts.simulate", "--seed", str(number)],
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


def test_the_seeds_of_a_run_meet_every_fault_and_every_number_of_nodes() -> None:
    drawn = [draw_options(seed) for seed in range(SEEDS)]
    assert {len(options.names) for options in drawn} == {2, 3, 4, 5}
    kinds = {fault.kind for options in drawn for fault in options.faults}
    assert kinds == {"partition", "block", "break", "crash", "stop", "full", "slow", "clock"}
    assert sum(fault.kind == "crash" for options in drawn for fault in options.faults) > SEEDS
