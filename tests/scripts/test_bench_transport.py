"""The whole benchmark of the transport, in its smallest mode."""

import json
import subprocess
import sys

import pytest

from scripts.bench.result import flatten
from tests.tidy.repository import ROOT

SMALLEST = [
    *("--rounds", "1", "--bulk", "1", "--pings", "5", "--handshakes", "2", "--live", "5"),
    *("--connections", "5", "--idle", "0.1"),
]


def run_benchmark(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "scripts/bench_transport.py", "--json", *arguments]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=100
    )


def test_benchmark_measures_everything() -> None:
    done = run_benchmark(*SMALLEST, "--against", "aioquic,tls")
    assert done.returncode == 0, done.stderr
    figures = dict(flatten(json.loads(done.stdout)))
    kinds = ("one_stream", "eight_streams", "stock_aioquic", "tls")
    spreads = ("round_trip_us", "stream_open_us", "handshake_ms", "live_under_bulk_ms")
    of_connections = (
        "count",
        "setup_per_s",
        "settle_s",
        "rss_bytes",
        "baseline_bytes",
        "idle_cpu_fraction",
    )
    assert figures.keys() == {
        *(f"throughput_mb_s.{kind}" for kind in kinds),
        *(f"{spread}.{percent}" for spread in spreads for percent in ("p50", "p99")),
        *(f"connections.{each}" for each in of_connections),
        "bulk_beside_live_mb_s",
        "bulk_alone_mb_s",
    }
    assert all(value >= 0 for value in figures.values())
    assert all(figures[f"throughput_mb_s.{kind}"] > 0 for kind in kinds)
    assert figures["connections.count"] == 5


@pytest.mark.parametrize("arguments", [["--against", "aioquic,nothing"], ["--rounds", "x"]])
def test_benchmark_refuses_what_it_does_not_know(arguments: list[str]) -> None:
    assert run_benchmark(*arguments).returncode == 2
