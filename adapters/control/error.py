"""Errors of commands that are carried out by another process, and their way through the socket.

An error of `domain.errors` arrives as what it was raised as, with its text and its code or reason; anything
else arrives as a `RemoteCommandError`.
"""

from collections.abc import Mapping
from typing import Final

from domain import errors
from domain.errors import (
    CodedError,
    ConnectionLostError,
    CulmError,
    HandshakeError,
    InviteError,
    PeerError,
)


class NodeNotRunningError(CulmError):
    """No node runs on this data directory."""


class NodeNotAnsweringError(CulmError):
    """There is a node on this data directory, and it does not take the command: it may be suspended, or hang."""


class RemoteCommandError(CulmError):
    """A command failed in the node for a reason that has no type here.

    Args:
        type_name: What was raised there.
        message: What was said there.
    """

    def __init__(self, type_name: str, message: str) -> None:
        super().__init__(message)
        self.type_name = type_name


_TYPES: Final = {
    name: kind
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, CulmError)
}


def describe(error: CulmError) -> dict[str, object]:
    """Write an error as a JSON object: `type`, `code` (or reason, or null) and `message`."""
    code = getattr(error, "code", None)
    name = error.type_name if isinstance(error, RemoteCommandError) else type(error).__name__
    return {
        "type": name,
        "code": error.reason if isinstance(error, InviteError) else code,
        "message": str(error),
    }


def restore(description: Mapping[str, object]) -> CulmError:
    """Read what `describe` wrote; whatever it is, the result is an error."""
    name, code = str(description.get("type", "")), description.get("code")
    message = str(description.get("message", ""))
    kind = _TYPES.get(name)
    if kind is None:
        return RemoteCommandError(name, message)
    # Made without its `__init__`, which would put the code into the text once more.
    error = kind.__new__(kind, message)
    if isinstance(error, CodedError):
        error.code = str(code)
        error.detail = message.removeprefix(error.code).removeprefix(": ")
    elif isinstance(error, InviteError):
        error.reason = str(code)
    elif isinstance(error, PeerError | HandshakeError | ConnectionLostError):
        error.code = code if isinstance(code, int) else 0
        if isinstance(error, ConnectionLostError):
            error.by_peer = False
    return error
