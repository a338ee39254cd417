"""The wheel, installed alone into an empty environment: an application's tests find the plug-in there."""

import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from typing import Final

import pytest

from tests.tidy.repository import ROOT, tracked_files

EXAMPLE: Final = ("shared_todo.py", "test_shared_todo.py")
OURS: Final = re.compile(r"(__editable__.*|_?culm.*|domain|adapters|node|__pycache__|.*\.pth)")
BUILT_FROM: Final = {"domain", "adapters", "node", "pyproject.toml", "README.md", "LICENSE"}


def run(*command: str | Path, folder: Path) -> str:
    done = subprocess.run(
        command,
        cwd=folder,
        env={"PATH": "", "HOME": str(folder), "PIP_NO_INPUT": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}"
    return done.stdout


def build_wheel(folder: Path) -> Path:
    """Build the wheel from a copy of what it is made of, without the network."""
    for file in tracked_files():
        name = file.relative_to(ROOT)
        if name.parts[0] in BUILT_FROM:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, folder / name)
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", folder=folder)
    (wheel,) = (folder / "dist").glob("culm-*.whl")
    return wheel


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an empty environment with the wheel, and with the locked dependencies by links."""
    folder = tmp_path_factory.mktemp("empty")
    (folder / "source").mkdir()
    wheel = build_wheel(folder / "source")
    venv.create(folder / "venv", with_pip=False, symlinks=True)
    paths = sysconfig.get_paths(vars={"base": str(folder / "venv")}, scheme="venv")
    packages = Path(paths["purelib"])
    for path in Path(sysconfig.get_paths()["purelib"]).iterdir():
        if not OURS.fullmatch(path.name):
            (packages / path.name).symlink_to(path)
    interpreter = folder / "venv" / "bin" / "python"
    offline = ("--no-deps", "--no-index", "--no-cache-dir", "--disable-pip-version-check")
    run(sys.executable, "-m", "pip", "--python", interpreter, "install", *offline, wheel, folder=folder)  # fmt: skip
    return interpreter


def test_wheel_brings_its_own_packages(python: Path, tmp_path: Path) -> None:
    code = "import domain, adapters, node; print(domain.__file__, adapters.__file__, node.__file__)"
    found = run(python, "-c", code, folder=tmp_path).split()
    assert [path for path in found if not Path(path).is_relative_to(python.parents[1])] == []


def test_command_of_the_wheel_runs(python: Path, tmp_path: Path) -> None:
    assert "culm" in run(python.parent / "culm", "--version", folder=tmp_path)


def test_example_is_tested_with_the_plugin_of_the_wheel(python: Path, tmp_path: Path) -> None:
    for name in EXAMPLE:
        shutil.copyfile(ROOT / "examples" / name, tmp_path / name)
    said = run(python, "-m", "pytest", "-W", "error", "-p", "no:asyncio", "-p", "no:cacheprovider",
               "--culm-seed=1..3", "-q", folder=tmp_path)  # fmt: skip
    assert "9 passed" in said, said


def test_nothing_but_pytest_needs_pytest(python: Path, tmp_path: Path) -> None:
    """Every module of the wheel but the plug-in can be imported where pytest is missing."""
    code = """
import pkgutil, sys
sys.modules["pytest"] = None
import adapters, domain, node
for package in (adapters, domain, node):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if module.name != "node.pytest_plugin" and "__main__" not in module.name and ".migrations." not in module.name:
            __import__(module.name)
"""
    run(python, "-W", "error", "-c", code, folder=tmp_path)
