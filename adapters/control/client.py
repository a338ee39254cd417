"""The end of the control socket that the command line has.

It carries a command to the node of a data directory and its answers back, as if they were carried out here: the
client is a `CommandHandler` itself. It never starts a node.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Final

from adapters.control.address import short_address
from adapters.control.error import NodeNotAnsweringError, NodeNotRunningError
from adapters.control.frame import (
    Accepted,
    Answer,
    Done,
    Failed,
    Reply,
    Request,
    decode_reply,
    encode_request,
)
from domain.errors import NodeClosedError, StorageError
from domain.limits import (
    CONTROL_ACCEPT_S_MAX,
    CONTROL_ANSWER_BYTES_MAX,
    CONTROL_CONNECT_TRIES_MAX,
)
from domain.ports.command import CommandHandler

_CONNECT_RETRY_S: Final = 0.01


class ControlClient(CommandHandler):
    """Sends commands to the node whose control socket is at a path.

    Args:
        path: Where the socket is, if there is a node.
        accept_s_max: How long the node may take to say that it has read a command; how long it takes to carry it out
            has no bound.
    """

    def __init__(self, path: str | Path, *, accept_s_max: float = CONTROL_ACCEPT_S_MAX) -> None:
        self._path = Path(path)
        self._accept_s_max = accept_s_max

    async def handle(
        self, command: str, arguments: Mapping[str, object]
    ) -> AsyncGenerator[Mapping[str, object], None]:
        """Carry out one command in the node; see the port.

        Raises:
            NodeNotRunningError: No node runs on this data directory.
            NodeNotAnsweringError: The node does not take the command. Should it go on later, it finds the caller gone.
            NodeClosedError: The node ended before the command was done.
            RemoteCommandError: The command failed for a reason that has no type here.
            CulmError: The command failed.
        """
        line = encode_request(Request(command=command, arguments=arguments))
        reader, writer = await self._connect()
        try:
            reply = await self._hand_in(line, reader, writer)
            while True:
                match reply:
                    case Accepted():
                        pass
                    case Answer(content=content):
                        yield content
                    case Failed(error=error):
                        raise error
                    case Done():
                        return
                reply = decode_reply(await _read_line(reader))
        finally:
            writer.close()

    def request(
        self, command: str, arguments: Mapping[str, object]
    ) -> AsyncGenerator[Mapping[str, object], None]:
        """The same as `handle`, named as the caller sees it."""
        return self.handle(command, arguments)

    async def _hand_in(
        self, line: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> Reply:
        """Send a request, and wait for the first that the node says."""
        try:
            async with asyncio.timeout(self._accept_s_max):
                # A node that is full or closing may answer before it has read the request.
                with contextlib.suppress(ConnectionError):
                    writer.write(line)
                    await writer.drain()
                return decode_reply(await _read_line(reader))
        except TimeoutError:
            raise NodeNotAnsweringError(
                f"the node on {self._path.parent} has not taken the command for {self._accept_s_max:g} s: it is"
                " suspended, or hangs; let it go on (`kill -CONT`), or end it and start it again"
            ) from None

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            connection.setblocking(False)  # noqa: FBT003 - it is called so
            with short_address(self._path) as address:
                await _connect_to(connection, address)
            return await asyncio.open_unix_connection(
                sock=connection, limit=CONTROL_ANSWER_BYTES_MAX
            )
        except (FileNotFoundError, ConnectionRefusedError):
            connection.close()
            raise NodeNotRunningError(
                f"no node runs on {self._path.parent}: start one with `culm run`"
            ) from None
        except OSError as error:
            connection.close()
            raise StorageError(
                f"the control socket {self._path} cannot be used ({error.strerror})"
            ) from error
        except BaseException:
            connection.close()
            raise


async def _connect_to(connection: socket.socket, address: str) -> None:
    """Connect; a Unix-domain socket does so at once, or says that too many others are waiting."""
    for _ in range(CONTROL_CONNECT_TRIES_MAX):
        try:
            connection.connect(address)
        except BlockingIOError:
            await asyncio.sleep(_CONNECT_RETRY_S)
        else:
            return
    raise NodeClosedError("the node takes no commands now: try again")


async def _read_line(reader: asyncio.StreamReader) -> bytes:
    """Read a line of the node; nothing if it went away."""
    try:
        return await reader.readuntil(b"\n")
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
        return b""
