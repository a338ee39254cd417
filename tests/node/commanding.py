"""Commands carried out by a node in this process, and what they answer."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from domain.errors import (
    CulmError,
)
from node import Node, NodeConfig
from node.commands.handler import NodeCommands
from tests.contracts.command_handler import WAIT_S, answers_of

CONFIG = NodeConfig(listen="127.0.0.1:0")


@asynccontextmanager
async def opened(directory: Path) -> AsyncIterator[NodeCommands]:
    async with Node.open(directory, CONFIG) as node:
        yield NodeCommands(node, directory)


async def done(commands: NodeCommands, command: str, **arguments: object) -> dict[str, Any]:
    """Carry out a command and give its last answer."""
    return dict((await answers_of(commands, (command, arguments)))[-1])


async def until(condition: Callable[[], object]) -> None:
    """Look again and again until it holds."""
    async with asyncio.timeout(WAIT_S):
        while not condition():  # noqa: ASYNC110 - files and states of the node tell nobody that they change
            await asyncio.sleep(0.01)


async def holding(path: Path, *words: str) -> None:
    """Wait until a file has these words."""
    await until(lambda: path.exists() and all(word in path.read_text() for word in words))


async def exhaust(answers: AsyncIterator[object]) -> None:
    async with asyncio.timeout(WAIT_S):
        async for _ in answers:
            pass


@asynccontextmanager
async def following(
    commands: NodeCommands, command: str, **arguments: object
) -> AsyncIterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
    """Carry out a command that goes on, in the background: its first answer, and all answers so far."""
    answers: list[dict[str, Any]] = []
    first: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()

    async def follow() -> None:
        try:
            async for answer in commands.handle(command, arguments):
                answers.append(dict(answer))
                if answer["event"] in ("mirroring", "watching"):
                    first.set_result(dict(answer))
        except CulmError as error:
            if first.done():
                raise
            first.set_exception(error)

    async with asyncio.TaskGroup() as group:
        task = group.create_task(follow())
        yield await asyncio.wait_for(first, WAIT_S), answers
        task.cancel()
