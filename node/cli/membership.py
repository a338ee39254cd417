"""The commands of `culm` about who may do what: members, devices, role, remove, leave, revoke and so on."""

import sys
from typing import Annotated

import typer

from domain.errors import UsageError
from node.cli.answering import (
    Answer,
    DocumentName,
    application,
    carry_out,
    dicts,
    listed,
    shower,
    typed_invite,
)
from node.cli.failure import ExitCode
from node.cli.invocation import Invocation, command
from node.cli.output import answer, plain, say, short, table

Member = Annotated[
    str,
    typer.Argument(
        metavar="PEER", help="A member: its peer id, or at least 4 digits that begin it."
    ),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


@command(application, "members", "culm members 'meeting notes'")
def members(invocation: Invocation, document: DocumentName) -> None:
    """List the devices that are members of a document: role, person, and which is this one."""

    def show(given: Answer) -> None:
        rows = [
            [
                str(each["peer"]),
                str(each["role"]),
                short(each["person"]),
                "this device" if each["is_own"] else "",
            ]
            for each in dicts(given["members"])
        ]
        answer(table(("PEER", "ROLE", "PERSON", ""), rows))

    carry_out(invocation, "members", {"document": document}, shower(invocation, show))


@command(application, "devices", "culm devices 'meeting notes' --name 'red laptop'")
def devices(
    invocation: Invocation,
    document: DocumentName,
    name: Annotated[
        str | None,
        typer.Option("--name", help="Call this device so in this document, for its readers."),
    ] = None,
    capabilities: Annotated[
        list[str] | None,
        typer.Option("--can", metavar="WORD", help="Say that this device can that; repeatable."),
    ] = None,
) -> None:
    """List the devices of a document by person, each with the name that it gave itself; --name names this one.

    Names are sealed like text. A device chooses its own, so trust the peer id, and not the name.
    """

    def show(given: Answer) -> None:
        rows = [
            [
                short(each["person"]),
                short(each["peer"]),
                plain(str(each["name"])),
                str(each["role"]),
                " ".join(map(str, listed(each["capabilities"]))),
                "this device" if each["is_own"] else "",
            ]
            for each in dicts(given["devices"])
        ]
        answer(table(("PERSON", "DEVICE", "NAME", "ROLE", "CAN", ""), rows))

    arguments = {"document": document, "name": name, "capabilities": capabilities or []}
    reach = "network" if name is not None or capabilities else "local"
    carry_out(invocation, "devices", arguments, shower(invocation, show), reach=reach)


@command(application, "role", "culm role 'meeting notes' 1f0c read")
def role(
    invocation: Invocation,
    document: DocumentName,
    member: Member,
    role: Annotated[str, typer.Argument(metavar="pull|read|write|manage", help="The new role.")],
) -> None:
    """Give a member another role; only who manages the document can.

    Each role may do what those before it may: pull stores and forwards what it cannot read, read reads, write edits,
    manage invites, removes and gives roles. What somebody who is demoted writes meanwhile counts no longer, unless this
    device has it.
    """
    arguments = {"document": document, "member": member, "role": role}
    show = shower(invocation, lambda given: answer(f"{short(given['peer'])} {given['role']}"))
    carry_out(invocation, "role", arguments, show, reach="network", alone=TOLD_LATER)


@command(application, "remove", "culm remove 'meeting notes' 1f0c")
def remove(
    invocation: Invocation, document: DocumentName, member: Member, yes: Yes = False
) -> None:
    """Remove a device from a document; only who manages it can, or another device of the same person.

    It keeps what it has, and gets nothing more. What it wrote that this device has not got yet counts no longer.
    """
    _ask(f"Remove the device {member} from {document!r}?", "this removes a device", yes=yes)
    show = shower(invocation, lambda given: answer(f"{short(given['peer'])} removed"))
    arguments = {"document": document, "member": member}
    carry_out(invocation, "remove", arguments, show, reach="network", alone=TOLD_LATER)


@command(application, "leave", "culm leave 'meeting notes'")
def leave(invocation: Invocation, document: DocumentName, yes: Yes = False) -> None:
    """Give up the membership of this device in a document. It keeps what it has; `culm forget` deletes that."""
    _ask(f"Leave {document!r}?", "this ends the membership of this device", yes=yes)
    show = shower(invocation, lambda given: answer(f"left {given['name']}"))
    carry_out(invocation, "leave", {"document": document}, show, reach="network", alone=TOLD_LATER)


@command(application, "revoke", "culm revoke 'meeting notes' culm1...")
def revoke(
    invocation: Invocation,
    document: DocumentName,
    invite: Annotated[str, typer.Argument(help="The invite; - reads it from stdin.")],
) -> None:
    """Take the power of an invite: nobody can join with it any more. Who has joined stays."""
    show = shower(invocation, lambda given: answer(f"{short(given['invite'])} revoked"))
    arguments = {"document": document, "invite": typed_invite(invite)}
    carry_out(invocation, "revoke", arguments, show, reach="network", alone=TOLD_LATER)


@command(application, "add-device", "culm add-device 'meeting notes'")
def add_device(
    invocation: Invocation,
    document: DocumentName,
    role: Annotated[
        str, typer.Option("--role", metavar="pull|read|write|manage", help="What it may do.")
    ] = "write",
) -> None:
    """Make an invite for another device of yours: one line, alone on stdout, good for a day and one device.

    Any member can, up to its own role. Devices of one person can remove each other, for when one is lost.
    """
    show = shower(invocation, lambda given: answer(str(given["invite"])))
    arguments = {"document": document, "role": role, "own": True}
    alone = "the device cannot join with it until this node runs: culm run"
    carry_out(invocation, "invite", arguments, show, reach="network", alone=alone)


TOLD_LATER = "the others hear of it when this node runs: culm run"


def _ask(question: str, consequence: str, *, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError(f"{consequence}, and there is nobody to ask: add --yes")
    if not typer.confirm(question, err=True):
        say("nothing was changed")
        raise typer.Exit(ExitCode.FAILED)
