"""The end of the control socket that the node has.

Each connection carries one command. asyncio's stream server runs one task per connection, bounded in number;
they end with the server. The socket belongs to the user alone: it is 0600 before the first caller can connect.
It does not know what commands there are. A command that fails, whatever the reason, ends its own connection.
"""

import asyncio
import contextlib
import logging
import socket
import stat
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Final

from adapters.control.address import short_address
from adapters.control.error import RemoteCommandError
from adapters.control.frame import (
    Accepted,
    Answer,
    Done,
    Failed,
    Request,
    decode_request,
    encode_reply,
)
from domain.errors import (
    CulmError,
    DataDirectoryInUseError,
    NodeClosedError,
    StorageError,
    UsageError,
)
from domain.limits import (
    CONTROL_CONNECTIONS_MAX,
    CONTROL_REQUEST_BYTES_MAX,
    CONTROL_REQUEST_S_MAX,
)
from domain.ports.command import CommandHandler

logger = logging.getLogger(__name__)

_LINGER_S_MAX: Final = 1.0
_READ_BYTES: Final = 65_536


class ControlServer:
    """Listens for commands, as `start` and `close`, or as `run` until cancelled.

    Args:
        path: Where the socket shall be; its directory must exist.
        handler: Who carries out the commands.
        request_s_max: How long a caller may take to say what it wants.
    """

    def __init__(
        self,
        path: str | Path,
        handler: CommandHandler,
        *,
        request_s_max: float = CONTROL_REQUEST_S_MAX,
    ) -> None:
        self._path = Path(path)
        self._handler = handler
        self._request_s_max = request_s_max
        self._server: asyncio.Server | None = None
        self._inode = 0
        self._serving: set[asyncio.Task[object]] = set()

    async def start(self) -> None:
        """Begin to listen; a socket that a dead process left is replaced.

        Raises:
            DataDirectoryInUseError: Another process listens there.
            StorageError: The socket cannot be made.
        """
        try:
            listener = _listen(self._path)
        except OSError as error:
            raise StorageError(
                f"the control socket {self._path} cannot be made ({error.strerror})"
            ) from error
        self._inode = self._path.stat().st_ino
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(self._protocol, sock=listener)

    async def run(self) -> None:
        """Listen until cancelled; the socket is then gone.

        Raises:
            StorageError: The socket cannot be made.
        """
        try:
            if self._server is None:
                await self.start()
            await asyncio.get_running_loop().create_future()
        finally:
            await self.close()

    async def close(self) -> None:
        """Stop listening and cancel the commands that are being carried out. Calling it twice is allowed."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        for task in self._serving:
            task.cancel()
        with contextlib.suppress(FileNotFoundError):
            if self._path.stat().st_ino == self._inode:
                self._path.unlink()
        if self._serving:
            await asyncio.wait(self._serving)

    def _protocol(self) -> asyncio.StreamReaderProtocol:
        reader = _Reader()
        return asyncio.StreamReaderProtocol(reader, self._serve)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Take one request and carry it out."""
        task = asyncio.current_task()
        assert task is not None
        assert isinstance(reader, _Reader)
        count = len(self._serving)
        self._serving.add(task)
        try:
            if count < CONTROL_CONNECTIONS_MAX:
                await self._carry_out(reader, writer, task.cancel)
            elif count < 2 * CONTROL_CONNECTIONS_MAX:
                await self._refuse(reader, writer, UsageError("the node is busy: try again"))
        except ConnectionError:
            pass  # the caller has gone
        except asyncio.CancelledError:
            # The same, or the server stops; raised, Python 3.11 would log it as an error.
            if self._server is None:
                writer.write(_failed(NodeClosedError("the node was stopped before this was done")))
        finally:
            self._serving.discard(task)
            writer.close()

    async def _carry_out(
        self, reader: "_Reader", writer: asyncio.StreamWriter, cancel: Callable[[], object]
    ) -> None:
        try:
            request = await self._receive(reader)
        except UsageError as error:
            await self._refuse(reader, writer, error)
            return
        await asyncio.sleep(0)  # after a pause of ours the end may be there already, one read later
        if request is None or reader.at_eof():
            return
        reader.on_end = cancel
        writer.write(encode_reply(Accepted()))
        writer.write(await self._answer(request, writer))
        await writer.drain()

    async def _refuse(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, error: UsageError
    ) -> None:
        """Say why there is no answer, and give the caller the time to read it.

        A socket that is closed while something sent to it is unread takes what was said to its caller with it.
        """
        writer.write(_failed(error))
        await writer.drain()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(_LINGER_S_MAX, self._request_s_max)):
                while await reader.read(_READ_BYTES):
                    pass

    async def _receive(self, reader: asyncio.StreamReader) -> Request | None:
        """Read a request, or None if the caller went without one."""
        try:
            async with asyncio.timeout(self._request_s_max):
                line = await reader.readuntil(b"\n")
        except TimeoutError:
            raise UsageError("no request came on the control socket in time") from None
        except asyncio.LimitOverrunError:
            raise UsageError(
                f"a request on the control socket has at most {CONTROL_REQUEST_BYTES_MAX:,} bytes"
            ) from None
        except asyncio.IncompleteReadError as error:
            if not error.partial:
                return None
            raise UsageError("a request on the control socket ends with a line feed") from None
        return decode_request(line)

    async def _answer(self, request: Request, writer: asyncio.StreamWriter) -> bytes:
        """Carry out a command, sending its answers; the line that ends the conversation."""
        count = 0
        try:
            async with _closing(
                self._handler.handle(request.command, request.arguments)
            ) as answers:
                async for answer in answers:
                    writer.write(encode_reply(Answer(content=answer)))
                    await writer.drain()
                    count += 1
        except CulmError as error:
            return _failed(error)
        except ConnectionError:
            raise
        except Exception as error:
            logger.exception("control.command_broke", extra={"command": request.command[:64]})
            return _failed(
                RemoteCommandError(
                    type(error).__name__, "the node met an error of its own: see its log"
                )
            )
        return encode_reply(Done(answers=count))


