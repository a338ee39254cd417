r"""What is said on the control socket: JSON objects, one per line, in UTF-8.

The caller sends one request, `{"command": "...", "arguments": {...}}`, and keeps the connection open. The node
says `{"accepted": {}}` at once, so that the caller knows that it lives, however long the command takes. It sends
`{"answer": {...}}` for each answer as soon as there is one, and at the end either
`{"result": {"answers": 2}}`, the number of answers, or `{"error": {"type": ..., "code": ..., "message": ...}}`.
Closing the connection before that cancels the command.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from adapters.control.error import describe, restore
from domain.errors import CulmError, NodeClosedError, UsageError
from domain.limits import CONTROL_ANSWER_BYTES_MAX, CONTROL_REQUEST_BYTES_MAX


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One command."""

    command: str
    arguments: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The node has read the request, and carries it out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer of a command that goes on."""

    content: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """The command was carried out; how many answers there were."""

    answers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The command failed."""

    error: CulmError


Reply = Accepted | Answer | Done | Failed


def encode_request(request: Request) -> bytes:
    """Write a request.

    Raises:
        UsageError: It is too long, or has something that JSON cannot say.
    """
    content = {"command": request.command, "arguments": dict(request.arguments)}
    return _line(content, CONTROL_REQUEST_BYTES_MAX)


def decode_request(line: bytes) -> Request:
    """Read a request.

    Raises:
        UsageError: It is not one.
    """
    match _object(line):
        case {"command": str(command), "arguments": dict(arguments), **rest} if not rest:
            return Request(command=command, arguments=arguments)
        case _:
            raise UsageError(
                'a request on the control socket is {"command": "...", "arguments": {...}}'
            )


def encode_reply(reply: Reply) -> bytes:
    """Write what the node says.

    Raises:
        UsageError: An answer is too long, or has something that JSON cannot say.
    """
    match reply:
        case Accepted():
            return _line({"accepted": {}}, CONTROL_ANSWER_BYTES_MAX)
        case Answer(content=content):
            return _line({"answer": dict(content)}, CONTROL_ANSWER_BYTES_MAX)
        case Done(answers=count):
            return _line({"result": {"answers": count}}, CONTROL_ANSWER_BYTES_MAX)
        case Failed(error=error):
            return _line({"error": describe(error)}, CONTROL_ANSWER_BYTES_MAX)


def decode_reply(line: bytes) -> Reply:
    """Read what the node says.

    Raises:
        NodeClosedError: It is nothing that a node says, or only a part.
    """
    try:
        content = _object(line)
    except UsageError:
        content = None
    match content:
        case {"accepted": dict()}:
            return Accepted()
        case {"answer": dict(answer)}:
            return Answer(content=answer)
        case {"result": {"answers": int(count)}}:
            return Done(answers=count)
        case {"error": dict(description)}:
            return Failed(error=restore(description))
        case _:
            raise NodeClosedError("the node ended in the middle of an answer: look at its log")


def _line(content: Mapping[str, object], bytes_max: int) -> bytes:
    try:
        line = json.dumps(content, allow_nan=False, separators=(",", ":")).encode("ascii") + b"\n"
    except (TypeError, ValueError, RecursionError) as error:
        raise UsageError(f"this cannot be sent through the control socket: {error}") from None
    if len(line) > bytes_max:
        raise UsageError(
            f"{len(line):,} bytes are more than the {bytes_max:,} that the control socket takes"
        )
    return line


def _object(line: bytes) -> object:
    try:
        return json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError):
        raise UsageError("what came on the control socket is not JSON in UTF-8") from None
