"""The pytest plug-in for projects that build on culm: a simulated network of nodes as the fixture `culm_network`.

pytest finds it by its entry point; nothing of culm imports it, and it loads no engine before a test asks for the
fixture. An `async def` test that asks for it runs in virtual time, whatever other plug-ins do with async tests.
"""

import argparse
import inspect
from collections.abc import Generator, Sequence
from random import SystemRandom
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from node.simulation import NodeNetwork

FIXTURE: Final = "culm_network"
SEEDS_MAX: Final = 100_000
NETWORK: Final = pytest.StashKey["NodeNetwork"]()
ASYNC_TEST: Final = pytest.StashKey[object]()


def parse_seeds(text: str) -> Sequence[int]:
    """Read what `--culm-seed` takes: `7`, `1..20` (both included), or `random`."""
    if text == "random":
        return (SystemRandom().randrange(2**32),)
    first, dots, last = text.partition("..")
    try:
        seeds = range(int(first), int(last if dots else first) + 1)
    except ValueError:
        seeds = range(0)
    if not 0 < len(seeds) <= SEEDS_MAX:
        raise argparse.ArgumentTypeError(f"{text!r} is no seed: give 7, 1..20 or random")
    return seeds


def pytest_addoption(parser: pytest.Parser) -> None:
    """Offer `--culm-seed`."""
    parser.getgroup("culm").addoption(
        "--culm-seed",
        type=parse_seeds,
        default=(0,),
        metavar="SEED",
        help=f"seed of {FIXTURE}: a number (0 if not given), 1..20 to run each such test so often, or random",
    )


def seeds_of(config: pytest.Config) -> Sequence[int]:
    """What `--culm-seed` says."""
    seeds: Sequence[int] = config.getoption("culm_seed")
    return seeds


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test once for each of several seeds."""
    seeds = seeds_of(metafunc.config)
    if FIXTURE in metafunc.fixturenames and len(seeds) > 1:
        metafunc.parametrize(FIXTURE, seeds, indirect=True, ids=[f"seed{seed}" for seed in seeds])


@pytest.fixture
def culm_network(request: pytest.FixtureRequest) -> "NodeNetwork":
    """Give a simulated network of culm nodes in virtual time; see `node.simulation.NodeNetwork`."""
    from node.simulation import NodeNetwork  # noqa: PLC0415 - most tests that pytest runs do not need it

    network = NodeNetwork(getattr(request, "param", seeds_of(request.config)[0]))
    request.node.stash[NETWORK] = network
    return network


# -- Async tests --


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> None:
    """Remember an async test before another plug-in makes something else of it."""
    if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
        item.stash[ASYNC_TEST] = item.obj


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run an async test that has the fixture in virtual time."""
    network = pyfuncitem.stash.get(NETWORK, None)
    test = pyfuncitem.stash.get(ASYNC_TEST, None)
    if network is None or not callable(test):
        return None
    names = pyfuncitem._fixtureinfo.argnames  # noqa: SLF001 - as every plug-in that calls a test has to
    arguments = {name: pyfuncitem.funcargs[name] for name in names}
    network.run(lambda: test(**arguments))
    return True


# -- What a failure says --


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add to a failure what happened on the network, and how to have it again."""
    report = yield
    network = item.stash.get(NETWORK, None)
    if network is not None and report.failed:
        again = f"seed {network.seed}; the same again: pytest --culm-seed={network.seed}"
        report.sections.append(("culm network", f"{network.story()}\n{again}"))
    return report
