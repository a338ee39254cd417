"""Run the long tests of reliability, part by part, and go on where an earlier run was interrupted.

    python -m scripts.battery                       every part that is not done yet
    python -m scripts.battery --part schedules      this one
    python -m scripts.battery --list                what there is, and how far it is
    python -m scripts.battery --again               forget what was done, and begin anew

Each part consists of chunks of a few minutes at most, every one with seeds of its own. A chunk that has passed is noted
in `.battery.json` and not run again, as long as the code is the same; one that fails is shown, with the command that
repeats it. The last line says how many chunks passed and failed; the exit status is 0 only if none failed. With
`--json` the last line is one of JSON: for each part its unit, how many were wanted, and how many have passed.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
STATE: Final = ROOT / ".battery.json"
CHUNK_S_MAX: Final = 3_600
SHOWN_LINES_MAX: Final = 30
QUIET: Final = ("-q", "-x", "-p", "no:cacheprovider", f"--timeout={CHUNK_S_MAX}")
FUZZED: Final = 22
"""How many targets `tests/fuzz/targets.py` has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """One command: what it adds to the part, and what is set in its environment."""

    units: int
    command: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        settings = [f"{name}={value}" for name, value in self.environment.items()]
        return " ".join([*settings, "python -m", *map(shlex.quote, self.command)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Something that is done very often: its name, what is counted, and the chunks."""

    name: str
    unit: str
    chunks: tuple[Chunk, ...]

    @property
    def wanted(self) -> int:
        """How many units all chunks amount to."""
        return sum(chunk.units for chunk in self.chunks)


def schedules(mode: str, count: int, size: int) -> tuple[Chunk, ...]:
    """Simulated schedules, by seed."""
    return tuple(
        Chunk(
            units=size,
            command=("scripts.simulate", "--mode", mode, "--seeds", f"{first}..{first + size - 1}"),
        )
        for first in range(0, count, size)
    )


def tests(path: str, count: int, size: int, variable: str) -> tuple[Chunk, ...]:
    """A test that does something so often in a row, with another seed each time."""
    return tuple(
        Chunk(
            units=size,
            command=("pytest", *QUIET, path),
            environment={variable: str(size), "CULM_TEST_SEED": str(1_000 + number)},
        )
        for number in range(count // size)
    )


def fuzzing(count: int, size: int) -> tuple[Chunk, ...]:
    """So many inputs in all, so many of a row for each target, another row each time."""
    units = size * FUZZED
    return tuple(
        Chunk(
            units=units,
            command=("scripts.fuzz", "--inputs", str(size), "--seed", str(number)),
        )
        for number in range(-(-count // units))
    )


PARTS: Final = (
    Part(name="schedules", unit="simulated schedules", chunks=schedules("messages", 20_000, 200)),
    Part(
        name="datagrams",
        unit="simulated schedules over QUIC",
        chunks=schedules("datagrams", 200, 20),
    ),
    Part(
        name="kills",
        unit="kills of a node that edits",
        chunks=tests("tests/node/test_crash.py", 1_000, 50, "CULM_TEST_KILLS"),
    ),
    Part(
        name="either-side",
        unit="kills of either of two nodes that edit",
        chunks=tests("tests/node/test_either_side.py", 200, 50, "CULM_TEST_KILLS"),
    ),
    Part(
        name="store-kills",
        unit="kills of a process that stores",
        chunks=tests("tests/adapters/sql/test_crash.py", 1_000, 100, "CULM_TEST_KILLS"),
    ),
    Part(
        name="secret-kills",
        unit="kills of a node that renews secrets and lets others in",
        chunks=tests("tests/node/test_secret_kills.py", 200, 25, "CULM_TEST_KILLS"),
    ),
    Part(
        name="flips",
        unit="flipped bits in each file of a database",
        chunks=tests("tests/adapters/sql/test_damage.py", 1_000, 250, "CULM_TEST_FLIPS"),
    ),
    Part(
        name="power-cuts",
        unit="power cuts between two sync points",
        chunks=tests("tests/adapters/sql/test_power_cut.py", 1_000, 250, "CULM_TEST_CUTS"),
    ),
    Part(
        name="write-faults",
        unit="runs in which each write fails in turn",
        chunks=(
            Chunk(
                units=1,
                command=("pytest", *QUIET, "tests/adapters/sql/test_write_faults.py"),
                environment={"CULM_TEST_FAULT_STEP": "1"},
            ),
        ),
    ),
    Part(
        name="fuzz",
        unit="inputs for everything that reads bytes from outside",
        chunks=fuzzing(1_000_000, 2_500),
    ),
    Part(
        name="histories",
        unit="histories of membership and content, each in five orders",
        chunks=tests("tests/domain/document/test_histories.py", 20_000, 500, "CULM_TEST_HISTORIES"),
    ),
    Part(
        name="author-order",
        unit="sessions of pycrdt alone, each in seven orders",
        chunks=tests("tests/domain/crdt/test_author_order.py", 20_000, 1_000, "CULM_TEST_SESSIONS"),
    ),
    Part(
        name="forks",
        unit="histories in which devices fork their logs, each in five orders",
        chunks=tests("tests/domain/document/test_forks.py", 2_000, 100, "CULM_TEST_HISTORIES"),
    ),
    Part(
        name="orphans",
        unit="operations whose past never comes, in two forms each",
        chunks=tests(
            "tests/domain/ledger/test_orphans.py", 1_000_000, 250_000, "CULM_TEST_ORPHANS"
        ),
    ),
    Part(
        name="meetings",
        unit="meetings of each of sixteen pairs of NAT boxes",
        chunks=tests(
            "tests/adapters/simulation/internet/test_nat_matrix.py", 100, 5, "CULM_TEST_MEETINGS"
        ),
    ),
    Part(
        name="walker",
        unit="times 45,000 damaged updates",
        chunks=tests("tests/domain/crdt/test_walker_fuzz.py", 20, 5, "CULM_FUZZ_SCALE"),
    ),
)


class Notes:
    """Which chunks have passed, with this code.

    Args:
        path: Where it is kept.
        code: What is tested.
    """

    def __init__(self, path: Path, code: str) -> None:
        self._path = path
        self._code = code
        self._passed: set[str] = set()
        try:
            kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return
        if kept.get("code") == code:
            self._passed = set(kept.get("passed", ()))

    def has(self, chunk: Chunk) -> bool:
        """Whether a chunk has passed before."""
        return str(chunk) in self._passed

    def add(self, chunk: Chunk) -> None:
        """Note that a chunk has passed; it survives an interruption from here on."""
        self._passed.add(str(chunk))
        new = self._path.with_suffix(".new")
        content = {"code": self._code, "passed": sorted(self._passed)}
        new.write_text(json.dumps(content), encoding="utf-8")
        new.replace(self._path)

    def forget(self) -> None:
        """Begin anew."""
        self._passed = set()
        self._path.unlink(missing_ok=True)

    def passed(self, part: Part) -> int:
        """How many units of a part have passed."""
        return sum(chunk.units for chunk in part.chunks if self.has(chunk))


def current_code() -> str:
    """What is tested: the commit, and a digest of what is not committed."""
    changes = _git("diff", "HEAD")
    return f"{_git('rev-parse', 'HEAD').strip()} {blake2b(changes.encode(), digest_size=8).hexdigest()}"


def _git(*arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout


def run(chunk: Chunk) -> str | None:
    """Run a chunk; None if it passed, else the end of what it said."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", *chunk.command],
            cwd=ROOT,
            env={**os.environ, **chunk.environment, "PYTHONHASHSEED": "0"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=CHUNK_S_MAX,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"not over after {CHUNK_S_MAX} s"
    if done.returncode == 0:
        return None
    return "\n".join(done.stdout.splitlines()[-SHOWN_LINES_MAX:])


def pending(parts: Sequence[Part], notes: Notes) -> Iterator[tuple[Part, Chunk]]:
    """What is left to run: a chunk of each part in turn, so that every part gets on."""
    queues = [(part, [chunk for chunk in part.chunks if not notes.has(chunk)]) for part in parts]
    while any(chunks for _, chunks in queues):
        for part, chunks in queues:
            if chunks:
                yield part, chunks.pop(0)


def report(parts: Sequence[Part], notes: Notes) -> dict[str, dict[str, object]]:
    """How far each part is."""
    return {
        part.name: {"unit": part.unit, "wanted": part.wanted, "passed": notes.passed(part)}
        for part in parts
    }


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    names = [part.name for part in PARTS]
    parser.add_argument("--part", action="append", choices=names, help="run this one, not all")
    parser.add_argument("--list", action="store_true", help="say what there is, and run nothing")
    parser.add_argument("--again", action="store_true", help="forget what was done before")
    parser.add_argument("--json", action="store_true", help="say the result as JSON, last")
    arguments = parser.parse_args()
    parts = [part for part in PARTS if not arguments.part or part.name in arguments.part]
    notes = Notes(STATE, current_code())
    if arguments.again:
        notes.forget()
    passed = failed = 0
    for part, chunk in () if arguments.list else pending(parts, notes):
        trouble = run(chunk)
        if trouble is None:
            passed += 1
            notes.add(chunk)
        else:
            failed += 1
            print(f"{part.name} FAILED: {chunk}\n{trouble}", flush=True)
        print(f"{part.name}: {notes.passed(part)} of {part.wanted}", file=sys.stderr, flush=True)
    found = report(parts, notes)
    for name, row in found.items():
        print(f"{name}: {row['passed']} of {row['wanted']} {row['unit']}")
    print(json.dumps(found) if arguments.json else f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
