"""Carries out commands on a node, the same way whether they come through the control socket or from our own process."""

import difflib
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Final

from domain.errors import UsageError
from domain.ports.command import CommandHandler
from node.commands.arguments import Arguments
from node.commands.context import Answer, Command, CommandContext
from node.commands.document import cat, create, documents, forget, invite
from node.commands.exchange import backup, export, import_file
from node.commands.explaining import explain
from node.commands.membership import devices, leave, members, remove, revoke, set_role
from node.commands.mirroring import join, share
from node.commands.pairing import confirm, rotate, waiting
from node.commands.peer import doctor, peers, status
from node.commands.watch import watch
from node.node import Node
from node.shares import Shares

COMMANDS: Final[Mapping[str, tuple[Command, tuple[str, ...]]]] = {
    "create": (create, ("name",)),
    "invite": (invite, ("document", "role", "uses", "expires_s", "own", "confirm", "addresses")),
    "join": (join, ("invite", "path", "merge", "timeout_s")),
    "share": (share, ("path", "name", "merge", "uses", "expires_s")),
    "documents": (documents, ()),
    "cat": (cat, ("document", "root")),
    "watch": (watch, ("document",)),
    "members": (members, ("document",)),
    "devices": (devices, ("document", "name", "capabilities")),
    "role": (set_role, ("document", "member", "role")),
    "remove": (remove, ("document", "member")),
    "leave": (leave, ("document",)),
    "revoke": (revoke, ("document", "invite")),
    "confirm": (confirm, ("document", "code")),
    "waiting": (waiting, ("document",)),
    "rotate": (rotate, ("document",)),
    "peers": (peers, ()),
    "status": (status, ()),
    "doctor": (doctor, ()),
    "explain": (explain, ("document", "peer")),
    "export": (export, ("document", "path", "format", "root", "replace")),
    "import": (import_file, ("path", "name", "into", "format")),
    "backup": (backup, ("path", "replace")),
    "forget": (forget, ("document",)),
}
"""Each command with the names of its arguments."""


class NodeCommands(CommandHandler):
    """Carries out commands on a node.

    Args:
        node: The node.
        directory: Its data directory.
    """

    def __init__(self, node: Node, directory: Path) -> None:
        self._context = CommandContext(
            node=node, directory=directory, shares=Shares(directory), mirrored=set()
        )
        self.running = 0

    async def handle(
        self, command: str, arguments: Mapping[str, object]
    ) -> AsyncGenerator[Answer, None]:
        """Carry out one command; see the port. Paths are absolute: only the caller knows where it is."""
        if command not in COMMANDS:
            close = difflib.get_close_matches(command, COMMANDS, n=1)
            hint = f": did you mean {close[0]}?" if close else ""
            raise UsageError(f"there is no command {command[:64]!r}{hint}")
        carry_out, names = COMMANDS[command]
        given = Arguments(command, arguments, names)
        self.running += 1
        try:
            async with aclosing(carry_out(self._context, given)) as answers:
                async for answer in answers:
                    yield answer
        finally:
            self.running -= 1
