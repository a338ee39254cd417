"""The soak itself: a short one passes, and it does not overlook what grows."""

import asyncio
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from scripts.soak import GROWTH_BYTES_MAX, Look, Soak, problems, slopes
from tests.tidy.repository import ROOT

BEFORE = Look(at_s=60, memory_bytes=10**8, tasks=100, files=50, threads=10, operations=1_000)


async def complaints(folder: Path, after: Look) -> list[str]:
    soak = Soak(folder, 2, 0)
    # While caches fill memory grows faster; that is not looked at.
    soak.looks = [replace(BEFORE, memory_bytes=10**6, operations=0), BEFORE, after]
    return list(problems(soak, BEFORE, after, 2))


def test_what_grows_is_a_problem(tmp_path: Path) -> None:
    well = replace(BEFORE, operations=2_000, memory_bytes=10**8 + 2_000 * GROWTH_BYTES_MAX)
    assert asyncio.run(complaints(tmp_path, well)) == []
    for name, value in (("tasks", 120), ("files", 60), ("threads", 20)):
        [said] = asyncio.run(complaints(tmp_path, replace(well, **{name: value})))
        assert said.startswith(f"{value} {name} in the end")
    [said] = asyncio.run(complaints(tmp_path, replace(well, memory_bytes=2 * 10**8)))
    assert said.startswith("memory grew by")


def test_slopes_are_of_the_last_two_thirds() -> None:
    looks = [
        replace(BEFORE, at_s=60.0 * minute, tasks=100 + 2 * minute if minute > 3 else 900)
        for minute in range(12)
    ]
    assert slopes(looks)["tasks_per_min"] == pytest.approx(2)
    assert slopes(looks)["memory_bytes_per_min"] == pytest.approx(0)
    assert slopes(looks[:1]) == {}


@pytest.mark.slow
def test_short_soak_passes() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "scripts.soak", "--nodes", "3", "--minutes", "0.3", "--json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    told = json.loads(done.stdout.splitlines()[-1])
    grown = [each for each in told["problems"] if not each.startswith("memory")]
    assert grown == []  # memory settles only after minutes
    assert told["edits"] > 0
