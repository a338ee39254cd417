"""What drives a node from outside: its control socket, and the mirrors of plain files."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from adapters.control.client import ControlClient
from adapters.control.error import NodeNotRunningError
from adapters.control.server import ControlServer
from adapters.files.events import MirrorEvent
from adapters.files.mirror import FileMirror
from adapters.system.environment import SystemClock
from domain.errors import CulmError
from domain.ports.command import CommandHandler
from domain.ports.mirror import TextReplica

CONTROL_FILE = "control"


def running_node(directory: Path) -> CommandHandler | None:
    """Give the way to the node that runs on a data directory; None where no node has left its control socket.

    If the node died there, commands fail: see `is_not_running`.
    """
    path = directory / CONTROL_FILE
    try:
        return ControlClient(path) if path.is_socket() else None
    except OSError:  # the directory is closed to us: opening it will say so
        return None


def is_not_running(error: CulmError) -> bool:
    """Whether a command failed because no node runs on the data directory."""
    return isinstance(error, NodeNotRunningError)


@asynccontextmanager
async def control_socket(directory: Path, handler: CommandHandler) -> AsyncIterator[None]:
    """Take commands on the control socket of a data directory in the block; at its end they are cancelled.

    Raises:
        StorageError: The socket cannot be made.
    """
    server = ControlServer(directory / CONTROL_FILE, handler)
    await server.start()
    try:
        yield
    finally:
        await server.close()


def file_mirror(  # noqa: PLR0913 - it passes on what the mirror takes
    path: Path,
    replica: TextReplica,
    *,
    base: str | None,
    save_base: Callable[[str], Awaitable[None]],
    on_event: Callable[[MirrorEvent], None],
    merge: bool,
    may_seed: bool,
) -> FileMirror:
    """Make the mirror of a file and a text; see `FileMirror`."""
    return FileMirror(
        str(path),
        replica,
        clock=SystemClock(),
        base=base,
        save_base=save_base,
        on_event=on_event,
        merge=merge,
        may_seed=may_seed,
    )
