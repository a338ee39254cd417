"""The documents tell the truth: their code runs, their commands exist, and so do the files that they name."""

import importlib.util
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from tests.tidy.documents import SHELL, Block, blocks, commands, run_python, shell_text
from tests.tidy.repository import ROOT, documents, name_of, python_files

RUN_S_MAX: Final = 110
LANGUAGES: Final = {"cddl", "console", "ini", "json", "mermaid", "python", "sh", "text", "toml"}
LINK: Final = re.compile(r"\]\((?!https?:|mailto:|#)(?P<target>[^)#\s]+)")
QUOTED: Final = re.compile(r"(?<!`)`(?P<text>[^`\n]+)`(?!`)")
FILE_NAME: Final = re.compile(r"[\w.*/-]+(?:/|\.(?:py|md|toml|json|lock|service))")
MODULE_NAME: Final = re.compile(r"(?:domain|adapters|node)(?:\.\w+)+")
MODULE: Final = [sys.executable, "-m", "node"]


def every_block() -> list[Block]:
    return [block for document in documents() for block in blocks(document)]


def clean_environment(home: Path) -> dict[str, str]:
    """What a reader has who has just made the environment: nothing configured, an empty home."""
    kept = ("LANG", "LC_ALL", "PATH", "SYSTEMROOT", "TMPDIR")
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    path = f"{Path(sys.executable).parent}{os.pathsep}{environment.get('PATH', os.defpath)}"
    plain = {"COLUMNS": "300", "NO_COLOR": "1", "TERM": "dumb", "PYTHONPATH": str(ROOT)}
    return environment | plain | {"HOME": str(home), "PATH": path}


def run(command: list[str], folder: Path, environment: Mapping[str, str] | None = None) -> str:
    """Run in that folder; returns what it wrote, and fails with it if the command fails."""
    done = subprocess.run(
        command,
        cwd=folder,
        env=environment or clean_environment(folder),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=RUN_S_MAX,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}"
    return done.stdout


@cache
def help_of(subcommand: str) -> str:
    """What `culm SUBCOMMAND --help` says; of `culm` itself for the empty string."""
    words = [subcommand] if subcommand else []
    return run([*MODULE, *words, "--help"], ROOT)


@cache
def make_targets() -> frozenset[str]:
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    return frozenset(re.findall(r"^([a-z-]+):", text, flags=re.MULTILINE))


def wrong_options(words: list[str]) -> list[str]:
    """The subcommand and the options of a culm command that its help does not know."""
    subcommand = next((word for word in words if not word.startswith("-")), "")
    said = help_of(subcommand)
    options = [word.split("=")[0] for word in words if word.startswith("-") and word != "-"]
    return [each for each in options if not re.search(rf"(?<![\w-]){re.escape(each)}\b", said)]


def check_command(words: list[str]) -> None:
    if words[:3] == ["python", "-m", "node"]:
        words = ["culm", *words[3:]]
    if words[0] == "make":
        assert {word for word in words[1:] if "=" not in word} <= make_targets()
    if words[0].rpartition("/")[2] == "culm":
        assert wrong_options(words[1:]) == [], " ".join(words)


@pytest.mark.parametrize(
    "name", ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"]
)
def test_document_exists(name: str) -> None:
    assert (ROOT / name).is_file()


def test_block_has_a_language_that_we_know() -> None:
    assert [b.place for b in every_block() if b.language not in LANGUAGES] == []


def test_block_that_is_not_run_says_why() -> None:
    pattern = re.compile(r"run|not run: \S.*")
    marked = [b for b in every_block() if b.comment.startswith(("run", "not"))]
    assert [b.place for b in marked if not pattern.fullmatch(b.comment)] == []


@pytest.mark.parametrize("document", documents(), ids=name_of)
def test_python_in_document_runs(document: Path, tmp_path: Path) -> None:
    if any(block.is_run and block.language == "python" for block in blocks(document)):
        runner = ROOT / "tests" / "tidy" / "documents.py"
        run([sys.executable, "-W", "error", str(runner), str(document)], tmp_path)


