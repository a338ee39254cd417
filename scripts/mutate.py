"""Prove the tests: put known bugs into copies of the code, and see that each is caught.

    python -m scripts.mutate                       every bug of tests/mutations
    python -m scripts.mutate fork-accepted ...     these alone

Each file there says which promise the bug breaks, what is to be replaced where, and who has to notice: the simulated
schedules or tests by name, and in which words. A bug whose place has changed is an error. Nothing is changed in the
tree itself. The last line says how many were caught (passed) and how many not; the exit status is 0 only if all were.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
MUTATIONS: Final = ROOT / "tests" / "mutations"
PRODUCTION: Final = ("domain", "adapters", "node")
COPIED: Final = (*PRODUCTION, "tests", "scripts", "pyproject.toml")
SCHEDULES: Final = "schedules"
SEEDS: Final = ("0..1", "2..9", "10..39", "40..119", "120..239")
"""Few first: most bugs show at once."""
RUN_S_MAX: Final = 240
SHOWN_LINES_MAX: Final = 15


class MutationError(Exception):
    """A mutation is not what it should be, or its place has changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A replacement in a file; the old text has to be there exactly once."""

    file: str
    old: str
    new: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutation:
    """A bug.

    Args:
        name: What it is called.
        promise: What it breaks.
        caught_by: `schedules`, or names of tests.
        says: What the output has to match, so that a bug is not taken as caught because something else is broken.
        changes: How it is made.
    """

    name: str
    promise: str
    caught_by: tuple[str, ...]
    says: str
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a mutation: `noticed` says by what it was caught, `problem` why it was not."""

    mutation: Mutation
    noticed: str = ""
    problem: str = ""


# -- Reading --


def read_mutations(names: Sequence[str]) -> list[Mutation]:
    """Read the mutations of these names, or all.

    Raises:
        MutationError: There is no such one, or it is not what it should be.
    """
    known = {path.stem: path for path in sorted(MUTATIONS.glob("*.toml"))}
    if unknown := set(names) - known.keys():
        raise MutationError(f"there is no mutation {', '.join(sorted(unknown))}")
    return [read_mutation(known[name]) for name in names or known]


def read_mutation(path: Path) -> Mutation:
    """Read one mutation."""
    content: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    try:
        changes = tuple(Change(**change) for change in content.pop("change"))
        caught_by = tuple(content.pop("caught_by"))
        mutation = Mutation(name=path.stem, changes=changes, caught_by=caught_by, **content)
    except (KeyError, TypeError) as error:
        raise MutationError(f"{path.name} is no mutation: {error}") from None
    if not changes or not caught_by:
        raise MutationError(f"{path.name} changes nothing, or nobody is to catch it")
    return mutation


# -- Applying --


@contextmanager
def copied_tree() -> Iterator[Path]:
    """A copy of the code and its tests, for the time of the block; compiled modules come along."""
    with TemporaryDirectory(prefix="culm-mutation-") as folder:
        for name in COPIED:
            source, target = ROOT / name, Path(folder) / name
            if source.is_dir():
                shutil.copytree(source, target)
            else:
                shutil.copy2(source, target)
        yield Path(folder)


def apply(mutation: Mutation, tree: Path) -> None:
    """Change a copy of the tree.

    Raises:
        MutationError: A place has changed, or is not in production code.
    """
    for change in mutation.changes:
        path = tree / change.file
        if change.file.split("/")[0] not in PRODUCTION or not path.is_file():
            raise MutationError(f"there is no production file {change.file}")
        text = path.read_text(encoding="utf-8")
        if (count := text.count(change.old)) != 1:
            raise MutationError(
                f"no longer applies: {change.file} has {count} times, not once:\n{change.old}"
            )
        path.write_text(text.replace(change.old, change.new), encoding="utf-8")


# -- Running --


def run_python(tree: Path, *arguments: str) -> tuple[bool, str]:
    """Run in a tree; whether that succeeded, and what was said."""
    command = [sys.executable, "-m", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(tree), "CULM_TEST_SEED": "1"}
    try:
        done = subprocess.run(
            command,
            cwd=tree,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=RUN_S_MAX,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        said = error.stdout.decode(errors="replace") if isinstance(error.stdout, bytes) else ""
        return False, f"{said}\nnot over after {RUN_S_MAX} s\n"
    return done.returncode == 0, done.stdout


def runs(caught_by: Sequence[str], seeds: Sequence[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """What is run one after the other until something fails: a name, and the arguments of Python."""
    if SCHEDULES in caught_by:
        for some in seeds:
            yield (
                f"seeds {some}",
                ("scripts.simulate", "--jobs", "1", "--no-shrink", "--seeds", some),
            )
    tests = [each for each in caught_by if each != SCHEDULES]
    if tests:
        quick = ("-q", "-x", "-p", "no:cacheprovider", "--tb=short", "--hypothesis-profile=dev")
        yield "tests", ("pytest", *quick, *tests)


def hunt(mutation: Mutation) -> Outcome:
    """See whether a mutation is caught."""
    with copied_tree() as tree:
        try:
            apply(mutation, tree)
        except MutationError as error:
            return Outcome(mutation=mutation, problem=str(error))
        problem = "nobody noticed"
        for name, arguments in runs(mutation.caught_by, SEEDS):
            succeeded, said = run_python(tree, *arguments)
            if succeeded:
                continue
            if found := re.search(mutation.says, said):
                return Outcome(mutation=mutation, noticed=f"{name}: {found[0].strip()}")
            problem = f"{name} failed, but nothing said {mutation.says!r}:\n{_end_of(said)}"
    return Outcome(mutation=mutation, problem=problem)


def check_unchanged(mutations: Sequence[Mutation]) -> str | None:
    """Run what catches them on an unchanged copy: it has to hold there. None, or what went wrong."""
    caught_by = tuple(dict.fromkeys(each for one in mutations for each in one.caught_by))
    with copied_tree() as tree:
        for name, arguments in runs(caught_by, SEEDS[:2]):
            succeeded, said = run_python(tree, *arguments)
            if not succeeded:
                return f"{name} fails without any mutation:\n{_end_of(said)}"
    return None


def _end_of(said: str) -> str:
    return "\n".join(f"    {line[:200]}" for line in said.splitlines()[-SHOWN_LINES_MAX:])


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="a file of tests/mutations")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="at once")
    parser.add_argument(
        "--unchecked", action="store_true", help="take it that all holds without a mutation"
    )
    arguments = parser.parse_args()
    try:
        mutations = read_mutations(arguments.names)
    except MutationError as error:
        parser.error(str(error))
    if not arguments.unchecked and (problem := check_unchanged(mutations)) is not None:
        print(problem)
        print(f"0 passed, {len(mutations)} failed")
        return 1
    failed = 0
    with ThreadPoolExecutor(arguments.jobs) as executor:
        for outcome in executor.map(hunt, mutations):
            failed += bool(outcome.problem)
            verdict = (
                f"MISSED {outcome.problem}" if outcome.problem else f"caught by {outcome.noticed}"
            )
            print(f"{outcome.mutation.name}: {verdict}", flush=True)
    print(f"{len(mutations) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
