"""Everything in this folder runs in virtual time."""

import asyncio
from collections.abc import Callable, Mapping

import pytest

from adapters.simulation.loop import VirtualTimeLoop


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"virtual": VirtualTimeLoop}
