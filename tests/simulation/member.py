"""A machine with a node, and somebody who edits with it; both crash and start again."""

import asyncio
from abc import abstractmethod
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, suppress
from pathlib import Path
from random import Random
from traceback import extract_tb
from typing import Protocol

from adapters.simulation.world import SimulatedMachine
from domain.errors import (
    CulmError,
    InviteError,
    NetworkError,
    NodeClosedError,
    RefusedEditsError,
    StorageError,
    UnsavedEditsError,
)
from node import Document, Node, NodeConfig
from node.environment import Environment
from tests.simulation.edit import Editor
from tests.simulation.options import Options

HURRY_S = 0.01


def tell(error: BaseException) -> str:
    """Say what an error is, and where it came from."""
    frames = extract_tb(error.__traceback__)[-3:]
    places = " < ".join(f"{Path(each.filename).name}:{each.lineno}" for each in reversed(frames))
    return f"{error!r} at {places}"


class AdaptersOpener(Protocol):
    """Opens the adapters of a machine; the stage of a scenario does."""

    @abstractmethod
    def open_adapters(
        self, machine: SimulatedMachine, config: NodeConfig
    ) -> AbstractAsyncContextManager[Environment]:
        """Open what a node needs to run on a machine."""


class Board:
    """What the members tell each other outside of their nodes: the invite, and where each is."""

    def __init__(self) -> None:
        self.invite: str | None = None
        self.machines: list[SimulatedMachine] = []


