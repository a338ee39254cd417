"""The command of `culm` about the keys of the device: passphrase."""

import getpass
import sys
from typing import Annotated

import typer

from domain.errors import UsageError
from node.cli.answering import application
from node.cli.invocation import Invocation, command
from node.cli.output import answer, say_json


@command(application, "passphrase", "culm passphrase")
def passphrase(
    invocation: Invocation,
    remove: Annotated[
        bool, typer.Option("--remove", help="Lock the keys by nothing but the mode of their file.")
    ] = False,
) -> None:
    """Lock the keys of this device by a passphrase, another one, or none; no node may run meanwhile.

    Who steals the disk cannot use the keys then, nor read what is sealed under them: secrets of documents and
    snapshots. The log of operations is sealed in itself. The passphrase cannot be had again: without it the device is
    lost.

    A node that starts by itself finds the passphrase in the file that `passphrase_file` in culm.toml, or
    CULM_PASSPHRASE_FILE, names.
    """
    from node.wiring import system  # noqa: PLC0415 - loads the engines

    configuration = invocation.configuration
    if not sys.stdin.isatty():
        raise UsageError("a passphrase is typed at a terminal: run this in one")
    old = configuration.passphrase()
    if old is None and system.is_locked(configuration.directory):
        old = getpass.getpass("passphrase until now: ")
    new = None if remove else _new_passphrase()
    system.change_passphrase(configuration.directory, old=old, new=new)
    if invocation.wants_json:
        say_json({"locked": new is not None})
    else:
        answer("the keys are locked" if new is not None else "the keys are not locked any more")


def _new_passphrase() -> str:
    new = getpass.getpass("new passphrase: ")
    if not new:
        raise UsageError("a passphrase has at least one character; --remove does without")
    if getpass.getpass("the same again: ") != new:
        raise UsageError("the two passphrases differ: nothing was changed")
    return new
