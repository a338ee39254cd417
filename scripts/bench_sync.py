"""Measures synchronization: `python scripts/bench_sync.py --json`; docs/benchmarks.md says what the figures mean."""

import argparse
import asyncio
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from domain.errors import CulmError
from node.demo.stage import percentile_ms
from scripts.bench.floor import measure_floor
from scripts.bench.nodes import BenchmarkError, Plan, measure_nodes
from scripts.bench.peer import measure_peer
from scripts.bench.result import add_ratio, compare, median
from scripts.bench.session import write_session

SYNTHETIC_EDITS = 20_000
FLOOR_SAMPLES = 100


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Measure how fast culm nodes synchronize.")
    parser.add_argument("--trace", type=Path, help="a sequential editing trace (.json.gz)")
    parser.add_argument("--edits", type=int, help="type so many of its transactions only")
    parser.add_argument("--against", choices=["pycrdt-websocket"], help="measure this too")
    parser.add_argument("--rounds", type=int, default=3, help="medians are taken over so many")
    parser.add_argument("--taps", type=int, default=100, help="lone edits in a round")
    parser.add_argument("--signed", type=int, default=1_000, help="operations of one edit each")
    parser.add_argument("--json", action="store_true", help="print one line of JSON")
    parser.add_argument("--compare", type=Path, help="the JSON of an earlier run")
    return parser.parse_args(arguments)


def note(text: str) -> None:
    """Say what goes on."""
    print(text, file=sys.stderr, flush=True)


async def measure_round(options: argparse.Namespace, plan: Plan, number: int) -> dict[str, Any]:
    """Measure everything once, ours and the peer's next to each other."""
    note(f"round {number} of {options.rounds}: floor")
    floor = measure_floor(FLOOR_SAMPLES)
    result: dict[str, Any] = {
        "floor_ms": {"p50": percentile_ms(floor, 50), "p99": percentile_ms(floor, 99)}
    }
    note(f"round {number} of {options.rounds}: nodes")
    with tempfile.TemporaryDirectory(prefix="culm-bench-", ignore_cleanup_errors=True) as directory:
        result |= await measure_nodes(plan, Path(directory))
    if options.against:
        note(f"round {number} of {options.rounds}: {options.against}")
        result["peer"] = await measure_peer(plan)
    note(json.dumps(result))
    return result


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Measure all rounds and take medians."""
    with tempfile.TemporaryDirectory(prefix="culm-bench-") as directory:
        trace = options.trace
        if trace is None:
            trace = Path(directory) / "session.json.gz"
            write_session(trace, options.edits or SYNTHETIC_EDITS)
        elif not trace.is_file():
            raise BenchmarkError(f"{trace} cannot be read: there is no such file")
        plan = Plan(trace=trace, edits=options.edits, taps=options.taps, signed=options.signed)
        numbers = range(1, options.rounds + 1)
        result = median([await measure_round(options, plan, number) for number in numbers])
    add_ratio(result)
    return result


def main() -> int:
    """Run the benchmark."""
    options = parse()
    try:
        result = asyncio.run(measure(options))
    except (BenchmarkError, CulmError) as error:
        note(f"the benchmark failed: {error}")
        return 1
    if options.compare:
        note("\n".join(compare(result, json.loads(options.compare.read_text()))))
    print(json.dumps(result, indent=None if options.json else 2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
