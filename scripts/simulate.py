"""Run simulated scenarios by seed, and say which of them do not hold.

    python -m scripts.simulate --seed 7                       one, with its options and what went wrong
    python -m scripts.simulate --seeds 0..199                 many, on all cores
    python -m scripts.simulate --seeds 0..19 --mode datagrams with the production transport

The last line says how many passed and failed; the exit status is 0 only if all hold. A seed that fails is shown with
its options and with the shortest scenario found that fails too, as a command that runs it.
"""

import argparse
import logging
import os
import re
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context, parent_process
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.simulation.options import Options, draw_options, narrow
from tests.simulation.scenario import Report, simulate
from tests.simulation.shrink import shrink
from tests.simulation.stage import Mode

CHUNK = 4
COMPLAINTS_SHOWN_MAX = 20
SHRUNK_MAX = 3
PROGRESS_EVERY = 500


def main() -> int:
    """Run what the command line asks for."""
    arguments = _parse()
    mode = Mode(arguments.mode)
    if arguments.seed is not None:
        _be_quiet()
        options = narrow(
            draw_options(arguments.seed),
            nodes=arguments.nodes,
            edits=arguments.edits,
            faults=arguments.faults,
            rogue=arguments.rogue,
            changes=arguments.changes,
        )
        reports: Iterator[Report] = iter([simulate(arguments.seed, options, mode)])
    else:
        reports = _run(arguments.seeds, arguments.jobs, mode)
    passed = failed = 0
    for report in reports:
        if report.complaints:
            failed += 1
            _explain(report, mode)
            if arguments.shrink and failed <= SHRUNK_MAX:
                _shrink(report.seed, mode)
        else:
            passed += 1
            if arguments.seed is not None:
                print(_summarize(report))
        if (passed + failed) % PROGRESS_EVERY == 0:
            print(f"{passed} passed, {failed} failed so far", file=sys.stderr, flush=True)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--seed", type=int, help="run this one")
    which.add_argument("--seeds", type=_read_range, metavar="A..B", help="run all from A to B")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    modes = [mode.value for mode in Mode]
    parser.add_argument(
        "--mode", choices=modes, default=modes[0], help="what carries what the nodes say"
    )
    parser.add_argument(
        "--no-shrink",
        dest="shrink",
        action="store_false",
        help="do not look for shorter scenarios that fail",
    )
    cut = parser.add_argument_group("of one seed, run only a part")
    cut.add_argument("--nodes", type=int, help="so many of its nodes")
    cut.add_argument("--edits", type=int, help="so many edits of each")
    cut.add_argument("--faults", metavar="N,N", help="of its faults those with these numbers")
    cut.add_argument("--no-rogue", dest="rogue", action="store_false", help="no rogue")
    cut.add_argument(
        "--no-changes", dest="changes", action="store_false", help="no changes of who may do what"
    )
    arguments = parser.parse_args()
    if arguments.seed is not None and (arguments.nodes or arguments.edits or arguments.faults):
        arguments.shrink = False
    return arguments


def _read_range(text: str) -> range:
    match = re.fullmatch(r"(\d+)\.\.(\d+)", text)
    if match is None or int(match[1]) > int(match[2]):
        raise argparse.ArgumentTypeError("a range of seeds looks like 0..199")
    return range(int(match[1]), int(match[2]) + 1)


def _run(seeds: Sequence[int], jobs: int, mode: Mode) -> Iterator[Report]:
    run = partial(simulate, options=None, mode=mode)
    if jobs < 2 or len(seeds) < 2:
        _be_quiet()
        yield from map(run, seeds)
        return
    with ProcessPoolExecutor(
        jobs, mp_context=get_context("spawn"), initializer=_start_worker
    ) as executor:
        yield from executor.map(run, seeds, chunksize=CHUNK)


def _start_worker() -> None:
    """Prepare a process that works for this one, and ends with it even if it is killed."""
    _be_quiet()
    parent = parent_process()
    assert parent is not None

    def end_with_parent() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()


def _be_quiet() -> None:
    """What nodes and transport complain about in the middle of faults is part of the scenario."""
    for name in ("node", "quic"):
        logging.getLogger(name).propagate = False


def _explain(report: Report, mode: Mode) -> None:
    print(f"seed {report.seed} fails: {_summarize(report)}")
    print(f"  {report.options}")
    for complaint in report.complaints[:COMPLAINTS_SHOWN_MAX]:
        print(f"  - {complaint}")
    print(f"  the same again: make sim SEED={report.seed}{_name(mode)}", flush=True)


def _shrink(seed: int, mode: Mode) -> None:
    def run(seed: int, options: Options) -> Report:
        return simulate(seed, options, mode)

    _be_quiet()
    found = shrink(seed, run)
    if found is None:
        return
    cut, report = found
    print(f'  shorter: make sim SEED={seed}{_name(mode)} ARGS="{cut.flags()}"')
    print(f"  - {report.complaints[0]}", flush=True)


def _name(mode: Mode) -> str:
    return "" if mode is Mode.MESSAGES else f" MODE={mode.value}"


def _summarize(report: Report) -> str:
    return (
        f"{len(report.options.names)} nodes, {report.edits} edits, {report.operations} operations,"
        f" {report.crashes} crashes, {report.events} events on the network, trace {report.digest}"
    )


if __name__ == "__main__":
    sys.exit(main())
