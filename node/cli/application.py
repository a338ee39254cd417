"""The commands of `culm`, as a person types them."""

import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final

import typer

import node.cli.keys
import node.cli.membership
import node.cli.reports  # noqa: F401 - its commands, as those of the one before
from domain.errors import UsageError
from node.cli.answering import (
    Answer,
    DocumentName,
    application,
    carry_out,
    dicts,
    follow,
    listed,
    shower,
    typed_invite,
)
from node.cli.failure import ExitCode, failures_reported
from node.cli.invocation import Invocation, command
from node.cli.output import answer, plain, say, say_json, short, table
from node.cli.pairing import show_invite
from node.cli.progress import Progress
from node.version import culm_version


def _say_version(is_wanted: bool) -> None:
    if is_wanted:
        answer(f"culm {culm_version()}")
        raise typer.Exit


@application.callback()
def start(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Say which version this is.", callback=_say_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Edit documents together, from peer to peer, with no server that can read them."""
    del version


UNITS_S: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}

Uses = Annotated[int, typer.Option("--uses", min=1, help="How many devices may join with it.")]
Expires = Annotated[
    str, typer.Option("--expires", metavar="TIME", help="For how long it holds: 90s, 30m, 24h, 7d.")
]
Merge = Annotated[
    bool, typer.Option("--merge", help="Keep the lines of both where file and document differ.")
]
Replace = Annotated[bool, typer.Option("--replace", help="Replace the file if there is one.")]


@command(application, "run", "culm run --listen 0.0.0.0:4711", is_server=True)
def run_node(invocation: Invocation) -> None:
    """Run the node until Ctrl-C: documents are kept equal with those of their other members.

    Other commands on the same data directory reach it while it runs. Under systemd use Type=notify.
    """
    from node.cli.execution import run, serve  # noqa: PLC0415 - loads the engines

    def show(status: Answer) -> None:
        answer(f"peer {status['peer']}")
        for address in listed(status["addresses"]):
            answer(f"listening on {address}")
        for document in listed(status["documents"]):
            assert isinstance(document, dict)
            answer(f"document {short(document['document'])} {plain(document['name'])}")
        say("running; Ctrl-C stops it")

    run(serve(invocation, shower(invocation, show)))


@command(application, "create", "culm create 'meeting notes'")
def create(
    invocation: Invocation,
    name: Annotated[str, typer.Argument(help="What to call it; joiners learn the name.")],
) -> None:
    """Found a document. Nobody else has it until you invite them."""
    show = shower(invocation, lambda given: answer(str(given["document"])))
    carry_out(invocation, "create", {"name": name}, show)


@command(application, "invite", "culm invite 'meeting notes' --role read --uses 3 --expires 7d")
def invite(  # noqa: PLR0913, PLR0917 - to typer each option is a parameter
    invocation: Invocation,
    document: DocumentName,
    role: Annotated[
        str, typer.Option("--role", metavar="pull|read|write|manage", help="What joiners may do.")
    ] = "write",
    uses: Uses = 1,
    expires: Expires = "24h",
    confirm: Annotated[
        bool, typer.Option("--confirm", help="Let nobody in before a code was compared.")
    ] = False,
    address: Annotated[
        list[str] | None,
        typer.Option("--address", metavar="HOST:PORT", help="Where joiners can dial this node."),
    ] = None,
) -> None:
    """Make an invite: one line, alone on stdout. Who has it can join: pass it on over a channel that you trust.

    This node, or that of another who manages the document, has to run (`culm run`) when somebody joins with it. On a
    terminal it shows as a QR code too. With --confirm a joiner waits for `culm confirm`.
    """
    arguments = {
        "document": document,
        "role": role,
        "uses": uses,
        "expires_s": _seconds(expires),
        "confirm": confirm,
        "addresses": address or None,
    }
    show = shower(invocation, show_invite)
    alone = "nobody can join with it until this node runs: culm run"
    carry_out(invocation, "invite", arguments, show, reach="network", alone=alone)


@command(application, "join", "culm join culm1... copy.md")
def join(
    invocation: Invocation,
    invite: Annotated[str, typer.Argument(help="The invite; - reads it from stdin.")],
    file: Annotated[
        Path | None,
        typer.Argument(help="Mirror the document to this file, until Ctrl-C.", show_default=False),
    ] = None,
    merge: Merge = False,
    timeout: Annotated[
        float, typer.Option("--timeout", min=0, help="Give up after so many silent seconds.")
    ] = 30.0,
) -> None:
    """Join a document with an invite, and wait until its content is here; with a FILE, keep both equal until Ctrl-C."""
    arguments: dict[str, object] = {
        "invite": typed_invite(invite),
        "timeout_s": timeout,
        "merge": merge,
    }
    with Progress("joining") as progress:
        if file is not None:
            arguments["path"] = str(file.absolute())
            follow(invocation, "join", arguments, _mirror_shower(invocation, progress))
            return

        def take(given: Answer) -> None:
            if "event" in given:
                progress.show(given)
                return
            progress.end()
            show = shower(invocation, lambda done: answer(str(done["document"])))
            show(given)
            say(f"joined {plain(str(given['name']))!r}")

        alone = "`culm run` keeps it up to date"
        carry_out(invocation, "join", arguments, take, reach="network", alone=alone)


