import configparser
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.node.process import environment, running
from tests.tidy.repository import ROOT

EXAMPLES = ROOT / "examples"


def example(name: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / name)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=environment(PYTHONPATH=str(ROOT)),
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_embedded_example_ends_with_both_having_the_text() -> None:
    said_there = example("embedded.py")
    assert "Ben reads 'hello'" in said_there
    assert "now it reads 'hello world'" in said_there
    assert "Ben knows that Ada has it" in said_there


def test_headless_example_carries_a_text_between_two_who_never_meet() -> None:
    assert "the reader reads 'written while the reader was away'" in example("headless.py")


@pytest.fixture
def unit() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, strict=True)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(EXAMPLES / "culm.service")
    return parser


def test_unit_starts_a_command_that_there_is(
    unit: configparser.ConfigParser, tmp_path: Path
) -> None:
    assert unit["Service"]["Type"] == "notify"
    program, *words = unit["Service"]["ExecStart"].split()
    assert program.endswith("/culm")
    with running(tmp_path / "data", *words, "--json") as node:
        assert re.fullmatch(r"[0-9a-f]{64}", node.json()["peer"])
        assert node.stop(signal.SIGTERM) == 0


def test_unit_leaves_more_time_than_the_node_takes(unit: configparser.ConfigParser) -> None:
    assert int(unit["Service"]["TimeoutStopSec"]) > 5
