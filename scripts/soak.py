"""Let many real nodes live on loopback for as long as one likes, and say what grows.

    python -m scripts.soak --nodes 20 --minutes 10
    python -m scripts.soak --nodes 50 --minutes 480 --json

All share one document, of which each knows where the others are. They edit, restart, and guests join, write and leave,
at times that the seed decides; a guest is a process of its own, so that what it needs is not taken for theirs. Memory,
tasks, open files and threads of the process are looked at every few seconds; what grows is given as a slope over the
last two thirds, by least squares: until then caches fill. A history grows with every operation, so memory is judged by
how much of it each operation costs each node. It fails if replicas differ in the end, or if tasks, files or threads
are not back to what they were before, or memory grows by more than its bound.
"""

import argparse
import asyncio
import ctypes
import gc
import json
import os
import random
import statistics
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from shutil import rmtree
from subprocess import PIPE
from tempfile import TemporaryDirectory
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from domain.errors import InviteError, NetworkError, UnsavedEditsError
from domain.identifiers import PeerId
from node import Document, Node, NodeConfig

LIBC: Final = ctypes.CDLL(None)
LOOK_S: Final = 5.0
EDITS_PER_S: Final = 1.0
"""Of all nodes together: each edit goes to all."""
TEXT_BYTES_MAX: Final = 2_000
RESTART_S: Final = 600.0
"""Of each node, on average."""
GUEST_S: Final = 90.0
JOIN_S_MAX: Final = 300.0
SETTLE_S_MAX: Final = 120.0
QUIET_S: Final = 15.0
"""So long nothing happens before tasks and files are counted: what ends with a delay has ended."""
GROWTH_BYTES_MAX: Final = 4_096
"""Of memory, for each operation on each node: what the ledger and pycrdt keep of one, several times over."""
SLACK: Final = 1.05
"""Tasks and files may be this many times what they were: the connections of the last restart need not be the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What the process holds at one moment."""

    at_s: float
    memory_bytes: int
    tasks: int
    files: int
    threads: int
    operations: int


@dataclass(slots=True, kw_only=True)
class Counts:
    """What has been done so far."""

    edits: int = 0
    restarts: int = 0
    guests: int = 0
    troubles: list[str] = field(default_factory=list)


