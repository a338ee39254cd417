"""Run simulated scenarios by seed, and say which of them do not hold.

    python -m scripts.simulate --seed 7          one, with its options and what went wrong
    python -m scripts.simulate --seeds 0..199    many, on all cores

The last line says how many passed and failed; the exit status is 0 only if all hold.
"""

import argparse
import logging
import os
import re
import sys
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context, parent_process
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.simulation.scenario import Report, simulate

CHUNK = 4
COMPLAINTS_SHOWN_MAX = 20


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--seed", type=int, help="run this one")
    which.add_argument("--seeds", type=_read_range, metavar="A..B", help="run all from A to B")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    arguments = parser.parse_args()
    seeds = [arguments.seed] if arguments.seed is not None else list(arguments.seeds)
    passed = failed = 0
    for report in _run(seeds, arguments.jobs):
        if report.complaints:
            failed += 1
            _explain(report)
        else:
            passed += 1
            if len(seeds) == 1:
                print(_summarize(report))
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


def _read_range(text: str) -> range:
    match = re.fullmatch(r"(\d+)\.\.(\d+)", text)
    if match is None or int(match[1]) > int(match[2]):
        raise argparse.ArgumentTypeError("a range of seeds looks like 0..199")
    return range(int(match[1]), int(match[2]) + 1)


def _run(seeds: Iterable[int], jobs: int) -> Iterator[Report]:
    seeds = list(seeds)
    if jobs < 2 or len(seeds) < 2:
        _be_quiet()
        yield from map(simulate, seeds)
        return
    with ProcessPoolExecutor(
        jobs, mp_context=get_context("spawn"), initializer=_start_worker
    ) as executor:
        yield from executor.map(simulate, seeds, chunksize=CHUNK)


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
    """What nodes complain about in the middle of faults is part of the scenario."""
    logging.getLogger("node").propagate = False


def _explain(report: Report) -> None:
    print(f"seed {report.seed} fails: {_summarize(report)}")
    print(f"  {report.options}")
    for complaint in report.complaints[:COMPLAINTS_SHOWN_MAX]:
        print(f"  - {complaint}")
    print(f"  the same again: make sim SEED={report.seed}", flush=True)


def _summarize(report: Report) -> str:
    return (
        f"{len(report.options.names)} nodes, {report.edits} edits, {report.operations} operations,"
        f" {report.crashes} crashes, {report.events} events on the network, trace {report.digest}"
    )


if __name__ == "__main__":
    sys.exit(main())
