"""Sixteen ordered pairs of NAT boxes: all meet, and directly wherever that can be.

`CULM_TEST_MEETINGS=100` lets each pair meet so often, with another seed each time.
"""

import asyncio
import os
from collections.abc import AsyncIterator

import pytest

from adapters.simulation.internet.reproducible import reproducible_transport
from tests.adapters.simulation.internet.nat_lab import PAIRS, expected_path, meet

MEETINGS = int(os.environ.get("CULM_TEST_MEETINGS", "1"))


@pytest.fixture(autouse=True)
async def _reproducible(seed: int) -> AsyncIterator[None]:
    with reproducible_transport(seed, asyncio.get_running_loop().time):
        yield


@pytest.mark.parametrize(("a", "b"), PAIRS)
async def test_a_pair_meets(a: str, b: str, seed: int) -> None:
    for number in range(MEETINGS):
        each = seed + 1_000_003 * number  # far from the seeds of the next run
        result = await meet(each, a, b)
        assert result.path == expected_path((a, b)), f"seed {each}"
