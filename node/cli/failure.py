"""The one place that turns an error into an exit code and into words for people."""

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import Final

import typer

from domain.errors import (
    ConnectionLostError,
    CulmError,
    DialError,
    HandshakeError,
    IdentifierError,
    InviteError,
    NodeClosedError,
    NotPermittedError,
    StorageCorruptError,
    UnknownDocumentError,
    UnsavedEditsError,
    UpdateError,
    UsageError,
    WrongThreadError,
)
from node.cli.output import say, say_json


class ExitCode(IntEnum):
    """What the process says when it ends."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    NOT_REACHABLE = 3
    REFUSED = 4


CODES: Final[tuple[tuple[type[CulmError], ExitCode, str], ...]] = (
    (NotPermittedError, ExitCode.REFUSED, ""),
    (NodeClosedError, ExitCode.FAILED, ""),
    (WrongThreadError, ExitCode.FAILED, ""),
    (UnknownDocumentError, ExitCode.USAGE, ""),
    (UsageError, ExitCode.USAGE, ""),
    (IdentifierError, ExitCode.USAGE, "`culm documents` lists the ids"),
    (
        DialError,
        ExitCode.NOT_REACHABLE,
        "the other node has to run, and its address has to be reachable from here: see `culm peers`",
    ),
    (ConnectionLostError, ExitCode.NOT_REACHABLE, "try again"),
    (
        HandshakeError,
        ExitCode.REFUSED,
        "ask the other side for a new invite, and whether both use the same network id",
    ),
    (StorageCorruptError, ExitCode.FAILED, "put the data directory back from a backup"),
    (UnsavedEditsError, ExitCode.FAILED, ""),
    (UpdateError, ExitCode.FAILED, "the file is no Yjs update (v1) that this document can take in"),
)
"""The first line that fits counts; what fits none is `FAILED`. Third comes what to do, if the error does not say so."""

UNREACHABLE: Final = "unreachable"
MALFORMED: Final = "malformed"


def exit_code(error: CulmError) -> ExitCode:
    """Give the exit code of an error."""
    if isinstance(error, InviteError):
        codes = {UNREACHABLE: ExitCode.NOT_REACHABLE, MALFORMED: ExitCode.USAGE}
        return codes.get(error.reason, ExitCode.REFUSED)
    return next((code for kind, code, _ in CODES if isinstance(error, kind)), ExitCode.FAILED)


def hint(error: CulmError) -> str:
    """Say what to do about an error, where its own text does not."""
    return next((words for kind, _, words in CODES if isinstance(error, kind)), "")


@contextmanager
def failures_reported(*, wants_json: bool, is_debug: bool) -> Iterator[None]:
    """Turn whatever goes wrong in the block into a message and the end of the process."""
    try:
        yield
    except (typer.Exit, typer.Abort):
        raise
    except BrokenPipeError:
        sys.stderr.close()  # who read our output has gone; there is nobody to tell
        raise typer.Exit(ExitCode.FAILED) from None
    except Exception as raised:  # noqa: BLE001 - everything ends here, with a message
        if is_debug:
            traceback.print_exception(raised, file=sys.stderr)
        error = _single(raised)
        if isinstance(error, CulmError):
            code, text, todo = exit_code(error), str(error), hint(error)
        elif isinstance(error, OSError):
            code, text, todo = ExitCode.FAILED, str(error), ""
        else:
            code, text = ExitCode.FAILED, f"{type(error).__name__}: {error}"
            todo = (
                "this is an error of culm itself: run again with --debug and report what it prints"
            )
        say(f"culm: {text}" + (f"\n      {todo}" if todo else ""))
        if wants_json:
            say_error(type(error).__name__, text, code)
        raise typer.Exit(code) from None


def say_error(kind: str, text: str, code: int) -> None:
    """Give what went wrong as JSON."""
    say_json({"error": {"type": kind, "message": text, "exit_code": int(code)}})


def _single(error: BaseException) -> BaseException:
    """Give the first of a group of errors: the others only followed from it."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