class Member:
    """One machine, the runs of its node, and its author.

    Args:
        machine: The machine.
        adapters: Opens what a node needs to run on it.
        seed: What chance follows, together with the machine's name.
        options: The scenario.
        board: What members tell each other.

    Attributes:
        acknowledged: The marks of all edits that were said to be on disk.
        failures: What went wrong that should not have, whatever happened to the machine.
    """

    def __init__(
        self,
        machine: SimulatedMachine,
        adapters: AdaptersOpener,
        seed: int,
        options: Options,
        board: Board,
    ) -> None:
        self.machine = machine
        self.name = machine.name
        self.node: Node | None = None
        self.document: Document | None = None
        self.acknowledged: set[str] = set()
        self.failures: list[str] = []
        self.is_in_hurry = False
        self.edits_left = options.edits
        self._unsure: list[str] = []
        self._doubtful = 0
        self._doubts = 0
        self._adapters = adapters
        self._options = options
        self._board = board
        self._random = Random(f"{seed} author {machine.name}")
        is_flat = machine.name in options.demoted
        self._editor = Editor(self._random, machine.name, is_flat=is_flat)
        self._ending = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._is_going_down = False
        self._changed = asyncio.Condition()

    @property
    def is_founder(self) -> bool:
        """Whether it founds the document."""
        return self.name == self._options.names[0]

    @property
    def is_up(self) -> bool:
        """Whether its node runs, and nobody is about to end it."""
        return self._task is not None and not self._is_going_down

    @property
    def is_down(self) -> bool:
        """Whether nothing is left of its node."""
        return self._task is None

    @property
    def has_finished(self) -> bool:
        """Whether it has made all of its edits, durably."""
        return self.document is not None and self.edits_left == 0

    # -- Up and down --

    def start(self) -> None:
        """Start the node."""
        assert self._task is None
        self._ending.clear()
        self._task = asyncio.create_task(self._run(), name=f"node {self.name}")

    async def crash(self) -> None:
        """Let the machine crash, and wait until nothing of the node is left."""
        self.machine.crash()
        await self._end(is_crash=True)

    async def stop(self) -> None:
        """Let the node end in good order."""
        self._ending.set()
        await self._end(is_crash=False)

    async def _end(self, *, is_crash: bool) -> None:
        task = self._task
        assert task is not None
        self.document = self.node = None
        self._is_going_down = True
        if is_crash:
            task.cancel()
        await asyncio.wait([task])
        self.document = self.node = None  # again, in case that it had only begun to start
        self._task, self._is_going_down = None, False
        if not task.cancelled() and (error := task.exception()) is not None:
            self._judge(error, is_crash=is_crash)

    def _judge(self, error: BaseException, *, is_crash: bool) -> None:
        """Note what is no proper end; a crash may show as a storage error, and so may a full disk at the end."""
        if isinstance(error, BaseExceptionGroup):
            for each in error.exceptions:
                self._judge(each, is_crash=is_crash)
            return
        proper = (UnsavedEditsError, StorageError, NetworkError) if is_crash else UnsavedEditsError
        if not isinstance(error, proper):
            self.failures.append(f"{self.name} ended with {tell(error)}")

    # -- Running --

    async def _run(self) -> None:
        config = NodeConfig()
        async with (
            self._adapters.open_adapters(self.machine, config) as environment,
            Node.run(environment) as node,
        ):
            self.node = node
            author = asyncio.create_task(self._write(node), name=f"author {self.name}")
            try:
                ending = asyncio.create_task(self._ending.wait(), name=f"ending {self.name}")
                await asyncio.wait([ending, author], return_when=asyncio.FIRST_COMPLETED)
                ending.cancel()
            finally:
                author.cancel()
                await asyncio.wait([author])
            if not author.cancelled() and (error := author.exception()) is not None:
                self.failures.append(f"the author {self.name} met {tell(error)}")

    async def _write(self, node: Node) -> None:
        document = await self._enter(node)
        if self._options.is_mesh:
            for machine in self._board.machines:
                node.peers.want(machine.key.peer, (machine.address,))
        self.document = document
        self._unsure = []
        pause_s = self._options.faulty_s / self._options.edits
        while self.edits_left:
            await asyncio.sleep(
                HURRY_S if self.is_in_hurry else self._random.uniform(0, 2 * pause_s)
            )
            for _ in range(self._random.choice((1, 1, 5))):
                if self.edits_left:
                    self.edits_left -= 1
                    made = self._editor.edit(document)
                    self._unsure += [] if self._doubtful else made
            if self._random.random() < self._options.durable_share:
                await self._save(document)
        while self._unsure:
            await self._save(document)
            await asyncio.sleep(HURRY_S)  # a disk that is full says so at once
        await self._ending.wait()

    async def _save(self, document: Document) -> None:
        made, doubts = tuple(self._unsure), self._doubts
        try:
            async with asyncio.timeout(5):
                await document.durable()
        except RefusedEditsError:
            if self.name not in self._options.demoted:
                raise
            del self._unsure[: len(made)]  # some of it was written while it might not
            return
        except (UnsavedEditsError, TimeoutError):
            return
        if doubts == self._doubts:
            self.acknowledged.update(made)
            del self._unsure[: len(made)]

    def begin_doubt(self, sure: set[str]) -> None:
        """From now on its edits may come to nothing, and so may all that it made before but these."""
        self._doubtful += 1
        self.forget_beyond(sure)

    def forget_beyond(self, sure: set[str]) -> None:
        """Of what was said to be on disk only this is asked for from now on."""
        self._doubts += 1
        self._unsure.clear()
        self.acknowledged &= sure

    def end_doubt(self) -> None:
        """From now on its edits count again, if nobody else doubts them."""
        self._doubtful -= 1

    async def _enter(self, node: Node) -> Document:
        while True:
            try:
                return await self._try_to_enter(node)
            except (InviteError, NetworkError, StorageError, NodeClosedError, TimeoutError):
                await asyncio.sleep(self._random.uniform(0.1, 2))

    async def _try_to_enter(self, node: Node) -> Document:
        known: Sequence[Document] = [
            await node.document(each.id) for each in node.documents() if each.role is not None
        ]
        if self.is_founder:
            document = known[0] if known else await node.create("shared")
            if self._board.invite is None:
                await self.renew_invite(document)
            return document
        if known:
            return known[0]
        if self._board.invite is None:
            raise InviteError("unreachable", "there is no invite yet")
        return await node.join(self._board.invite)

    async def renew_invite(self, document: Document) -> None:
        """Make an invite for all, and put it on the board."""
        uses = len(self._options.names) - 1 + (self._options.rogue is not None)
        self._board.invite = await document.invite(uses=uses, expires_s=10_000)

    async def wait_for_peers(self, within_s: float) -> bool:
        """Wait until everybody whom it is connected to has acknowledged everything."""
        assert self.document is not None
        count = len(self._options.names) - 1 if self.is_founder or self._options.is_mesh else 1
        try:
            async with asyncio.timeout(within_s):
                if self.name in self._options.demoted:
                    with suppress(
                        RefusedEditsError
                    ):  # said once, of what it wrote while it might not
                        await self.document.durable()
                await self.document.durable(f"peers:{count}")
        except (TimeoutError, CulmError):
            return False
        return True
