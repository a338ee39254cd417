"""What everything that carries out commands must pass, be it the node or a way to it."""

import asyncio
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager

import pytest

from domain.errors import CulmError, UsageError
from domain.ports.command import CommandHandler

WAIT_S = 10.0

Command = tuple[str, Mapping[str, object]]


async def answers_of(handler: CommandHandler, command: Command) -> list[Mapping[str, object]]:
    """Carry out a command to its end."""
    async with asyncio.timeout(WAIT_S):
        return [dict(answer) async for answer in handler.handle(*command)]


class CommandHandlerContract(ABC):
    """The laws of `CommandHandler`."""

    @abstractmethod
    def handler(self) -> AbstractAsyncContextManager[CommandHandler]:
        """Open a handler."""

    @abstractmethod
    def answered(self) -> Command:
        """A command that has answers, the same ones each time."""

    @abstractmethod
    def refused(self) -> tuple[Command, type[CulmError]]:
        """A command that fails, and how."""

    @abstractmethod
    def endless(self) -> Command:
        """A command that has an answer and then goes on until it is cancelled."""

    @abstractmethod
    async def until_idle(self) -> None:
        """Wait until no command is being carried out."""

    async def test_a_command_has_a_result(self) -> None:
        async with self.handler() as handler:
            assert await answers_of(handler, self.answered())

    async def test_answers_are_json_objects(self) -> None:
        async with self.handler() as handler:
            for answer in await answers_of(handler, self.answered()):
                assert json.loads(json.dumps(answer, allow_nan=False)) == answer

    async def test_a_failed_command_says_how(self) -> None:
        async with self.handler() as handler:
            command, kind = self.refused()
            with pytest.raises(kind) as caught:
                await answers_of(handler, command)
            assert type(caught.value) is kind
            assert str(caught.value)

    async def test_an_unknown_command_is_refused(self) -> None:
        async with self.handler() as handler:
            with pytest.raises(UsageError):
                await answers_of(handler, ("no such command", {}))

    async def test_unknown_arguments_are_refused(self) -> None:
        async with self.handler() as handler:
            with pytest.raises(UsageError):
                await answers_of(handler, (self.answered()[0], {"no such argument": 1}))

    async def test_a_failed_command_leaves_the_handler_in_order(self) -> None:
        async with self.handler() as handler:
            expected = await answers_of(handler, self.answered())
            command, kind = self.refused()
            with pytest.raises(kind):
                await answers_of(handler, command)
            assert await answers_of(handler, self.answered()) == expected

    async def test_closing_the_answers_early_cancels_the_command(self) -> None:
        async with self.handler() as handler:
            answers = handler.handle(*self.endless())
            async with asyncio.timeout(WAIT_S):
                await anext(answers)
                await answers.aclose()  # type: ignore[attr-defined]
                await self.until_idle()

    async def test_a_cancelled_caller_cancels_the_command(self) -> None:
        async with self.handler() as handler:
            answers = handler.handle(*self.endless())
            await anext(answers)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(answers), 0.01)
            async with asyncio.timeout(WAIT_S):
                await self.until_idle()

    async def test_commands_at_once_do_not_mix(self) -> None:
        async with self.handler() as handler:
            expected = await answers_of(handler, self.answered())
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(answers_of(handler, self.answered())) for _ in range(10)]
            assert all(task.result() == expected for task in tasks)
