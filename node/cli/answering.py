"""What all commands of the command line share: the application, and how an answer is waited for and shown."""

import sys
from collections.abc import Callable, Mapping, Sequence
from io import TextIOWrapper
from typing import Annotated, Final, NoReturn

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from domain.errors import InviteError
from domain.limits import INVITE_TEXT_BYTES_MAX
from node.cli.failure import ExitCode, say_error
from node.cli.invocation import Invocation
from node.cli.output import say, say_json

ORDER: Final = (
    *("run", "create", "invite", "join", "share", "documents", "cat", "watch"),
    *("peers", "status", "explain", "doctor"),
    *("members", "role", "remove", "leave", "revoke", "rotate", "add-device", "waiting", "confirm"),
    *("export", "import", "backup", "forget", "passphrase", "config", "demo"),
)
"""How the help lists the commands: as one meets them. Those that are not here come last."""


class OrderedGroup(TyperGroup):
    """Lists its commands in `ORDER`, whichever module declares them."""

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        """Give the names of the commands."""
        names = list(super().list_commands(ctx))
        return sorted(names, key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))


application = typer.Typer(
    cls=OrderedGroup,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Answer = Mapping[str, object]
DocumentName = Annotated[
    str, typer.Argument(metavar="DOCUMENT", help="Its name, its id, or the first digits of that.")
]


def run_application(arguments: Sequence[str]) -> NoReturn:
    """Run the command that was typed, and leave the process with its exit code."""
    if isinstance(sys.stdout, TextIOWrapper):
        # A name may need more than the terminal has.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        code = _run(arguments)
    except OSError as error:
        say(f"culm: the answer cannot be written: {error.strerror}")
        code = ExitCode.FAILED
    sys.exit(code)


def _run(arguments: Sequence[str]) -> int:
    try:
        code = application(list(arguments), prog_name="culm", standalone_mode=False)
    except TyperException as error:
        # What was typed is no command of ours: such errors can show themselves.
        error.show()  # type: ignore[attr-defined]
        if "--json" in arguments:
            say_error("UsageError", error.format_message(), error.exit_code)
        return error.exit_code
    except typer.Abort:
        say("culm: nothing was done")
        return ExitCode.FAILED
    return code if isinstance(code, int) else ExitCode.DONE


def carry_out(
    invocation: Invocation,
    name: str,
    arguments: Mapping[str, object],
    take: Callable[[Answer], None],
    *,
    reach: str = "local",
    alone: str = "",
) -> None:
    """Carry out a command that has an end."""
    from node.cli import execution  # noqa: PLC0415 - loads the engines

    done = execution.carry_out(
        invocation, name, arguments, take, reach=execution.Reach(reach), alone=alone
    )
    if not execution.run(done):
        say("culm: stopped before it was done")
        if invocation.wants_json:
            say_error("Stopped", "stopped before it was done", ExitCode.FAILED)
        raise typer.Exit(ExitCode.FAILED)


def follow(
    invocation: Invocation,
    name: str,
    arguments: Mapping[str, object],
    take: Callable[[Answer], None],
) -> None:
    """Carry out a command that goes on until a signal ends it."""
    from node.cli import execution  # noqa: PLC0415 - loads the engines

    reach = execution.Reach.FOREGROUND
    execution.run(execution.carry_out(invocation, name, arguments, take, reach=reach))


def shower(invocation: Invocation, show: Callable[[Answer], None]) -> Callable[[Answer], None]:
    """Show the one answer of a command, as JSON if that is wanted."""
    return say_json if invocation.wants_json else show


def typed_invite(text: str) -> str:
    """Give the invite that was typed; `-` reads a line of stdin, as far as an invite can be long.

    Raises:
        InviteError: There is no text.
    """
    if text != "-":
        return text.strip()
    try:
        return sys.stdin.readline(2 * INVITE_TEXT_BYTES_MAX).strip()
    except UnicodeDecodeError:
        raise InviteError("malformed", "this is no invite: it is no text") from None


def listed(value: object) -> list[object]:
    """Give a list of an answer; an empty one for anything else."""
    return value if isinstance(value, list) else []


def dicts(value: object) -> list[dict[str, object]]:
    """Give the objects of a list of an answer."""
    return [each for each in listed(value) if isinstance(each, dict)]
