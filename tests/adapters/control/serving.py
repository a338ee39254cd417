"""A control server at work, and waiting for what it does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from adapters.control.server import ControlServer
from domain.ports.command import CommandHandler
from tests.adapters.control.scripted import ScriptedHandler

WAIT_S = 10.0


async def until_idle(handler: ScriptedHandler) -> None:
    async with asyncio.timeout(WAIT_S):
        while handler.running:  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0.001)


@asynccontextmanager
async def serving(
    path: Path, handler: CommandHandler, *, request_s_max: float = WAIT_S
) -> AsyncIterator[ControlServer]:
    server = ControlServer(path, handler, request_s_max=request_s_max)
    await server.start()
    try:
        yield server
    finally:
        await server.close()


def exists(path: Path) -> bool:
    return path.exists()


def mode_of(path: Path) -> int:
    return path.stat().st_mode
