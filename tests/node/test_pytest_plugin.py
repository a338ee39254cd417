"""The pytest plug-in, used as an embedder would: by tests in a folder of their own."""

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from node.pytest_plugin import parse_seeds

ALONE: Final = ("-p", "no:asyncio")
SCOPE: Final = ("-o", "asyncio_default_fixture_loop_scope=function")
SAMPLE: Final = """
import asyncio
import sys

import pytest

assert "node.simulation" not in sys.modules, "loaded before a test asked for it"


@pytest.fixture
def hour():
    return 3600


async def test_async_test_runs_in_virtual_time(hour, culm_network):
    async with culm_network.node("alice"):
        await asyncio.sleep(hour / 2)
    assert asyncio.get_running_loop().time() >= hour / 2


class TestClass:
    async def test_method_is_run(self, culm_network):
        async with culm_network.node("alice") as node:
            assert node.peer_id


def test_plain_test_runs_a_scenario(culm_network):
    async def scenario():
        await asyncio.sleep(hours := 0.5)
        return hours

    assert culm_network.run(scenario) == 0.5


async def test_failing(culm_network):
    async with culm_network.node("alice"):
        await asyncio.sleep(7)
        culm_network.partition("alice")
        assert culm_network.seed == -1


def test_without_the_fixture():
    pass
"""


def run_pytest(folder: Path, *options: str) -> str:
    """Run the sample in a process of its own, and give what pytest says."""
    (folder / "test_sample.py").write_text(SAMPLE)
    (folder / "pytest.ini").write_text("[pytest]\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-W", "error", "-p", "no:cacheprovider", *options],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    "options",
    [ALONE, ("-o", "asyncio_mode=auto", *SCOPE), ("-o", "asyncio_mode=strict", *SCOPE)],
    ids=["without asyncio", "auto", "strict"],
)
def test_async_tests_run_whatever_other_plugins_do(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    said = run_pytest(tmp_path, *options)
    assert "1 failed, 4 passed" in said, said


def test_failure_says_seed_virtual_time_and_what_happened(tmp_path: Path) -> None:
    said = run_pytest(tmp_path, *ALONE, "--culm-seed=41..42", "-k", "failing or without")
    assert "2 failed, 1 passed" in said, said
    for seed in (41, 42):
        assert f"test_failing[seed{seed}]" in said
        assert f"seed {seed}, at 7." in said
        assert f"pytest --culm-seed={seed}" in said
    assert "7.0" in said.partition("partition: alice")[0].splitlines()[-1]


def test_seed_that_is_none_is_a_usage_error(tmp_path: Path) -> None:
    said = run_pytest(tmp_path, *ALONE, "--culm-seed=seven")
    assert "'seven' is no seed: give 7, 1..20 or random" in said


@pytest.mark.parametrize(
    ("text", "seeds"), [("7", [7]), ("1..3", [1, 2, 3]), ("-1", [-1]), ("4..4", [4])]
)
def test_seeds_are_read(text: str, seeds: list[int]) -> None:
    assert list(parse_seeds(text)) == seeds


def test_random_seed_is_one_seed() -> None:
    assert len(parse_seeds("random")) == 1


@pytest.mark.parametrize("text", ["", "x", "3..1", "1..", "..", "0..999999999999"])
def test_other_seeds_are_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        parse_seeds(text)
