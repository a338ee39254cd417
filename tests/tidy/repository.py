"""Where the files of this repository are: those that git tracks or would track, without what can be made again."""

import subprocess
from functools import cache
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
PACKAGES: Final = ("domain", "adapters", "node")
FOLDERS: Final = (*PACKAGES, "tests", "scripts", "examples")


@cache
def tracked_files() -> tuple[Path, ...]:
    """Every file of the repository, new ones included; in a copy without git, every file that is not hidden."""
    if (ROOT / ".git").exists():
        command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        output = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True)
        files = {ROOT / name for name in output.stdout.split("\0") if name}
    else:
        visible = (path for path in ROOT.iterdir() if not path.name.startswith("."))
        files = {file for path in visible for file in (path, *path.rglob("*"))}
        files = {file for file in files if "__pycache__" not in file.parts}
    return tuple(sorted(file for file in files if file.is_file() and not file.is_symlink()))


def python_files(*folders: str) -> list[Path]:
    """The Python files under these folders of the root."""
    return [
        path
        for path in tracked_files()
        if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in folders
    ]


def documents() -> list[Path]:
    """The Markdown documents of the root and of docs."""
    return [
        path
        for path in tracked_files()
        if path.suffix == ".md" and path.relative_to(ROOT).parts[0] in {path.name, "docs"}
    ]


def name_of(path: Path) -> str:
    """The path as people write it, from the root."""
    return path.relative_to(ROOT).as_posix()
