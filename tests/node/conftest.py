"""Two nodes that take commands."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from node.commands.handler import NodeCommands
from tests.node.commanding import opened


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[NodeCommands]:
    async with opened(tmp_path / "here") as commands:
        yield commands


@pytest.fixture
async def there(tmp_path: Path) -> AsyncIterator[NodeCommands]:
    async with opened(tmp_path / "there") as commands:
        yield commands