@command(application, "share", "culm share notes.md")
def share(
    invocation: Invocation,
    file: Annotated[Path, typer.Argument(help="A plain text file in UTF-8.")],
    name: Annotated[
        str | None, typer.Option("--name", help="What to call the document: the file's name.")
    ] = None,
    merge: Merge = False,
    uses: Uses = 1,
    expires: Expires = "24h",
) -> None:
    """Share a plain file: print an invite, then keep file and document equal until Ctrl-C, whichever editor changes it.

    Sharing the same file again goes on with the same document, and takes in what was edited meanwhile.
    """
    arguments = {
        "path": str(file.absolute()),
        "name": name,
        "merge": merge,
        "uses": uses,
        "expires_s": _seconds(expires),
    }
    with Progress("opening") as progress:
        follow(invocation, "share", arguments, _mirror_shower(invocation, progress))


def _mirror_shower(invocation: Invocation, progress: Progress) -> Callable[[Answer], None]:
    def take(given: Answer) -> None:
        match given["event"]:
            case "waiting" | "joined" | "syncing":
                progress.show(given)
            case "mirroring":
                progress.end()
                _show_mirroring(invocation, given)
            case "failed":
                say(f"culm: {given['error']}")
            case "file-kept":
                say(
                    f"culm: {given['kept']} keeps what {given['path']} had and the document has not"
                )
            case "recovered":
                say("all is well again")
            case _ if invocation.configuration.log_level.value in ("info", "debug"):
                say(f"{given['event']} {given['path']} ({given['code_points']} characters)")

    return take


def _show_mirroring(invocation: Invocation, given: Answer) -> None:
    invite, name = given.get("invite"), plain(str(given["name"]))
    say(f"{given['path']} and the document {name!r} ({short(given['document'])}) are kept equal")
    if invite is not None:
        say("whoever has the line below can join once: culm join INVITE FILE")
    if invocation.wants_json:
        say_json(given)
    elif invite is not None:
        answer(str(invite))
    say("Ctrl-C ends it")


@command(application, "documents", "culm documents")
def documents(invocation: Invocation) -> None:
    """List the documents of this node."""

    def show(given: Answer) -> None:
        rows = [
            [str(each["document"]), str(each["role"] or "no member"), str(each["name"])]
            for each in dicts(given["documents"])
        ]
        answer(table(("ID", "ROLE", "NAME"), rows))
        for each in dicts(given["damaged"]):
            say(f"document {each['document']} cannot be opened: {each['reason']}")

    carry_out(invocation, "documents", {}, shower(invocation, show))


@command(application, "cat", "culm cat 'meeting notes'")
def cat(
    invocation: Invocation,
    document: DocumentName,
    root: Annotated[
        str | None, typer.Option("--root", metavar="NAME", help="Another root text than `body`.")
    ] = None,
) -> None:
    """Print the text of a document, as it is."""

    def show(given: Answer) -> None:
        sys.stdout.write(str(given["text"]))
        sys.stdout.flush()

    carry_out(invocation, "cat", {"document": document, "root": root}, shower(invocation, show))


@command(application, "watch", "culm watch --json | jq .event")
def watch(
    invocation: Invocation,
    document: Annotated[
        str | None, typer.Argument(metavar="DOCUMENT", help="Only this one.", show_default=False)
    ] = None,
) -> None:
    """Print what happens, a line each, until Ctrl-C."""

    def show(given: Answer) -> None:
        hidden = ("event", "name", "document")
        words = [str(given["event"])]
        if given.get("document") is not None:
            words.append(f"{short(given['document'])} {plain(str(given.get('name', '')))}".strip())
        words += [f"{key}={_brief(value)}" for key, value in given.items() if key not in hidden]
        answer(" ".join(words))

    follow(invocation, "watch", {"document": document}, shower(invocation, show))


