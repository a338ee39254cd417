"""Sixteen ordered pairs of NAT boxes: all meet, and directly wherever that can be."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from adapters.simulation.internet.reproducible import reproducible_transport
from tests.adapters.simulation.internet.nat_lab import PAIRS, expected_path, meet


@pytest.fixture(autouse=True)
async def _reproducible(seed: int) -> AsyncIterator[None]:
    with reproducible_transport(seed, asyncio.get_running_loop().time):
        yield


@pytest.mark.parametrize(("a", "b"), PAIRS)
async def test_a_pair_meets(a: str, b: str, seed: int) -> None:
    result = await meet(seed, a, b)
    assert result.path == expected_path((a, b))