def test_data_in_documents_can_be_parsed() -> None:
    for block in every_block():
        if block.language == "toml":
            tomllib.loads(block.text)
        if block.language == "json":
            json.loads(block.text)


def test_commands_in_documents_exist() -> None:
    for block in every_block():
        for words in commands(block) if block.language in SHELL else ():
            check_command(words)


@pytest.mark.parametrize(
    "block",
    [block for block in every_block() if block.is_run and block.language in SHELL],
    ids=lambda block: f"{name_of(block.document)}:{block.line}",
)
def test_commands_marked_to_be_run_succeed(block: Block, tmp_path: Path) -> None:
    run(["bash", "-euo", "pipefail", "-c", shell_text(block)], tmp_path)


@pytest.mark.parametrize("example", python_files("examples"), ids=name_of)
def test_example_runs(example: Path, tmp_path: Path) -> None:
    run([sys.executable, "-W", "error", str(example)], tmp_path)


def test_links_between_documents_lead_somewhere() -> None:
    broken = [
        f"{name_of(document)}: {link['target']}"
        for document in documents()
        for link in LINK.finditer(document.read_text(encoding="utf-8"))
        if not (document.parent / link["target"]).exists()
    ]
    assert broken == []


def test_files_and_modules_named_in_architecture_exist() -> None:
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    quoted = [match["text"] for match in QUOTED.finditer(text)]
    files = [each for each in quoted if FILE_NAME.fullmatch(each)]
    assert [each for each in files if not any(ROOT.glob(each.rstrip("/")))] == []
    modules = [each for each in quoted if MODULE_NAME.fullmatch(each)]
    assert [each for each in modules if not is_module_or_attribute(each)] == []


def is_module_or_attribute(name: str) -> bool:
    """Whether the dotted name is a module, or something that its module defines."""
    parent, _, last = name.rpartition(".")
    path = ROOT / name.replace(".", "/")
    if path.is_dir() or path.with_suffix(".py").is_file():
        return True
    module = importlib.util.find_spec(parent)
    return (
        module is not None and bool(module.origin) and last in Path(str(module.origin)).read_text()
    )


# The runner itself, on a document made for it.

SAMPLE: Final = """\
# Sample

```python
import asyncio
value = 20
```

<!-- not run: it never ends -->
```python
while True: ...
```

1. In a list, with the names of above:

   ```python
   await asyncio.sleep(0)
   assert value == 20
   value += 1
   ```

<!-- run -->
```console
$ CULM_DATA=here culm create \\
    --json "meeting notes" > created && .venv/bin/culm documents
meeting notes
```
"""


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    path = tmp_path / "sample.md"
    path.write_text(SAMPLE)
    return path


def test_runner_finds_each_block_with_its_comment(sample: Path) -> None:
    found = [(block.line, block.language, block.comment) for block in blocks(sample)]
    assert found == [
        (3, "python", ""),
        (9, "python", "not run: it never ends"),
        (15, "python", ""),
        (22, "console", "run"),
    ]


def test_runner_runs_blocks_in_one_namespace(sample: Path) -> None:
    assert run_python(sample) == 2


def test_runner_names_the_line_of_the_document_that_fails(sample: Path) -> None:
    sample.write_text(SAMPLE.replace("value == 20", "value == 21"))
    with pytest.raises(AssertionError) as caught:
        run_python(sample)
    assert caught.traceback[-1].lineno == 16  # counted from 0
    assert Path(caught.traceback[-1].path) == sample


def test_runner_splits_a_line_into_its_commands(sample: Path) -> None:
    assert commands(blocks(sample)[3]) == [
        ["culm", "create", "--json", "meeting notes"],
        [".venv/bin/culm", "documents"],
    ]