class Inhabitant:
    """A node with its data directory, which runs until it is told to restart, and then again.

    Args:
        folder: Its data directory.
        name: What it is called.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        self.document: Document | None = None
        self.node: Node | None = None
        self.peer: PeerId | None = None
        self.address = "127.0.0.1:0"
        self.unsaved = 0
        self._folder = folder / name
        self._ending = asyncio.Event()
        self._is_over = False

    async def live(self, invite: str | None, others: Sequence["Inhabitant"]) -> None:
        """Run, restart when told to, end when told to; found the document if there is no invite."""
        while not self._is_over:
            self._ending.clear()
            try:
                await self._run(invite, others)
            except UnsavedEditsError:
                self.unsaved += 1  # said, not silent: the machine had too much to do while it ended

    async def _run(self, invite: str | None, others: Sequence["Inhabitant"]) -> None:
        async with Node.open(self._folder, here(self.address)) as node:
            self.peer, self.address = node.peer_id, node.addresses[0]
            document = await self._enter(node, invite)
            for each in others:
                if each.peer is not None and each is not self:
                    node.peers.want(each.peer, (each.address,))
            self.node, self.document = node, document
            await self._ending.wait()
            self.node = self.document = None

    @staticmethod
    async def _enter(node: Node, invite: str | None) -> Document:
        known = node.documents()
        if known:
            return await node.document(known[0].id)
        if invite is None:
            return await node.create("soak")
        return await enter(node, invite)

    def restart(self) -> None:
        """End the node and start it again."""
        self._ending.set()

    def end(self) -> None:
        """End the node."""
        self._is_over = True
        self._ending.set()

    async def until_in(self) -> Document:
        """Wait until it has the document."""
        async with asyncio.timeout(JOIN_S_MAX):
            while self.document is None:  # noqa: ASYNC110 - it may restart meanwhile
                await asyncio.sleep(0.05)
        return self.document


class Soak:
    """Everybody, and what happens to them.

    Args:
        folder: Where the data directories go.
        nodes: How many there are.
        seed: What chance follows.
    """

    def __init__(self, folder: Path, nodes: int, seed: int) -> None:
        self.counts = Counts()
        self.looks: list[Look] = []
        self._folder = folder
        self._random = random.Random(seed)
        self._everybody = [Inhabitant(folder, f"node{number}") for number in range(nodes)]
        self._invite: str | None = None
        self._started = time.monotonic()

    async def run(self, minutes: float) -> tuple[Look, Look]:
        """Let it all happen; gives what the process held before, once all were in, and in the end."""
        async with asyncio.TaskGroup() as group:
            founder, *others = self._everybody
            group.create_task(founder.live(None, self._everybody))
            document = await founder.until_in()
            self._invite = await document.invite(uses=10_000, expires_s=10 * 86_400)
            for each in others:
                group.create_task(each.live(self._invite, self._everybody))
                await each.until_in()
            await self._settle()
            before = self._look()
            with suppress(TimeoutError):
                async with asyncio.timeout(minutes * 60), asyncio.TaskGroup() as life:
                    for happen in (self._edit, self._restart, self._invite_guests, self._watch):
                        life.create_task(happen())
            await self._settle()
            after = self._look()
            self._compare()
            for each in self._everybody:
                each.end()
        return before, after

    # -- What happens --

    async def _edit(self) -> None:
        while True:
            await asyncio.sleep(self._random.expovariate(EDITS_PER_S))
            document = self._random.choice(self._everybody).document
            if document is None or not document.may_write:
                continue
            text = document.text("text")
            if len(text) > TEXT_BYTES_MAX:
                del text[: TEXT_BYTES_MAX // 2]
            else:
                text.insert(self._random.randint(0, len(text)), "word ")
            self.counts.edits += 1

    async def _restart(self) -> None:
        while True:
            await asyncio.sleep(self._random.expovariate(len(self._everybody) / RESTART_S))
            self._random.choice(self._everybody).restart()
            self.counts.restarts += 1

    async def _invite_guests(self) -> None:
        while True:
            await asyncio.sleep(self._random.expovariate(1 / GUEST_S))
            folder = self._folder / f"guest{self.counts.guests}"
            self.counts.guests += 1
            if trouble := await run_guest(self._invite or "", folder):
                self.counts.troubles.append(f"{folder.name}: {trouble}")
            rmtree(folder, ignore_errors=True)

    # -- What is looked at --

    async def _watch(self) -> None:
        while True:
            self.looks.append(self._look())
            await asyncio.sleep(LOOK_S)

    def _look(self) -> Look:
        free_memory()
        owners = [each.node.owners() for each in self._everybody if each.node is not None]
        heights = [owner.document.heights for some in owners for owner in some]
        return Look(
            at_s=time.monotonic() - self._started,
            memory_bytes=memory_bytes(),
            tasks=len(asyncio.all_tasks()),
            files=sum(1 for _ in Path("/proc/self/fd").iterdir()),
            threads=threading.active_count(),
            operations=max((sum(h.count for h in each.values()) for each in heights), default=0),
        )

    async def _settle(self) -> None:
        """Wait until all have the same, are connected to all, and have nothing more to do."""
        wanted = len(self._everybody) - 1
        deadline = time.monotonic() + SETTLE_S_MAX
        while not self._is_settled(wanted):
            if time.monotonic() > deadline:
                self.counts.troubles.append(f"not settled after {SETTLE_S_MAX:.0f} s")
                break
            await asyncio.sleep(0.5)
        await asyncio.sleep(QUIET_S)

    def _is_settled(self, wanted: int) -> bool:
        documents = [each.document for each in self._everybody]
        nodes = [each.node for each in self._everybody]
        if not all(documents) or any(
            node is None or sum(1 for _ in node.peers.links()) < wanted for node in nodes
        ):
            return False
        return len({tuple(sorted(each.heights.items())) for each in documents if each}) == 1

    def _compare(self) -> None:
        if unsaved := sum(each.unsaved for each in self._everybody):
            self.counts.troubles.append(f"{unsaved} nodes ended with edits that were not saved")
        texts = {str(each.document.text("text")) for each in self._everybody if each.document}
        if len(texts) != 1:
            self.counts.troubles.append(f"{len(texts)} different texts in the end")


async def run_guest(invite: str, folder: Path) -> str:
    """Let a guest come and go, as a process; give what went wrong, nothing if it left in good order."""
    command = [sys.executable, __file__, "--guest", str(folder)]
    process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stderr=PIPE)
    try:
        _, said = await process.communicate(invite.encode())
    except asyncio.CancelledError:
        await process.wait()  # else it stays a member, and is looked for
        raise
    last = said.decode(errors="replace").strip().rpartition("\n")[2]
    return f"ended with {process.returncode}: {last}" if process.returncode else ""


async def be_guest(folder: Path, invite: str) -> None:
    """Join, write something and leave.

    Raises:
        CulmError: That did not work.
        TimeoutError: It took too long.
    """
    async with asyncio.timeout(JOIN_S_MAX), Node.open(folder, here()) as node:
        document = await enter(node, invite)
        await document.synced()
        document.text("text").insert(0, "guest ")
        await document.durable("peers:1")
        await document.leave()


async def enter(node: Node, invite: str) -> Document:
    """Join; on a machine that has more to do than it can, that takes more than one try."""
    while True:
        try:
            return await node.join(invite)
        except (InviteError, NetworkError) as error:
            if isinstance(error, InviteError) and error.reason != "unreachable":
                raise


def here(address: str = "127.0.0.1:0") -> NodeConfig:
    """A node on loopback."""
    return NodeConfig(listen=address)


def free_memory() -> None:
    """Give back what is free, so that what is left is held: else glibc keeps what a restarted node has freed."""
    gc.collect()
    if hasattr(LIBC, "malloc_trim"):
        LIBC.malloc_trim(0)


def memory_bytes() -> int:
    """What the process holds in memory."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def warmed_up(looks: list[Look]) -> list[Look]:
    """The last two thirds: until then caches fill."""
    return looks[len(looks) // 3 :]


def growth_bytes(looks: list[Look], nodes: int) -> float:
    """What each operation costs each node in memory, once it is warmed up."""
    kept = warmed_up(looks)
    operations = [float(look.operations) for look in kept]
    if len(set(operations)) < 2:
        return 0.0
    memory = [float(look.memory_bytes) for look in kept]
    return statistics.linear_regression(operations, memory).slope / nodes


def slopes(looks: list[Look]) -> dict[str, float]:
    """What grows, by the minute, once it is warmed up."""
    kept = warmed_up(looks)
    if len(kept) < 2:
        return {}
    times = [look.at_s / 60 for look in kept]
    names = ("memory_bytes", "tasks", "files", "threads", "operations")
    return {
        f"{name}_per_min": statistics.linear_regression(
            times, [float(getattr(look, name)) for look in kept]
        ).slope
        for name in names
    }


def problems(soak: Soak, before: Look, after: Look, nodes: int) -> Iterator[str]:
    """Say what is not as it should be."""
    yield from soak.counts.troubles
    for name in ("tasks", "files", "threads"):
        first, last = getattr(before, name), getattr(after, name)
        if last > first * SLACK + 1:
            yield f"{last} {name} in the end, {first} before"
    growth = growth_bytes(soak.looks, nodes)
    if growth > GROWTH_BYTES_MAX:
        yield f"memory grew by {growth:.0f} bytes for each operation on each node"


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--nodes", type=int, default=20, help="how many nodes")
    parser.add_argument("--minutes", type=float, default=10, help="for how long")
    parser.add_argument("--seed", type=int, default=0, help="what chance follows")
    parser.add_argument("--json", action="store_true", help="say the result as JSON, last")
    parser.add_argument("--guest", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.guest is not None:
        asyncio.run(be_guest(arguments.guest, sys.stdin.read()))
        return 0
    with TemporaryDirectory(prefix="culm-soak-") as folder:
        soak = Soak(Path(folder), arguments.nodes, arguments.seed)
        before, after = asyncio.run(soak.run(arguments.minutes))
    found = list(problems(soak, before, after, arguments.nodes))
    grown = slopes(soak.looks)
    result: dict[str, Any] = {
        "nodes": arguments.nodes,
        "minutes": arguments.minutes,
        "edits": soak.counts.edits,
        "restarts": soak.counts.restarts,
        "guests": soak.counts.guests,
        "operations": after.operations - before.operations,
        "memory_bytes": [before.memory_bytes, after.memory_bytes],
        "memory_bytes_per_operation_and_node": growth_bytes(soak.looks, arguments.nodes),
        "tasks": [before.tasks, after.tasks],
        "files": [before.files, after.files],
        "threads": [before.threads, after.threads],
        **grown,
        "problems": found,
    }
    if arguments.json:
        print(json.dumps(result))
    else:
        for name, value in result.items():
            print(f"{name}: {value}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
