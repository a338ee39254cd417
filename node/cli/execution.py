"""Carries out commands: by the node that runs on the data directory, else by one that is opened for the command.

Loaded only by commands that need a node. Signals end a command in good order: edits are on disk and peers are told
before the process ends, within 5 s.
"""

import asyncio
import dataclasses
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import aclosing, asynccontextmanager
from enum import Enum
from pathlib import Path
from typing import Any, Final, cast

from domain.errors import CulmError, DataDirectoryInUseError
from domain.ports.command import CommandHandler
from node.cli.invocation import Invocation
from node.cli.output import say
from node.cli.prompt import ask_passphrase
from node.cli.readiness import notify
from node.commands.handler import NodeCommands
from node.config import NodeConfig
from node.node import Node
from node.wiring.drivers import control_socket, is_not_running, running_node
from node.wiring.system import is_locked

STOP_S_MAX: Final = 4.8
BUSY_S_MAX: Final = 5.0
RETRY_S: Final = 0.05

Answer = Mapping[str, object]


class Reach(Enum):
    """What a command needs of a node that is opened for it."""

    LOCAL = "local"
    """Nothing but the data directory: it listens where nobody else can reach it."""
    NETWORK = "network"
    """Peers."""
    FOREGROUND = "foreground"
    """Peers, and other commands can be given meanwhile."""


class Stopped(Exception):  # noqa: N818 - it is no error
    """A signal ended the command."""


def run(work: Coroutine[Any, Any, None]) -> bool:
    """Run a command to its end; False where a signal ended it."""
    try:
        asyncio.run(_until_stopped(work))
    except Stopped:
        return False
    return True


async def _until_stopped(work: Coroutine[Any, Any, None]) -> None:
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    is_stopped = False

    def stop() -> None:
        nonlocal is_stopped
        if not is_stopped:
            is_stopped = True
            task.cancel()
            loop.call_later(STOP_S_MAX, _give_up)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop)
    try:
        await work
    except asyncio.CancelledError:
        if not is_stopped:
            raise
        raise Stopped from None


def _give_up() -> None:
    """End the process where closing takes too long; what is on disk is sound."""
    say("culm: closing takes too long: some edits may not be on disk")
    os._exit(1)


async def carry_out(
    invocation: Invocation,
    command: str,
    arguments: Mapping[str, object],
    take: Callable[[Answer], None],
    *,
    reach: Reach = Reach.LOCAL,
    alone: str = "",
) -> None:
    """Carry out a command, handing over each answer.

    Args:
        invocation: How it was typed.
        command: Its name.
        arguments: Its arguments; those that are None are left out.
        take: Is given each answer.
        reach: What it needs of a node that is opened for it.
        alone: Said at the end if no node was running.

    Raises:
        CulmError: It failed.
    """
    given = {name: value for name, value in arguments.items() if value is not None}

    async def ask(node: CommandHandler) -> None:
        if invocation.configuration.listen.origin.startswith("flag"):
            say("culm: a node runs already on this data directory: --listen has no effect")
        await _answers(node.handle(command, given), take)

    async def do() -> None:
        async with open_node(invocation, reach) as (_, handler):
            await _answers(handler.handle(command, given), take)
        if alone:
            say(alone)

    await _ask_or_do(invocation.configuration.directory, ask, do)


async def _ask_or_do(
    directory: Path,
    ask: Callable[[CommandHandler], Awaitable[None]],
    do: Callable[[], Awaitable[None]],
) -> None:
    """Ask the running node, or open one; a data directory that another command has for a moment is waited for."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + BUSY_S_MAX
    while True:
        node = running_node(directory)
        if node is not None:
            try:
                await ask(node)
            except CulmError as error:
                if not is_not_running(error):
                    raise
            else:
                return
        try:
            await do()
        except DataDirectoryInUseError:
            if loop.time() >= deadline:
                raise
        else:
            return
        await asyncio.sleep(RETRY_S)


async def _answers(answers: AsyncIterator[Answer], take: Callable[[Answer], None]) -> None:
    async with aclosing(cast("Any", answers)):
        async for answer in answers:
            take(answer)


@asynccontextmanager
async def open_node(
    invocation: Invocation, reach: Reach
) -> AsyncIterator[tuple[Node, NodeCommands]]:
    """Open the node of the data directory, with its control socket if it is there to stay."""
    configuration = invocation.configuration
    config = configuration.node_config(is_local=reach is Reach.LOCAL)
    directory = configuration.directory
    config = await _unlocked(directory, config)
    async with Node.open(directory, config) as node:
        handler = NodeCommands(node, directory)
        if reach is not Reach.FOREGROUND:
            yield node, handler
            return
        async with control_socket(directory, handler):
            yield node, handler


async def _unlocked(directory: Path, config: NodeConfig) -> NodeConfig:
    """Ask for the passphrase where the keys are locked, none is configured, and somebody sits at a terminal."""
    if config.passphrase is not None or not sys.stdin.isatty() or not is_locked(directory):
        return config
    passphrase = await ask_passphrase("passphrase of this device: ")
    return dataclasses.replace(config, passphrase=passphrase)


async def serve(invocation: Invocation, take_ready: Callable[[Answer], None]) -> None:
    """Run the node until a signal comes.

    Args:
        invocation: The command.
        take_ready: Is given its status once it listens and takes commands.
    """
    directory = invocation.configuration.directory

    async def ask(node: CommandHandler) -> None:
        await _answers(node.handle("status", {}), lambda _: None)
        raise DataDirectoryInUseError(
            f"a node runs on {directory} already: use that one, or choose another data directory"
        )

    async def do() -> None:
        async with open_node(invocation, Reach.FOREGROUND) as (_, handler):
            await _answers(handler.handle("status", {}), take_ready)
            notify("READY=1")
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                notify("STOPPING=1")

    await _ask_or_do(directory, ask, do)
