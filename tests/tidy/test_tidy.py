"""House rules about files and words: sizes, names, leftovers, and nothing that belongs to one machine."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from tests.tidy.repository import FOLDERS, ROOT, name_of, python_files, tracked_files

FUNCTION_LINES_MAX: Final = 60  # a screen
FILE_LINES_MAX: Final = 500
FILE_BYTES_MAX: Final = 500_000  # a clone stays quick; what is larger can be made, not kept

NAMES_WITHOUT_MEANING: Final = {
    "base",
    "common",
    "helper",
    "helpers",
    "manager",
    "misc",
    "util",
    "utils",
}

# The words are put together here, so that this file does not contain them.
LEFT_OVER: Final = re.compile(r"\b(?:" + "|".join(("FIX" + "ME", "TO" + "DO", "X" * 3)) + r")\b")
REGISTRIES: Final = (
    "pypi" + ".org",
    "python" + "hosted.org",
    "ana" + "conda.org",
    "crates" + ".io",
)
# A slash right after a word belongs to a URL or to a path within the repository.
MACHINE_PATHS: Final = re.compile(r"(?<![\w.~-])/(?:home|root|work|Users)/\w|\.\./" + "shared")


def texts() -> Iterator[tuple[str, str]]:
    """Name and content of every tracked text file."""
    for path in tracked_files():
        content = path.read_bytes()
        if b"\0" not in content:
            yield name_of(path), content.decode("utf-8", errors="replace")


def functions(tree: ast.AST) -> Iterator[tuple[str, int, int]]:
    """Name, line and length in lines of every function, without its decorators."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            yield node.name, node.lineno, node.end_lineno - node.lineno + 1


def lines_with(pattern: re.Pattern[str]) -> list[str]:
    """Where the pattern occurs in any tracked text file, as `name:line: text`."""
    return [
        f"{name}:{number}: {line.strip()[:120]}"
        for name, text in texts()
        if pattern.search(text)
        for number, line in enumerate(text.splitlines(), start=1)
        if pattern.search(line)
    ]


def test_function_fits_a_screen() -> None:
    too_long = [
        f"{name_of(path)}:{line} {name} has {length} lines"
        for path in python_files(*FOLDERS)
        for name, line, length in functions(ast.parse(path.read_text(encoding="utf-8")))
        if length > FUNCTION_LINES_MAX
    ]
    assert too_long == []


def test_file_can_be_read_in_one_go() -> None:
    lengths = {
        name_of(path): len(path.read_text(encoding="utf-8").splitlines())
        for path in python_files(*FOLDERS)
    }
    assert {name: count for name, count in lengths.items() if count > FILE_LINES_MAX} == {}


def test_file_is_small_enough_to_keep() -> None:
    sizes = {name_of(path): path.stat().st_size for path in tracked_files()}
    assert {name: size for name, size in sizes.items() if size > FILE_BYTES_MAX} == {}


def test_module_is_named_for_what_it_is() -> None:
    names = {
        name_of(path): set(path.relative_to(ROOT).with_suffix("").parts)
        for path in python_files(*FOLDERS)
    }
    assert {name for name, parts in names.items() if parts & NAMES_WITHOUT_MEANING} == set()


def test_nothing_is_left_to_be_done_in_the_code() -> None:
    assert lines_with(LEFT_OVER) == []


def test_no_file_names_a_package_registry() -> None:
    assert lines_with(re.compile("|".join(map(re.escape, REGISTRIES)))) == []


def test_no_file_names_a_folder_of_somebodys_machine() -> None:
    assert lines_with(MACHINE_PATHS) == []


@pytest.mark.parametrize(
    ("text", "is_found"),
    [
        ("see /home" + "/ada/notes", True),
        ('"/wo' + 'rk/main"', True),
        ("../" + "shared/traces", True),
        ("https://example.org/home" + "/page", False),
        ("docs/work" + "/plan", False),
    ],
)
def test_folder_of_a_machine_is_told_from_other_paths(text: str, *, is_found: bool) -> None:
    assert bool(MACHINE_PATHS.search(text)) == is_found


def test_length_of_a_function_is_counted_without_its_decorators(tmp_path: Path) -> None:
    source = "@one\n@two\nasync def three() -> None:\n" + "    x = 1\n" * 5
    assert list(functions(ast.parse(source))) == [("three", 3, 6)]
