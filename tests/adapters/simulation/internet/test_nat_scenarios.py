"""Whatever happens to the ways between two nodes, the connection stays and no edit is lost."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from adapters.simulation.internet.reproducible import reproducible_transport
from tests.adapters.simulation.internet.nat_scenarios import RELAYED, SCENARIOS

STALL_S_MAX = 5.0
"""Where a second way exists."""
QUICK = ("rebind-both", "direct-blocked", "turn-restart", "udp-blocked")
OUTAGE_S = {"link-down-2s": 2.0, "link-down-20s": 20.0}


@pytest.fixture(autouse=True)
async def _reproducible(seed: int) -> AsyncIterator[None]:
    with reproducible_transport(seed, asyncio.get_running_loop().time):
        yield


@pytest.mark.parametrize(
    "name",
    [each if each in QUICK else pytest.param(each, marks=pytest.mark.slow) for each in SCENARIOS],
)
async def test_the_connection_stays_and_nothing_is_lost(name: str, seed: int) -> None:
    outcome = await SCENARIOS[name](seed)
    assert outcome.is_kept
    assert outcome.lost == 0
    assert outcome.stall_s <= STALL_S_MAX + OUTAGE_S.get(name, 0.0)
    assert outcome.paths[-1] == ("relayed" if name in RELAYED else "direct")
