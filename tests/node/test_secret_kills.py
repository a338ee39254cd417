"""A process that is killed with SIGKILL while it renews secrets, lets somebody in or is let in: nobody is locked out.

The full measure is two hundred kills: `CULM_TEST_KILLS=200 make test ARGS=tests/node/test_secret_kills.py`.
"""

import asyncio
import os
import time
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest

from domain.errors import InviteError, NetworkError
from domain.events import Event, OperationRefused, SecurityEvent
from node import Document, Node
from tests.node.rotator import rotate
from tests.node.writer import LOOPBACK

KILLS: Final = int(os.environ.get("CULM_TEST_KILLS", "8"))
ROUND_S_FIRST: Final = 0.05
JOIN_S_FIRST: Final = 0.2
ADMIT_S: Final = 2.0
BEYOND: Final = 1.3  # kills come at any moment of a round, and a little after it
ROUNDS_BEFORE_MAX: Final = 2
GUEST_EVERY: Final = 3
WAIT_S: Final = 60.0

CONTEXT: Final = get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.node.rotator"])


class Victim:
    """A member that is killed again and again.

    Args:
        path: Its data directory.
        invite: Lets it in.
        chance: When it is killed.
    """

    def __init__(self, path: Path, invite: str, chance: Random) -> None:
        self.inside = 0
        """How often it was killed before a round was done."""
        self.joining = 0
        """How often it was killed before it was let in, or had come up."""
        self.held = 0
        """How many secrets it said that it holds."""
        self.words: set[str] = set()
        """What it was told is on disk."""
        self._path = path
        self._invite = invite
        self._chance = chance
        self._next = 0
        self._join_s = JOIN_S_FIRST
        self._round_s = ROUND_S_FIRST

    async def live_and_die(self, guest: "Guest | None") -> None:
        """Run it, let it admit a guest, and kill it at some moment."""
        ours, theirs = CONTEXT.Pipe(duplex=False)
        arguments = (str(self._path), self._invite, self._next, theirs)
        process = CONTEXT.Process(target=rotate, args=arguments)
        process.start()
        theirs.close()
        try:
            await self._take(ours, "started")
            begun = time.perf_counter()
            if self._chance.random() < 1 / 4:
                await asyncio.sleep(self._chance.uniform(0, BEYOND * self._join_s))
            else:
                await self._live(ours, begun, guest)
        finally:
            process.kill()
            process.join(WAIT_S)
        await self._hear_the_rest(ours)
        ours.close()
        process.close()

    async def _live(
        self, pipe: "Connection[Any, Any]", begun: float, guest: "Guest | None"
    ) -> None:
        held = await self._take(pipe, "found")
        self._join_s = time.perf_counter() - begun
        assert held >= self.held, "it has lost a secret"
        self.held = held
        for _ in range(self._chance.randrange(ROUNDS_BEFORE_MAX)):
            self._next = await self._take(pipe, "round") + 1
            begun = time.perf_counter()
            await self._take(pipe, "invite")
            self._note_done(await self._take(pipe, "done"))
            self._round_s = time.perf_counter() - begun
        self._next = await self._take(pipe, "round") + 1
        if guest is not None:
            guest.invite = await self._take(pipe, "invite")
            guest.may_come.set()
        longest_s = BEYOND * self._round_s if guest is None else ADMIT_S
        await asyncio.sleep(self._chance.uniform(0, longest_s))

    def _note_done(self, number: int) -> None:
        self.words.add(f"v{number}")

    async def _take(self, pipe: "Connection[Any, Any]", expected: str) -> Any:  # noqa: ANN401 - what a pipe gives
        async with asyncio.timeout(WAIT_S):
            what, value = await asyncio.to_thread(pipe.recv)
        assert what == expected
        return value

    async def _hear_the_rest(self, pipe: "Connection[Any, Any]") -> None:
        """What it had said before it was killed."""
        is_inside, has_joined = True, self.held > 0
        with suppress(EOFError):
            while True:
                what, value = await asyncio.to_thread(pipe.recv)
                has_joined = has_joined or what == "found"
                if what == "round":
                    self._next = value + 1
                if what == "done":
                    is_inside = False
                    self._note_done(value)
        self.joining += not has_joined
        self.inside += is_inside


class Guest:
    """Somebody who joins by an invite of the victim, at the moment at which that is killed.

    Args:
        path: Its data directory.
    """

    def __init__(self, path: Path) -> None:
        self.invite = ""
        self.may_come = asyncio.Event()
        self._path = path

    async def come(self, host: Document) -> bool:
        """Join, read what is there, and be removed again; whether it was let in."""
        await self.may_come.wait()
        async with Node.open(self._path, LOOPBACK) as node:
            try:
                document = await node.join(self.invite)
            except (InviteError, NetworkError):
                return False  # the invite had reached nobody else yet
            host.text("text").insert(0, f"{node.peer_id.short} ")
            await until(document, lambda: node.peer_id.short in str(document.text("text")))
            check_not_locked_out(document)
            await host.remove(node.peer_id)
        return True


async def until(document: Document, condition: Any) -> None:  # noqa: ANN401 - without arguments
    async with asyncio.timeout(WAIT_S):
        await document.wait_until(condition)


def check_not_locked_out(document: Document) -> None:
    state = document._owner.document
    missing = set(state.ledger.announcements.secrets) - set(state.keyring.secrets)
    assert not missing, f"{len(missing)} secrets were lost"
    assert not state.replica.is_blocked


async def keep_suspicions(node: Node, suspicions: list[Event]) -> None:
    suspicious = SecurityEvent | OperationRefused
    async for event in node.listen(lambda event: isinstance(event, suspicious)):
        suspicions.append(event)  # noqa: PERF401 - it is looked at before the stream ends


@pytest.mark.timeout(120 + 15 * KILLS)
async def test_no_kill_locks_anybody_out_and_no_secret_is_lost(tmp_path: Path, seed: int) -> None:
    suspicions: list[Event] = []
    chance, admitted = Random(seed), 0
    async with Node.open(tmp_path / "alice", LOOPBACK) as alice, asyncio.TaskGroup() as group:
        listening = group.create_task(keep_suspicions(alice, suspicions))
        document = await alice.create("notes")
        invite = await document.invite(role="manage")
        victim = Victim(tmp_path / "victim", invite, chance)
        for number in range(KILLS):
            guest = Guest(tmp_path / f"guest{number}") if number % GUEST_EVERY == 0 else None
            coming = group.create_task(guest.come(document)) if guest is not None else None
            rotating = group.create_task(document.rotate())
            await victim.live_and_die(guest)
            await rotating
            if coming is not None and guest is not None and guest.may_come.is_set():
                admitted += await coming
            elif coming is not None:
                coming.cancel()
        document.text("text").insert(0, "last ")
        async with Node.open(tmp_path / "victim", LOOPBACK) as survivor:
            copy = await survivor.join(invite)
            await until(copy, lambda: "last" in str(copy.text("text")))
            await copy.rotate()
            copy.text("text").insert(0, "alive ")
            await until(document, lambda: "alive" in str(document.text("text")))
            assert victim.words <= set(str(document.text("text")).split())
            for each in (copy, document):
                await until(each, lambda: str(copy.text("text")) == str(document.text("text")))
                check_not_locked_out(each)
        listening.cancel()
    assert not suspicions
    print(
        f"{KILLS} kills: {victim.joining} before it was a member, {victim.inside} inside a round;"
        f" {admitted} guests let in; {victim.held} secrets"
    )
    assert victim.inside + victim.joining >= KILLS // 5
