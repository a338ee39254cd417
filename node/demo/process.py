"""The parent's side of a worker process: requests out, answers and progress in."""

import asyncio
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Final, cast

from node.demo.line import DemoError, LineReader, Message, encode_line

STOP_S_MAX: Final = 10.0  # a node closes within 5 s
ERROR_BYTES_MAX: Final = 4_000  # of what a failing worker wrote is shown
ERROR_FD: Final = 2


class WorkerProcess(asyncio.SubprocessProtocol):
    """A worker process; made by `start_worker`."""

    def __init__(self) -> None:
        self.on_progress: Callable[[int], None] = lambda _: None
        self._reader = LineReader()
        self._waiting: deque[asyncio.Future[Message]] = deque()
        self._errors = bytearray()
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._failure: DemoError | None = None
        self.transport: asyncio.SubprocessTransport | None = None

    # -- What asyncio calls --

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self.transport = cast("asyncio.SubprocessTransport", transport)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        """Take answers, and the end of what it complains about."""
        if fd == ERROR_FD:
            self._errors = (self._errors + data)[-ERROR_BYTES_MAX:]
            return
        try:
            for message in self._reader.feed(data):
                self._take(message)
        except DemoError as error:
            self._fail(error)

    def _take(self, message: Message) -> None:
        if "progress" in message:
            self.on_progress(int(message["progress"]))
        elif self._waiting:
            waiting = self._waiting.popleft()
            if waiting.done():
                return
            if "failed" in message:
                waiting.set_exception(DemoError(f"a worker failed: {message['failed']}"))
            else:
                waiting.set_result(message["done"])

    def process_exited(self) -> None:
        """Note that it ended."""
        if not self._ended.done():
            self._ended.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Let nobody wait any longer."""
        text = self._errors.decode(errors="replace").strip()
        self._fail(DemoError(f"a worker process ended: {text or exc or 'it did not say why'}"))

    def _fail(self, error: DemoError) -> None:
        self._failure = self._failure or error
        while self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_exception(self._failure)

    # -- What the demonstration calls --

    def ask(self, action: str, **arguments: Any) -> "asyncio.Future[Message]":  # noqa: ANN401 - JSON
        """Ask for something; the answers come in the order of the requests.

        Raises:
            DemoError: (when awaited) The worker failed, or has ended.
        """
        answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        if self._failure is not None:
            answer.set_exception(self._failure)
            return answer
        self._waiting.append(answer)
        assert self.transport is not None
        pipe = cast("asyncio.WriteTransport", self.transport.get_pipe_transport(0))
        pipe.write(encode_line({"do": action, **arguments}))
        return answer

    async def kill(self) -> None:
        """End it without warning."""
        self._failure = self._failure or DemoError("the worker was killed")
        if self.transport is not None and self.transport.get_returncode() is None:
            self.transport.kill()
        await self._ended

    async def stop(self) -> None:
        """Let it close its node and end; kill it where it does not."""
        assert self.transport is not None
        pipe = self.transport.get_pipe_transport(0)
        if pipe is not None:
            pipe.close()
        try:
            async with asyncio.timeout(STOP_S_MAX):
                await asyncio.shield(self._ended)
        except TimeoutError:
            await self.kill()
        self.transport.close()


def start_worker(directory: Path) -> "AbstractAsyncContextManager[WorkerProcess]":
    """Run a worker over a data directory in the block."""
    return start_module("node.demo.worker", str(directory))


@asynccontextmanager
async def start_module(module: str, *arguments: str) -> AsyncIterator[WorkerProcess]:
    """Run a module that answers requests in a process of its own, in the block."""
    loop = asyncio.get_running_loop()
    _, worker = await loop.subprocess_exec(WorkerProcess, sys.executable, "-m", module, *arguments)
    try:
        yield worker
    finally:
        await asyncio.shield(worker.stop())


async def ask_all(workers: list[WorkerProcess], action: str, **arguments: Any) -> list[Message]:  # noqa: ANN401
    """Ask all workers for the same at once, and wait for all answers.

    Raises:
        DemoError: One of them failed.
    """
    answers = [worker.ask(action, **arguments) for worker in workers]
    return await all_of(answers)


async def all_of(answers: "list[asyncio.Future[Message]]") -> list[Message]:
    """Wait for all answers, and only then fail where one did.

    Raises:
        DemoError: One of the workers failed.
    """
    await asyncio.wait(answers)
    return [answer.result() for answer in answers]
