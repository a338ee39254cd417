"""Measures the transport: `python scripts/bench_transport.py --json`; docs/benchmarks.md says what the figures mean."""

import argparse
import asyncio
import json
import sys
from typing import Any, Final

from domain.errors import CulmError
from node.demo.line import DemoError
from scripts.bench.result import compare, median
from scripts.bench.transport import Plan, measure_crowd, measure_round

KINDS: Final = {"aioquic": "stock_aioquic", "tls": "tls"}


def kinds(text: str) -> tuple[str, ...]:
    """Read what to measure ourselves against."""
    names = text.split(",")
    for name in names:
        if name not in KINDS:
            raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(KINDS)}")
    return tuple(KINDS[name] for name in names)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Measure the connections of culm on loopback.")
    parser.add_argument("--against", type=kinds, default=(), help="aioquic, tls, or aioquic,tls")
    parser.add_argument("--rounds", type=int, default=5, help="medians are taken over so many")
    parser.add_argument("--bulk", type=int, default=24, help="MiB for each figure of throughput")
    parser.add_argument("--pings", type=int, default=500, help="round trips, and streams opened")
    parser.add_argument("--handshakes", type=int, default=30, help="in each round")
    parser.add_argument("--live", type=int, default=200, help="small messages beside bulk")
    parser.add_argument("--connections", type=int, default=1_000, help="open at once; 0 for none")
    parser.add_argument("--idle", type=float, default=20.0, help="seconds to watch them idle")
    parser.add_argument("--json", action="store_true", help="print one line of JSON")
    parser.add_argument("--compare", metavar="FILE", help="the JSON of an earlier run")
    return parser.parse_args(arguments)


def note(text: str) -> None:
    """Say what goes on."""
    print(text, file=sys.stderr, flush=True)


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Measure all rounds and take medians."""
    plan = Plan(
        bulk_mib=options.bulk,
        pings=options.pings,
        handshakes=options.handshakes,
        live_messages=options.live,
        connections=options.connections,
        idle_s=options.idle,
        against=options.against,
    )
    rounds = []
    for number in range(1, options.rounds + 1):
        rounds.append(await measure_round(plan))
        note(f"round {number} of {options.rounds}: {json.dumps(rounds[-1])}")
    result = median(rounds)
    if plan.connections:
        note(f"{plan.connections} connections at once")
        result["connections"] = await measure_crowd(plan)
    return result


def main() -> int:
    """Run the benchmark."""
    options = parse()
    try:
        result = asyncio.run(measure(options))
    except (DemoError, CulmError) as error:
        note(f"the benchmark failed: {error}")
        return 1
    if options.compare:
        with open(options.compare, encoding="utf-8") as file:  # noqa: PTH123
            note("\n".join(compare(result, json.load(file))))
    print(json.dumps(result, indent=None if options.json else 2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
