"""Changes of who may do what, or is what it was, made to members of a scenario while things go wrong around them."""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from copy import deepcopy
from typing import Final

from domain.errors import NodeClosedError, NotPermittedError, StorageError, UnsavedEditsError
from domain.identifiers import LogKey
from domain.operations.control import Role
from node import Document
from tests.simulation.edit import marks
from tests.simulation.member import Board, Member
from tests.simulation.options import Change, Options

CHANGE_S_MAX: Final = 5.0
AGAIN_S: Final = 0.5
PASSING: Final = (NodeClosedError, NotPermittedError, StorageError, UnsavedEditsError, TimeoutError)
"""What comes of faults around a change of membership; whether it has happened is then not known."""


class Changes:
    """Lets changes happen to the members of a scenario.

    A role changes only once everybody is in: whom a manager has admitted that is demoted meanwhile is out again.

    Args:
        options: The scenario.
        board: What members tell each other.
        members: The members by name; the first founded the document.
    """

    def __init__(self, options: Options, board: Board, members: Mapping[str, Member]) -> None:
        self._options = options
        self._board = board
        self._members = members
        self._founder = members[options.names[0]]

    async def make(self, change: Change) -> None:
        """Make one, if it can be made now; returns when all is as it has to be."""
        member = self._members[change.name]
        match change.kind:
            case "rotate":
                if (document := member.document) is not None:
                    with suppress(*PASSING):
                        async with asyncio.timeout(CHANGE_S_MAX):
                            await document.rotate()
            case "invite":
                await self._renew_invite()
            case "restore":
                await self._restore(member, change.lasts_s)
            case "manage":
                if (document := self._complete()) is not None:
                    await self._try_to_set(document, member, Role.MANAGE)
            case _:
                if (document := self._complete()) is not None:
                    await self._demote(document, member, change.lasts_s)

    def _complete(self) -> Document | None:
        """What the founder has open, if everybody is a member and writes."""
        document = self._founder.document
        if document is None:
            return None
        roles = document.members()
        names = self._options.names
        peers = [self._members[name].machine.key.peer for name in names[1:]]
        return document if all(roles.get(peer) == Role.WRITE for peer in peers) else None

    async def _renew_invite(self) -> None:
        document, old = self._founder.document, self._board.invite
        if document is None or old is None:
            return
        with suppress(*PASSING):
            async with asyncio.timeout(CHANGE_S_MAX):
                await self._founder.renew_invite(document)
                await document.revoke(old)

    async def _restore(self, member: Member, lasts_s: float) -> None:
        """Put the disk back to what it was: what nobody else has of what came since is gone, and nothing else."""
        if member.document is None:
            return
        kept, backup = set(member.acknowledged), deepcopy(member.machine.disk.content)
        before = _shown(member)
        await asyncio.sleep(lasts_s)
        if not member.is_up:
            return
        shown = _shown(member)
        await member.stop()
        others = [each for each in self._members.values() if each.document is not None]
        had = set().union(*map(_shown, others))
        member.forget_beyond(kept | had)
        # One of them may have been restored as well, and not yet been brought what it lost.
        for each in others:
            each.acknowledged -= shown - had - before
        member.machine.disk.content = backup
        member.start()

    @staticmethod
    async def _try_to_set(document: Document, member: Member, role: Role) -> bool:
        with suppress(*PASSING):
            async with asyncio.timeout(CHANGE_S_MAX):
                await document.set_role(member.machine.key.peer, role)
            return True
        return False

    async def _demote(self, document: Document, member: Member, lasts_s: float) -> None:
        member.begin_doubt(set(marks(document)))
        await self._try_to_set(document, member, Role.READ)
        await asyncio.sleep(lasts_s)
        heard = await self._promote(member)
        while not self._has_heard(member, heard):  # noqa: ASYNC110 - no event covers restarts
            await asyncio.sleep(AGAIN_S)
        member.end_doubt()

    async def _promote(self, member: Member) -> Mapping[LogKey, int]:
        """Let it write again; gives how far the logs of the founder go then."""
        while True:
            document = self._founder.document
            if document is not None and await self._try_to_set(document, member, Role.WRITE):
                own = document._owner.document.own_logs
                return {log: count for log, count in document.heights.items() if log in own}
            await asyncio.sleep(AGAIN_S)

    @staticmethod
    def _has_heard(member: Member, heard: Mapping[LogKey, int]) -> bool:
        """Whether a member knows all that, and writes in logs that count."""
        if member.document is None:
            return False
        document = member.document._owner.document
        heights = document.heights
        knows = all(log in heights and heights[log].count >= heard[log] for log in heard)
        return knows and document.may_write and not document.is_stranded


def _shown(member: Member) -> set[str]:
    """The edits that somebody has, as far as the document is open there."""
    return set(marks(member.document)) if member.document is not None else set()
