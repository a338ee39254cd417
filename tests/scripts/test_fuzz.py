"""The fuzzer itself: it feeds what it was asked to, and does not overlook what goes wrong."""

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from scripts.fuzz import INPUT_S_MAX, PEAK_BYTES_MAX, Findings, Meter, available_engine, keep
from tests.fuzz.targets import TARGETS
from tests.tidy.repository import ROOT


def fuzz(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "scripts.fuzz", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )


@pytest.mark.parametrize("engine", sorted({"damage", available_engine()}))
def test_part_is_fed_as_often_as_asked(engine: str) -> None:
    done = fuzz("--part", "signal", "--inputs", "2000", "--engine", engine, "--json")
    assert done.returncode == 0, done.stdout
    told = json.loads(done.stdout.splitlines()[-1])
    row = told["parts"]["signal"]
    assert (told["engine"], told["inputs"], told["failed"]) == (engine, 2000, 0)
    assert row["inputs"] == 2000
    assert row["taken"] > 0
    assert row["exceptions"] == 0
    assert 0 < row["slowest_s"] < INPUT_S_MAX
    assert 0 < row["peak_bytes"] < PEAK_BYTES_MAX


def test_unknown_part_is_an_error() -> None:
    done = fuzz("--part", "nothing")
    assert done.returncode == 2
    assert all(target.name in done.stderr for target in TARGETS)


def test_what_is_no_typed_error_is_noted_with_its_input(tmp_path: Path) -> None:
    def feed(data: bytes) -> bool:
        return {b"good": True}[data]

    meter = Meter(feed)
    for data in (b"good", b"\xbad", b"good"):
        meter.take(data)
    meter.report(tmp_path / "findings")
    found = Findings(**json.loads((tmp_path / "findings").read_text()))
    assert (found.inputs, found.taken, found.exceptions) == (3, 2, 1)
    [problem] = replace(found, peak_bytes=0).problems(3)  # this process has done much before
    assert "KeyError" in problem
    assert "test_fuzz.py" in problem
    assert problem.endswith(b"\xbad".hex())


def test_what_takes_long_or_much_or_ends_early_is_a_problem() -> None:
    def feed(data: bytes) -> bool:
        until = time.perf_counter() + INPUT_S_MAX * 1.1
        while time.perf_counter() < until:
            pass
        return True

    meter = Meter(feed)
    meter.take(b"")
    [problem] = meter.findings.problems(1)
    assert problem.startswith("an input took 1.1")
    assert Findings(inputs=5, peak_bytes=PEAK_BYTES_MAX + 2**20).problems(5) == ["it took 257 MiB"]
    assert Findings(inputs=5).problems(6) == ["it ended after 5 of 6 inputs"]


def test_smallest_new_inputs_are_kept_once(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.json"
    corpus.write_text(json.dumps({"z": ["00"], "a": ["0102"]}))
    (tmp_path / "corpus").mkdir()
    for number, data in enumerate((b"\1\2", b"\1\2\3", b"", b"long" * 100)):
        (tmp_path / "corpus" / str(number)).write_bytes(data)
    keep("a", tmp_path, 5, corpus)
    keep("a", tmp_path, 5, corpus)
    assert json.loads(corpus.read_text()) == {"a": ["0102", "010203"], "z": ["00"]}
