"""What all tests share: Hypothesis profiles, the seed from which every random choice comes, and no secret in logs.

The seed is drawn anew for each run, so that the tests see other inputs every day, and printed, so that a failure can
be repeated: `CULM_TEST_SEED=<seed> make test`.
"""

import os
import random
import zlib
from collections.abc import Generator
from typing import Final

import pytest
from hypothesis import HealthCheck, settings

from tests.secrecy import SecrecyWatch

SEED_VARIABLE: Final = "CULM_TEST_SEED"
# A machine that others share stalls for seconds: neither a slow example nor a slow generator is a failure.
QUIET: Final = (HealthCheck.too_slow,)

WATCH: Final = SecrecyWatch()

settings.register_profile(
    "dev", max_examples=50, deadline=None, print_blob=True, suppress_health_check=QUIET
)
settings.register_profile(
    "ci",
    max_examples=100,
    deadline=None,
    print_blob=True,
    derandomize=False,
    database=None,
    suppress_health_check=QUIET,
)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Choose the profile and the seed, before Hypothesis reads its own option."""
    settings.load_profile("ci" if os.environ.get("CI") else "dev")
    given = os.environ.get(SEED_VARIABLE) or config.getoption("--hypothesis-seed")
    config.option.hypothesis_seed = given or str(random.SystemRandom().randrange(2**32))
    WATCH.install()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None]:
    """Fail a test during which a secret was logged."""
    WATCH.start()
    yield
    shown = WATCH.found()
    assert shown is None, f"a secret was logged: {shown}"


def pytest_report_header(config: pytest.Config) -> str:
    return how_to_repeat(config)


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config
) -> None:
    if exitstatus == pytest.ExitCode.TESTS_FAILED:
        terminalreporter.write_line(how_to_repeat(config))


def how_to_repeat(config: pytest.Config) -> str:
    return f"seed: {run_seed(config)} (the same again: {SEED_VARIABLE}={run_seed(config)})"


def run_seed(config: pytest.Config) -> str:
    return str(config.option.hypothesis_seed)


@pytest.fixture
def secrecy_watch() -> SecrecyWatch:
    """What watches over all that is logged."""
    return WATCH


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """A seed for this test alone, the same whichever tests run beside it."""
    text = f"{run_seed(request.config)} {request.node.nodeid}"
    value = zlib.crc32(text.encode())
    print(f"{request.node.nodeid}: seed {value}")  # shown where the test fails
    return value
