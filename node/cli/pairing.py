"""The commands of `culm` about letting devices in and about secrets: confirm, waiting, rotate; how an invite shows."""

import io
import sys
from typing import Annotated

import typer

from node.cli.answering import Answer, DocumentName, application, carry_out, dicts, shower
from node.cli.invocation import Invocation, command
from node.cli.output import answer, say, short, table


@command(application, "confirm", "culm confirm 'meeting notes' 482 913")
def confirm(
    invocation: Invocation,
    document: DocumentName,
    code: Annotated[
        list[str], typer.Argument(metavar="CODE", help="The six digits that both sides see.")
    ],
) -> None:
    """Let in a device that joins by an invite made with --confirm.

    Ask its owner, by voice, which code the device shows, and type that one. `culm waiting` lists those that this node
    sees: let nobody in whose code its owner has not told you.
    """
    show = shower(
        invocation, lambda given: answer(f"{short(given['peer'])} is a member: {given['role']}")
    )
    arguments = {"document": document, "code": " ".join(code)}
    carry_out(invocation, "confirm", arguments, show, reach="network")


@command(application, "waiting", "culm waiting 'meeting notes'")
def waiting(invocation: Invocation, document: DocumentName) -> None:
    """List the devices that wait to be let into a document, each with the code to be compared."""

    def show(given: Answer) -> None:
        rows = [[str(each["code"]), str(each["peer"])] for each in dicts(given["waiting"])]
        answer(table(("CODE", "PEER"), rows))

    carry_out(invocation, "waiting", {"document": document}, shower(invocation, show))


@command(application, "rotate", "culm rotate 'meeting notes'")
def rotate(invocation: Invocation, document: DocumentName) -> None:
    """Make a new secret for what is written from now on, and give it to all members.

    Removing somebody does this by itself. It helps when a secret may have leaked; what was written before stays as
    readable as it was.
    """
    show = shower(invocation, lambda given: answer(str(given["document"])))
    alone = "the others get it when this node runs: culm run"
    carry_out(invocation, "rotate", {"document": document}, show, reach="network", alone=alone)


def show_invite(given: Answer) -> None:
    """Print an invite alone on its line; and as a picture to be scanned, if somebody looks at a terminal."""
    text = str(given["invite"])
    if sys.stderr.isatty():
        say(qr_code(text))
    answer(text)


def qr_code(text: str) -> str:
    """Draw a QR code of half blocks, two rows in a line."""
    import segno  # noqa: PLC0415 - a sixth of the time that each command takes to begin

    drawn = io.StringIO()
    segno.make_qr(text, error="l").terminal(drawn, border=2, compact=True)
    return drawn.getvalue()
