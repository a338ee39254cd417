"""The benchmark: its arithmetic, and the whole of it in its smallest mode."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.trace import read_trace
from scripts.bench.floor import measure_floor
from scripts.bench.result import add_ratio, compare, flatten, median, nest
from scripts.bench.session import write_session
from tests.tidy.repository import ROOT

KEY = st.text("abc_", min_size=1, max_size=4)
NESTED = st.recursive(
    st.dictionaries(KEY, st.integers(), min_size=1, max_size=4),
    lambda inner: st.dictionaries(KEY, st.integers() | inner, min_size=1, max_size=4),
    max_leaves=10,
)


@given(value=NESTED)
def test_nesting_undoes_flattening(value: dict[str, Any]) -> None:
    assert nest(dict(flatten(value))) == value


def test_median_is_taken_of_each_figure_and_the_best_of_cold_opening() -> None:
    rounds = [{"a": {"b": number}, "cold_open_ms": number} for number in (5, 1, 3)]
    assert median(rounds) == {"a": {"b": 3}, "cold_open_ms": 1}


def test_ratio_is_of_the_peer_to_ours() -> None:
    result: dict[str, Any] = {
        "live": {"seconds": 2.0, "wire_bytes": 100},
        "peer": {"live_seconds": 9.0, "wire_bytes": 1_000},
    }
    add_ratio(result)
    assert result["ratio"] == {"live": 4.5, "wire": 10.0}


def test_comparison_tells_what_both_runs_have() -> None:
    lines = compare({"a": {"b": 3.0}, "new": 1}, {"a": {"b": 2.0}})
    assert len(lines) == 1
    assert lines[0].split()[0] == "a.b"
    assert lines[0].endswith("x 1.50")


def test_made_up_session_is_the_same_each_time_and_true(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("first.json.gz", "second.json.gz")]
    for path in paths:
        write_session(path, 500)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    trace = read_trace(paths[0])
    text = ""
    for transaction in trace.transactions:
        for position, deleted, inserted in transaction.patches:
            text = text[:position] + inserted + text[position + deleted :]
    assert (text, len(trace.transactions)) == (trace.end, 500)


def test_floor_is_measured() -> None:
    times = measure_floor(5)
    assert times == sorted(times)
    assert times[0] > 0


def run_benchmark(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "scripts/bench_sync.py", "--json", "--rounds", "1", *arguments]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=90
    )


def test_benchmark_measures_everything(tmp_path: Path) -> None:
    arguments = ["--edits", "400", "--taps", "5", "--signed", "20"]
    done = run_benchmark(*arguments, "--against", "pycrdt-websocket")
    assert done.returncode == 0, done.stderr
    figures = dict(flatten(json.loads(done.stdout)))
    expected = {
        "latency_ms.p50", "latency_ms.p99", "floor_ms.p99", "live.seconds", "live.edits", "live.operations",
        "live.wire_bytes", "live.update_bytes", "live.body_bytes", "catch_up.seconds", "catch_up.operations",
        "cold_open_ms", "receive.operations_per_s", "receive.edits_per_s", "memory_bytes", "lone_edit_bytes",
        "peer.live_seconds", "peer.wire_bytes", "ratio.live", "ratio.wire",
    }  # fmt: skip
    assert expected <= figures.keys()
    assert all(figures[key] >= 0 for key in expected)
    assert figures["live.edits"] == 400
    assert 0 < figures["live.body_bytes"] < figures["live.update_bytes"]


def test_benchmark_says_why_it_cannot_run(tmp_path: Path) -> None:
    done = run_benchmark("--trace", str(tmp_path / "nothing.json.gz"))
    assert done.returncode == 1
    assert "cannot be read" in done.stderr


@pytest.mark.parametrize("arguments", [["--against", "nothing"], ["--rounds", "x"]])
def test_benchmark_refuses_what_it_does_not_know(arguments: list[str]) -> None:
    assert run_benchmark(*arguments).returncode == 2
