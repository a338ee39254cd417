"""The battery: what has passed is not run again, what fails is shown, and every part gets on."""

from pathlib import Path

import pytest

from scripts.battery import FUZZED, PARTS, Chunk, Notes, Part, current_code, pending, report, run
from tests.fuzz.targets import TARGETS
from tests.tidy.repository import ROOT

HOLDS = Chunk(units=2, command=("platform",))
FAILS = Chunk(units=1, command=("json.tool", "no such file"), environment={"CULM_TEST_SEED": "1"})


def part(name: str, *units: int) -> Part:
    chunks = tuple(Chunk(units=each, command=(name, str(each))) for each in units)
    return Part(name=name, unit="things", chunks=chunks)


def test_what_has_passed_is_not_run_again_with_the_same_code(tmp_path: Path) -> None:
    parts = [part("a", 1, 2)]
    notes = Notes(tmp_path / "notes", "code")
    notes.add(parts[0].chunks[0])
    again = Notes(tmp_path / "notes", "code")
    assert [chunk for _, chunk in pending(parts, again)] == [parts[0].chunks[1]]
    assert report(parts, again) == {"a": {"unit": "things", "wanted": 3, "passed": 1}}
    assert len(list(pending(parts, Notes(tmp_path / "notes", "other code")))) == 2
    again.forget()
    assert len(list(pending(parts, Notes(tmp_path / "notes", "code")))) == 2


def test_notes_that_cannot_be_read_count_for_nothing(tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("{")
    assert len(list(pending([part("a", 1)], Notes(tmp_path / "notes", "code")))) == 1


def test_every_part_gets_on(tmp_path: Path) -> None:
    parts = [part("a", 1, 2, 3), part("b", 1)]
    order = [each.name for each, _ in pending(parts, Notes(tmp_path / "notes", "code"))]
    assert order == ["a", "b", "a", "a"]


def test_a_chunk_that_fails_says_why() -> None:
    assert run(HOLDS) is None
    said = run(FAILS)
    assert said is not None
    assert "no such file" in said
    assert str(FAILS) == "CULM_TEST_SEED=1 python -m json.tool 'no such file'"


@pytest.mark.parametrize("each", PARTS, ids=lambda each: each.name)
def test_part_names_commands_that_exist_and_seeds_that_differ(each: Part) -> None:
    assert len(set(map(str, each.chunks))) == len(each.chunks)
    for chunk in each.chunks:
        module, *arguments = chunk.command
        if module == "pytest":
            (path,) = (argument for argument in arguments if argument.startswith("tests/"))
            source = (ROOT / path).read_text(encoding="utf-8")
            assert all(name in source or name == "CULM_TEST_SEED" for name in chunk.environment)
        else:
            assert (ROOT / f"{module.replace('.', '/')}.py").is_file()


def test_every_target_is_fuzzed() -> None:
    assert len(TARGETS) == FUZZED


def test_code_is_named_the_same_while_nothing_changes() -> None:
    assert current_code() == current_code()
