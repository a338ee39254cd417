"""A handler that answers as its arguments say."""

import asyncio
from collections.abc import AsyncGenerator, Mapping

from domain.errors import InviteError, OperationError, UnknownDocumentError, UsageError
from domain.ports.command import CommandHandler
from tests.contracts.command_handler import Command

ERRORS = {
    "unknown": UnknownDocumentError("there is no document abc: see `culm documents`"),
    "invite": InviteError("expired", "the invite ran out: ask for another one"),
    "operation": OperationError("bad-signature", "nobody signed it"),
}
REPEAT: Command = ("repeat", {"answer": {"text": "é😀\n", "list": [1, None]}, "count": 3})


class ScriptedHandler(CommandHandler):
    """Commands: `repeat` (`answer`, `count`), `fail` (`how`), `wait`, `be silent`, `break`, `size` (`bytes`)."""

    def __init__(self) -> None:
        self.running = 0
        self.begun = 0

    async def handle(
        self, command: str, arguments: Mapping[str, object]
    ) -> AsyncGenerator[Mapping[str, object], None]:
        self.running += 1
        self.begun += 1
        try:
            match command, dict(arguments):
                case "repeat", {"answer": dict(answer), "count": int(count), **rest} if not rest:
                    for _ in range(count):
                        yield answer
                case "fail", {"how": str(how)}:
                    yield {"before": "the error"}
                    raise ERRORS[how]
                case "wait", {}:
                    yield {"waiting": True}
                    await asyncio.get_running_loop().create_future()
                case "be silent", {}:
                    await asyncio.get_running_loop().create_future()
                case "break", {}:
                    raise ZeroDivisionError("a bug")
                case "size", {"bytes": int(size)}:
                    yield {"text": "x" * size}
                case "object", {}:
                    yield {"not json": object()}
                case _:
                    raise UsageError(f"no command {command!r} with these arguments")
        finally:
            self.running -= 1