@command(application, "export", "culm export 'meeting notes' notes.txt --format text")
def export(
    invocation: Invocation,
    document: DocumentName,
    file: Annotated[Path, typer.Argument(help="The file to write.")],
    format: Annotated[  # noqa: A002 - so it is called on the command line
        str, typer.Option("--format", metavar="update|text", help="A Yjs update (v1), or the text.")
    ] = "update",
    root: Annotated[
        str | None, typer.Option("--root", metavar="NAME", help="Another root text than `body`.")
    ] = None,
    replace: Replace = False,
) -> None:
    """Write a document to a file, for any program that reads Yjs updates or text."""
    arguments = {
        "document": document,
        "path": str(file.absolute()),
        "format": format,
        "root": root,
        "replace": replace,
    }
    show = shower(invocation, lambda given: answer(f"{given['bytes']} bytes in {given['path']}"))
    carry_out(invocation, "export", arguments, show)


@command(application, "import", "culm import notes.txt --name 'meeting notes'")
def import_file(
    invocation: Invocation,
    file: Annotated[Path, typer.Argument(help="A Yjs update (v1), or text in UTF-8.")],
    name: Annotated[
        str | None, typer.Option("--name", help="What to call the new document: the file's name.")
    ] = None,
    into: Annotated[
        str | None,
        typer.Option("--into", metavar="DOCUMENT", help="A document that there is already."),
    ] = None,
    format: Annotated[  # noqa: A002 - so it is called on the command line
        str | None, typer.Option("--format", metavar="update|text", help="Else it is guessed.")
    ] = None,
) -> None:
    """Make a document of a file. Into one that there is already, an update is merged, and a text replaces the text."""
    if name is not None and into is not None:
        raise UsageError(
            "--name is for a new document, --into for one that there is: give one of them"
        )
    arguments = {"path": str(file.absolute()), "name": name, "into": into, "format": format}
    show = shower(invocation, lambda given: answer(str(given["document"])))
    carry_out(invocation, "import", arguments, show)


@command(application, "backup", "culm backup ~/safe/culm.tar")
def backup(
    invocation: Invocation,
    file: Annotated[Path, typer.Argument(help="The archive to write, for you alone (0600).")],
    replace: Replace = False,
) -> None:
    r"""Copy everything that this node has to one archive, also while it runs.

    It contains the secrets of this device and of all documents: keep it where nobody else reads it.

    \b
    To restore, with no node running, unpack it into an empty data directory:
      mkdir -m 700 DIR && tar -xf ARCHIVE -C DIR

    Restore it only when the device is lost: two nodes with the same keys hurt each other. Files that were shared may
    be newer than the archive: `culm share` first gets from the others what the device lacks.
    """
    arguments = {"path": str(file.absolute()), "replace": replace}

    def show(given: Answer) -> None:
        answer(f"{given['bytes']} bytes in {given['path']}")
        say("it contains the secrets of this device and of its documents: keep it safe")

    carry_out(invocation, "backup", arguments, shower(invocation, show))


@command(application, "forget", "culm forget 'meeting notes'")
def forget(
    invocation: Invocation,
    document: DocumentName,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete a document from this device. Others keep it; edits that no other device has are lost."""
    if not yes:
        found: list[Answer] = []
        carry_out(invocation, "documents", {}, found.append)
        if not sys.stdin.isatty():
            raise UsageError("this deletes a document, and there is nobody to ask: add --yes")
        if not typer.confirm(f"Delete {document!r} from this device?", err=True):
            say("nothing was deleted")
            raise typer.Exit(ExitCode.FAILED)
    show = shower(invocation, lambda given: answer(str(given["document"])))
    carry_out(invocation, "forget", {"document": document}, show)


@command(application, "config", "culm config --json")
def config(invocation: Invocation) -> None:
    """Show every setting and where it comes from.

    A flag counts more than the environment (CULM_LISTEN, ...), that more than culm.toml in the data directory.
    """
    described = invocation.configuration.describe()
    if invocation.wants_json:
        say_json(described)
        return
    rows = [
        [name, setting["value"] or "", str(setting["origin"])]
        for name, setting in described.items()
    ]
    answer(table(("SETTING", "VALUE", "ORIGIN"), rows))


@application.command(
    "demo",
    add_help_option=False,
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
)
def demo(context: typer.Context) -> None:
    """Let several nodes on this machine edit one document, and check that they end equal."""
    from node.demo.command import demo as function  # noqa: PLC0415 - loads the engines

    inner = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    inner.command()(function)
    with failures_reported(wants_json="--json" in context.args, is_debug=False):
        inner(args=context.args, prog_name="culm demo")


def _seconds(text: str) -> float:
    """Read a time such as 30m.

    Raises:
        UsageError: It is something else.
    """
    match = re.fullmatch(r"([0-9]{1,9})([smhd])", text.strip())
    if match is None:
        raise UsageError(f"{text!r} is no time: 90s, 30m, 24h and 7d are")
    return float(int(match[1]) * UNITS_S[match[2]])


def _brief(value: object) -> str:
    text = plain(str(value))
    return short(text) if re.fullmatch(r"[0-9a-f]{64}", text) else text
