"""The NAT lab: real nodes behind the kernel's own NAT, in network namespaces. Needs root, nftables, conntrack, coturn.

    scripts/nat_lab.py matrix --json                     16 ordered pairs of box types
    scripts/nat_lab.py matrix --pairs symmetric:symmetric --rtt-ms 50
    scripts/nat_lab.py scenario --list
    scripts/nat_lab.py scenario rebind-both --json
    scripts/nat_lab.py scenario direct-blocked --runs 10 --json
    scripts/nat_lab.py doctor --json                     what culm doctor says in each network

What it builds is gone when it ends, also when it is interrupted. The same runs in virtual time, by the same names, in
`tests/adapters/simulation/internet`.
"""

import argparse
import asyncio
import json
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from domain.errors import CulmError
from scripts.lab.processes import Lab, LabNode, servers, until
from scripts.lab.rules import TYPES
from scripts.lab.scenarios import SCENARIOS
from scripts.lab.topology import LabError, build

MEET_S_MAX: Final = 30.0
UNABLE: Final = 3


async def meet(lab: Lab, a: str, b: str) -> dict[str, Any]:
    """Let two nodes behind such boxes meet: the left one joins a document of the right one.

    `dial_ms` goes from the invite to a member over a connection, `first_sync_ms` to one that shows the text.
    """
    result: dict[str, Any] = {
        "a": a,
        "b": b,
        "connected": False,
        "path": None,
        "dial_ms": None,
        "first_sync_ms": None,
    }
    with lab.houses(a, b) as (left, right):
        await looked_around(left)
        await looked_around(right)
        document = str((await right.ask("create", name="shared"))["document"])
        await right.write(document, "founded")
        invite = (await right.ask("invite", document=document, uses=1))["invite"]
        started = time.monotonic()
        try:
            async for answer in left.request("join", invite=invite):
                if answer.get("event") == "joined":
                    result["dial_ms"] = _milliseconds_since(started)
        except CulmError as error:
            return result | {"error": str(error)}
        synced: bool = await until(lambda: _shows(left, document, "founded"), within_s=MEET_S_MAX)
        result["first_sync_ms"] = _milliseconds_since(started)
        for node, other, line in ((left, right, "by-left"), (right, left, "by-right")):
            await node.write(document, line)
            synced &= await until(lambda: _shows(other, document, line), within_s=MEET_S_MAX)  # noqa: B023 - awaited here
        synced &= await left.text(document) == await right.text(document)
        return result | {"connected": synced, "path": await left.path_to(right.peer)}


async def looked_around(node: LabNode) -> None:
    """Wait until a node knows what network it is in."""

    async def knows() -> bool:
        return bool((await node.ask("status"))["nat"] != "unknown")

    await until(knows, within_s=10.0)


def _milliseconds_since(started: float) -> float:
    return round(1_000 * (time.monotonic() - started), 1)


async def _shows(node: LabNode, document: str, line: str) -> bool:
    return line in await node.text(document)


async def matrix(lab: Lab, arguments: argparse.Namespace) -> dict[str, Any]:
    """Let all pairs meet, one after the other."""
    lab.predicts = arguments.port_prediction
    for wire in lab.topology.wires.values():
        wire.set(delay_ms=arguments.rtt_ms / 4)
    wanted = arguments.pairs or [f"{a}:{b}" for a in TYPES for b in TYPES]
    pairs = []
    for pair in wanted:
        a, _, b = pair.partition(":")
        result = await meet(lab, a, b)
        print(json.dumps(result), file=sys.stderr)
        pairs.append(result)
    return {
        "pairs": pairs,
        "connected": sum(each["connected"] for each in pairs),
        "direct": sum(each["connected"] and each["path"] == "direct" for each in pairs),
    }


async def scenario(lab: Lab, arguments: argparse.Namespace) -> dict[str, Any]:
    """Play one scenario, as often as is wanted; of many runs the worst and the median stall."""
    runs = []
    for _ in range(arguments.runs):
        runs.append(await SCENARIOS[arguments.name](lab))
        print(json.dumps(runs[-1]), file=sys.stderr)
    if len(runs) == 1:
        return {"name": arguments.name} | runs[0]
    stalls = [each["stall_ms"] for each in runs]
    return {
        "name": arguments.name,
        "ok": all(each["ok"] for each in runs),
        "stall_p50_ms": statistics.median(stalls),
        "stall_max_ms": max(stalls),
        "lost": sum(each["lost"] for each in runs),
        "runs": runs,
    }


NETWORKS: Final = (*TYPES, "full-cone-hairpin", "udp-blocked")


async def doctor(lab: Lab, _: argparse.Namespace) -> dict[str, Any]:
    """Let a node say what each network is, in a house behind it and in public."""
    found = {}
    for name in (*NETWORKS, "public"):
        if name == "public":
            verdicts = (await lab.rendezvous.ask("doctor"))["verdicts"]
        else:
            lab.topology.set_nat("a", name)
            with lab.alone("ha", f"doctor-{name}", lab.flags) as node:
                verdicts = (await node.ask("doctor"))["verdicts"]
        found[name] = sorted(each["code"] for each in verdicts)
        print(json.dumps({name: found[name]}), file=sys.stderr)
    return {"networks": found, "ok": True}


PLAYS: Final = {"matrix": matrix, "scenario": scenario, "doctor": doctor}


def parse(arguments: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name in PLAYS:
        command = commands.add_parser(name)
        command.add_argument("--json", action="store_true", help="one line of JSON on stdout")
        command.add_argument("--keep", metavar="DIR", help="keep the files of all processes there")
        if name == "matrix":
            command.add_argument("--pairs", nargs="+", metavar="A:B", help=", ".join(TYPES))
            command.add_argument("--rtt-ms", type=float, default=0.0, metavar="N")
            command.add_argument("--port-prediction", action="store_true", help="for both nodes")
        elif name == "scenario":
            command.add_argument("name", nargs="?", choices=sorted(SCENARIOS))
            command.add_argument("--runs", type=int, default=1, metavar="N", help="play it N times")
            command.add_argument("--list", action="store_true", help="say which there are")
    return parser.parse_args(arguments)


def main() -> int:
    """Build the lab, run, and take it away."""
    arguments = parse(sys.argv[1:])
    if arguments.command == "scenario" and (arguments.list or not arguments.name):
        print("\n".join(SCENARIOS))
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    play = PLAYS[arguments.command]
    try:
        with tempfile.TemporaryDirectory(prefix="culm-lab-") as temporary, build() as topology:
            directory = Path(arguments.keep or temporary)
            directory.mkdir(parents=True, exist_ok=True)
            with servers(topology, directory) as lab:
                result = asyncio.run(play(lab, arguments))
    except LabError as error:
        print(f"the lab cannot run here: {error}", file=sys.stderr)
        return UNABLE
    print(json.dumps(result) if arguments.json else json.dumps(result, indent=2))
    is_good = result.get("ok", result.get("connected") == len(result.get("pairs", ())))
    return 0 if is_good else 1


if __name__ == "__main__":
    sys.exit(main())
