from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from adapters.control.client import ControlClient
from domain.errors import CulmError, UnknownDocumentError
from domain.ports.command import CommandHandler
from tests.adapters.control.scripted import REPEAT, ScriptedHandler
from tests.adapters.control.serving import serving, until_idle
from tests.contracts.command_handler import Command, CommandHandlerContract


class TestScriptedHandler(CommandHandlerContract):
    @pytest.fixture(autouse=True)
    def _handler(self) -> None:
        self.scripted = ScriptedHandler()

    @asynccontextmanager
    async def handler(self) -> AsyncIterator[CommandHandler]:
        yield self.scripted

    def answered(self) -> Command:
        return REPEAT

    def refused(self) -> tuple[Command, type[CulmError]]:
        return ("fail", {"how": "unknown"}), UnknownDocumentError

    def endless(self) -> Command:
        return "wait", {}

    async def until_idle(self) -> None:
        await until_idle(self.scripted)


class TestControlClient(TestScriptedHandler):
    @pytest.fixture(autouse=True)
    def _directory(self, tmp_path: Path) -> None:
        self.path = tmp_path / "control.sock"

    @asynccontextmanager
    async def handler(self) -> AsyncIterator[CommandHandler]:
        async with serving(self.path, self.scripted):
            yield ControlClient(self.path)