class _Reader(asyncio.StreamReader):
    """A reader that tells when the other side has gone."""

    def __init__(self) -> None:
        super().__init__(limit=CONTROL_REQUEST_BYTES_MAX)
        self.on_end: Callable[[], object] | None = None

    def feed_eof(self) -> None:
        super().feed_eof()
        self._tell()

    def set_exception(self, exc: Exception) -> None:
        super().set_exception(exc)
        self._tell()

    def _tell(self) -> None:
        on_end, self.on_end = self.on_end, None
        if on_end is not None:
            on_end()


@contextlib.asynccontextmanager
async def _closing(
    answers: AsyncIterator[Mapping[str, object]],
) -> AsyncIterator[AsyncIterator[Mapping[str, object]]]:
    """Close the iterator of a command in any case: that is what cancels it."""
    try:
        yield answers
    finally:
        close = getattr(answers, "aclose", None)
        if close is not None:
            await close()


def _failed(error: CulmError) -> bytes:
    return encode_reply(Failed(error=error))


def _listen(path: Path) -> socket.socket:
    """Make the socket; nobody can connect before it is ours alone."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        with short_address(path) as address:
            _clear(path, address)
            listener.bind(address)
        path.chmod(0o600)
        listener.listen(CONTROL_CONNECTIONS_MAX)
        listener.setblocking(False)  # noqa: FBT003 - it is called so
    except BaseException:
        listener.close()
        raise
    return listener


def _clear(path: Path, address: str) -> None:
    """Remove the socket of a process that is dead.

    Raises:
        DataDirectoryInUseError: It is not dead.
        StorageError: There is something else.
    """
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise StorageError(
            f"{path} should be the control socket and is something else: move it away"
        )
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # noqa: FBT003 - as above
        try:
            probe.connect(address)
        except ConnectionRefusedError:
            path.unlink()
            return
        except BlockingIOError:
            pass  # somebody listens, and is busy
    raise DataDirectoryInUseError(f"another node answers at {path}: use that one, or end it first")
