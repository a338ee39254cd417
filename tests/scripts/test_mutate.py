"""The mutation run itself: every seeded bug still has its place, and a few are hunted down for good measure."""

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from scripts.mutate import (
    ROOT,
    SCHEDULES,
    Change,
    Mutation,
    MutationError,
    apply,
    hunt,
    read_mutation,
    read_mutations,
)

HUNTED = ["acknowledgement-dropped", "own-operation-sent-before-commit", "signature-ignored"]
MUTATIONS = read_mutations([])


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda one: one.name)
def test_mutation_still_has_its_place_and_a_test_that_is_to_catch_it(
    mutation: Mutation, tmp_path: Path
) -> None:
    for file in {change.file for change in mutation.changes}:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_bytes((ROOT / file).read_bytes())
    apply(mutation, tmp_path)
    for change in mutation.changes:
        compile((tmp_path / change.file).read_text(encoding="utf-8"), change.file, "exec")
    re.compile(mutation.says)
    for name in set(mutation.caught_by) - {SCHEDULES}:
        file, _, test = name.partition("::")
        assert f"def {test}(" in (ROOT / file).read_text(encoding="utf-8") or not test


def test_a_few_mutations_are_caught() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "scripts.mutate", "--unchecked", *HUNTED],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "3 passed, 0 failed"), done.stdout


def test_mutation_whose_place_has_changed_is_an_error() -> None:
    change = Change(file="node/inbox.py", old="what nobody has ever written", new="")
    outcome = hunt(replace(MUTATIONS[0], changes=(change,)))
    assert "no longer applies: node/inbox.py" in outcome.problem


def test_mutation_that_breaks_nothing_is_missed() -> None:
    change = Change(file="node/inbox.py", old='"""A bounded queue', new='"""Some bounded queue')
    caught_by = ("tests/domain/test_identity.py",)
    outcome = hunt(replace(MUTATIONS[0], changes=(change,), caught_by=caught_by))
    assert outcome.problem == "nobody noticed"


def test_failure_for_another_reason_does_not_count() -> None:
    change = Change(
        file="domain/identity.py", old="from domain.identifiers", new="from domain.nowhere"
    )
    caught_by = ("tests/domain/test_identity.py",)
    outcome = hunt(replace(MUTATIONS[0], changes=(change,), caught_by=caught_by))
    assert "nothing said" in outcome.problem


@pytest.mark.parametrize("file", ["tests/conftest.py", "node/nowhere.py"])
def test_only_production_code_is_changed(file: str, tmp_path: Path) -> None:
    change = Change(file=file, old="a", new="b")
    with pytest.raises(MutationError, match="no production file"):
        apply(replace(MUTATIONS[0], changes=(change,)), tmp_path)


def test_file_that_is_no_mutation_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "odd.toml"
    path.write_text('promise = "none"\nchange = []\n')
    with pytest.raises(MutationError, match="no mutation"):
        read_mutation(path)


def test_unknown_name_is_an_error() -> None:
    with pytest.raises(MutationError, match="there is no mutation nobody"):
        read_mutations(["nobody"])
