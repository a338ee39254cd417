"""Nodes on a simulated network in virtual time, for tests of what an application does with them.

The nodes are the production code, built by `node.wiring` over simulated disks and links: no thread, no socket, no real
time. One seed decides everything that chance decides, so a run can be repeated. An hour of virtual time in which little
happens takes milliseconds, so a scenario sleeps as it likes; a wait that nothing ends fails after `virtual_s_max`.

It knows nothing about pytest: `node.pytest_plugin` makes a fixture of it.
"""

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from itertools import combinations
from random import Random
from typing import Any, Final, TypeVar

from domain.errors import CulmError, RefusedEditsError, UsageError
from domain.identifiers import DocumentId, LogKey
from domain.limits import FAILED_RETRY_S
from node.config import NodeConfig
from node.document import Document
from node.node import Node
from node.owner import DocumentOwner
from node.runtime import Runtime, open_runtime
from node.wiring.simulated import (
    run_in_virtual_time,
    simulated_adapters,
    simulated_link,
    simulated_world,
)

T = TypeVar("T")

VIRTUAL_S_MAX: Final = 3_600.0
CONVERGE_S_MAX: Final = FAILED_RETRY_S + 60.0
"""Peers that were apart for very long look for each other only every quarter of an hour."""
SETTLE_S_MAX: Final = 600.0
QUIET_S: Final = 60.0
"""Longer than peers wait before they dial again, unless they have been apart for very long."""
LOOK_S: Final = 0.01
HAPPENINGS_MAX: Final = 40


class NotSettledError(CulmError, AssertionError):
    """Replicas are not equal, or the network is not quiet, within the time given."""


class NodeNetwork:
    """A network of nodes, made anew for each `run`.

    Everything but `run` is for use inside of a running scenario. A node is named by the machine that it runs on.

    Args:
        seed: What chance follows.
        virtual_s_max: How long a scenario may last, in virtual seconds.
    """

    def __init__(self, seed: int, *, virtual_s_max: float = VIRTUAL_S_MAX) -> None:
        self.seed = seed
        self.virtual_s_max = virtual_s_max
        self.random = Random()  # noqa: S311 - seeded by `run`
        """For the choices of the scenario itself; seeded anew for each run."""
        self._happenings: deque[str] = deque(maxlen=HAPPENINGS_MAX)
        self._play: _Play | None = None

    # -- Running --

    def run(self, scenario: Callable[[], Coroutine[Any, Any, T]], *, seed: int | None = None) -> T:
        """Run a scenario on a fresh network, and give its result; to be called where no event loop runs.

        An error carries a note that says the seed and the virtual time. Nodes that still run are stopped in good order.

        Args:
            scenario: An async function without arguments.
            seed: Another seed for this run.

        Raises:
            ExceptionGroup: A node failed for a reason that nobody foresaw.
            CulmError: (`SimulationError`) Nothing would ever have happened again, it took longer than `virtual_s_max`,
                or something asked for a thread, a socket or a process.
        """
        self.seed = self.seed if seed is None else seed
        self.random.seed(f"{self.seed} scenario")
        self._happenings.clear()

        async def play(seed: int) -> T:
            async with _open_play(seed, self._happenings) as self._play:
                return await scenario()

        try:
            return run_in_virtual_time(play, self.seed, virtual_s_max=self.virtual_s_max)
        finally:
            self._play = None

    def story(self) -> str:
        """Tell what happened last on the network, for a person who looks for an error."""
        return "\n".join(self._happenings)

    @property
    def _now(self) -> "_Play":
        if self._play is None:
            raise UsageError("nodes live within `network.run(...)` or an async test")
        return self._play

    # -- Nodes --

    @asynccontextmanager
    async def node(self, name: str, config: NodeConfig | None = None) -> AsyncIterator[Node]:
        """Start the node of a machine (a new one, or what it left on its disk), and run it in the block.

        After `crash` the block may end as it likes; after `restart` its end stops the node that runs then.

        Raises:
            UsageError: The node runs already, or the name cannot be one.
            StorageError: Its disk cannot be read or written.
            UnsavedEditsError: (at the end) Some edits could not be written.
        """
        host = self._now.host(name, config or NodeConfig())
        node = await host.start()
        try:
            yield node
        except BaseException:
            with suppress(CulmError):  # what went wrong in the block is what counts
                await host.stop()
            raise
        await host.stop()

    async def crash(self, name: str) -> None:
        """Cut the power of a machine at any moment, and wait until nothing of its node is left.

        What was not yet on its disk is lost, its peers notice the silence, and handles of its documents are dead.
        """
        await self._now.find(name).crash()

    async def restart(self, name: str) -> Node:
        """Start the node of a machine again, after a crash or in good order, and give the new one.

        Raises:
            UnsavedEditsError: It ran, and some edits could not be written.
        """
        host = self._now.find(name)
        await host.stop()
        return await host.start()

    def fill_disk(self, name: str) -> None:
        """Let the disk of a machine be full until `mend_disk`: writing fails."""
        self._now.tell(f"the disk of {name} is full")
        self._now.find(name).machine.disk.fill()

    def mend_disk(self, name: str) -> None:
        """Let the disk of a machine take writes again."""
        self._now.tell(f"the disk of {name} has space")
        self._now.find(name).machine.disk.mend()

    def set_date(self, name: str, *, ahead_s: float) -> None:
        """Let the date of a machine be wrong by so many seconds from now on; time itself goes on as usual."""
        self._now.find(name).machine.clock.wall_offset_s = ahead_s

    # -- The network --

    def partition(self, *groups: str | Iterable[str]) -> None:
        """Let machines of different groups not reach each other, until `heal`; all others are one more group.

        Connections bear it for a while (15 s); messages that wait arrive after `heal`. After a long time peers dial
        each other only every 15 minutes.
        """
        sides = [(group,) if isinstance(group, str) else tuple(group) for group in groups]
        for name in (name for side in sides for name in side):
            self._now.find(name)
        self._now.tell(f"partition: {' | '.join(', '.join(side) for side in sides)}")
        self._now.world.network.partition(*sides)

    def heal(self) -> None:
        """End the partition."""
        self._now.tell("heal")
        self._now.world.network.heal()

    def break_connections(self, one: str, other: str) -> None:
        """Break every connection between two machines; they may dial again at once."""
        for name in (one, other):
            self._now.find(name)
        self._now.world.network.break_connections(one, other)

    def set_link(
        self,
        *names: str,
        delay_s: float = 0.010,
        jitter_s: float = 0.0,
        bytes_per_s: float | None = None,
        connection_lifetime_s: float | None = None,
    ) -> None:
        """Say how the way between two machines behaves from now on; without names, how all ways do, future ones too.

        Args:
            names: Two machines, or none.
            delay_s: The least time one way.
            jitter_s: The most that chance adds to it, for each message.
            bytes_per_s: The rate; None for no limit.
            connection_lifetime_s: How long a connection lasts on average; None for ever.
        """
        options = simulated_link(
            delay_s=delay_s,
            jitter_s=jitter_s,
            bytes_per_s=bytes_per_s,
            connection_lifetime_s=connection_lifetime_s,
        )
        play = self._now
        match names:
            case ():
                play.usual_link = options
                for one, other in combinations(play.hosts, 2):
                    play.world.network.set_link(one, other, options)
            case (one, other):
                for name in names:
                    play.find(name)
                play.world.network.set_link(one, other, options)
            case _:
                raise UsageError("a link is between two machines: give two names, or none")

    # -- Waiting --

    async def converged(self, *documents: Document, within_s: float = CONVERGE_S_MAX) -> None:
        """Wait until replicas are equal: all edits are on disk, and all have the same operations, and show them.

        Args:
            documents: Replicas of one document; without any, all documents of all nodes that run.
            within_s: How long that may take, in virtual seconds.

        Raises:
            NotSettledError: It took longer; the text says who lacks what.
            UnsavedEditsError: The disk of a node takes no edits.
        """
        replicas = list(documents) or await self._now.documents()
        try:
            async with asyncio.timeout(within_s):
                for replica in replicas:
                    await _save(replica)
                while self._now.differences(replicas):  # noqa: ASYNC110 - looking is free in virtual time
                    await asyncio.sleep(LOOK_S)
        except TimeoutError:
            found = "; ".join(self._now.differences(replicas)) or "edits are not on disk"
            raise NotSettledError(f"not converged within {within_s:g} virtual s: {found}") from None

    async def quiet(self, within_s: float = SETTLE_S_MAX) -> None:
        """Wait until nobody has anything left to say about documents; takes a virtual minute at least.

        Raises:
            NotSettledError: It took longer than `within_s` virtual seconds; the text says who talks.
            UnsavedEditsError: The disk of a node takes no edits.
        """
        play = self._now
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(within_s):
                begun = loop.time()
                while (silent_since := max(begun, play.last_said_s)) + QUIET_S > loop.time():
                    for document in await play.documents():
                        await _save(document)
                    await asyncio.sleep(max(LOOK_S, silent_since + QUIET_S - loop.time()))
        except TimeoutError:
            raise NotSettledError(
                f"not quiet within {within_s:g} virtual s: {play.last_said}"
            ) from None


class _Host:
    """The runs of one machine's node, one after the other."""

    def __init__(self, play: "_Play", name: str) -> None:
        self.node: Node | None = None
        self.machine = play.world.machine(name)
        self.config = NodeConfig()
        self._play = play
        self._name = name
        self._task: asyncio.Task[None] | None = None
        self._ending = asyncio.Event()
        self._is_crashing = False
        self._failure: CulmError | None = None

    async def start(self) -> Node:
        if self._task is not None:
            raise UsageError(f"the node {self._name} runs already")
        self._ending.clear()
        self._is_crashing, self._failure = False, None
        opened: asyncio.Future[Node] = asyncio.get_running_loop().create_future()
        self._play.tell(f"{self._name} starts")
        self._task = self._play.runtime.spawn(self._run(opened), f"node {self._name}")
        try:
            return await opened
        except CulmError:
            self._task = None
            raise

    async def _run(self, opened: "asyncio.Future[Node]") -> None:
        try:
            async with (
                simulated_adapters(self.machine, self.config) as environment,
                Node.run(environment) as node,
            ):
                self.node = node
                opened.set_result(node)
                await self._ending.wait()
        except CulmError as error:
            if not opened.done():
                opened.set_exception(error)
            elif not self._is_crashing:  # else it is only how the node notices
                self._failure = error
        finally:
            self.node = None
            opened.cancel()

    async def stop(self) -> None:
        """Let the node end in good order, if it runs."""
        if self._task is None:
            return
        self._play.tell(f"{self._name} stops")
        self._ending.set()
        await self._wait_ended()
        if self._failure is not None:
            raise self._failure

    async def crash(self) -> None:
        if self._task is None:
            raise UsageError(f"the node {self._name} does not run")
        self._play.tell(f"{self._name} crashes")
        self._is_crashing = True
        self.machine.crash()
        self._task.cancel()
        await self._wait_ended()

    async def _wait_ended(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            await asyncio.wait([task])


class _Play:
    """What lasts as long as one scenario."""

    def __init__(self, seed: int, runtime: Runtime, happenings: deque[str]) -> None:
        self.runtime = runtime
        self.hosts: dict[str, _Host] = {}
        self.world = simulated_world(seed, self._hear)
        self.usual_link = simulated_link(
            delay_s=0.010, jitter_s=0.0, bytes_per_s=None, connection_lifetime_s=None
        )
        self.last_said_s = float("-inf")
        self.last_said = "nobody has said anything"
        self._happenings = happenings

    def tell(self, what: str) -> None:
        """Note something that happened."""
        self._happenings.append(f"{asyncio.get_running_loop().time():12.6f} s  {what}")

    def _hear(self, kind: str, sender: str, receiver: str, is_control: bool) -> None:  # noqa: FBT001 - see `report`
        if kind in ("opened", "ended"):
            self.tell(f"connection from {sender} to {receiver} {kind}")
        elif kind == "sent" and not is_control:
            self.last_said_s = asyncio.get_running_loop().time()
            self.last_said = f"{sender} speaks to {receiver} at {self.last_said_s:.3f} s"

    # -- Machines --

    def host(self, name: str, config: NodeConfig) -> _Host:
        """The host of that name, made on first use."""
        if not name or ":" in name:
            raise UsageError(f"{name!r} cannot be the name of a node")
        host = self.hosts.get(name)
        if host is None:
            host = _Host(self, name)
            for other in self.hosts:
                self.world.network.set_link(name, other, self.usual_link)
            self.hosts[name] = host
        host.config = config
        return host

    def find(self, name: str) -> _Host:
        """The host of that name; it has to be there already, so that a slip of the pen is found."""
        if name not in self.hosts:
            raise UsageError(
                f"there is no node {name!r}; there are {', '.join(self.hosts) or 'none'}"
            )
        return self.hosts[name]

    # -- Documents --

    async def documents(self) -> list[Document]:
        """Everything that running nodes are members of."""
        nodes = [host.node for host in self.hosts.values() if host.node is not None]
        return [
            await node.document(info.id)
            for node in nodes
            for info in node.documents()
            if info.role is not None
        ]

    def differences(self, replicas: Sequence[Document]) -> list[str]:
        """Say who lacks what, has something else than others, or is about to show more or to write something again."""
        by_id: dict[DocumentId, list[Document]] = defaultdict(list)
        for replica in replicas:
            by_id[replica.id].append(replica)
        found = []
        for equals in by_id.values():
            most: dict[LogKey, int] = {}
            for replica in equals:
                for log, count in replica.heights.items():
                    most[log] = max(count, most.get(log, 0))
            total = sum(most.values())
            found += [
                f"{self._owner(replica)} lacks {total - has} of the {total} operations of {replica.name!r}"
                for replica in equals
                if (has := sum(replica.heights.values())) < total
            ]
            owners = [each for replica in equals if (each := self._find_owner(replica)) is not None]
            if any(owner.document.heights != owners[0][1].document.heights for _, owner in owners):
                found.append(f"a log of {equals[0].name!r} goes on in two ways")
            found += [
                f"{name} has yet to go on with {owner.document.record.name!r} in new logs"
                for name, owner in owners
                if owner.guard.is_due or owner.guard.is_rewriting
            ]
            found += [
                f"{name} has yet to show what it can read now of {owner.document.record.name!r}"
                for name, owner in owners
                if owner.archive.is_reading_waiting
            ]
        return found

    def _owner(self, replica: Document) -> str:
        found = self._find_owner(replica)
        return "somebody" if found is None else found[0]

    def _find_owner(self, replica: Document) -> tuple[str, DocumentOwner] | None:
        """Find on which machine a replica is, and its owner there."""
        for name, host in self.hosts.items():
            for owner in host.node.owners() if host.node is not None else ():
                if owner.document.ydoc is replica.ydoc:
                    return name, owner
        return None


@asynccontextmanager
async def _open_play(seed: int, happenings: deque[str]) -> AsyncIterator[_Play]:
    """Open a network for one scenario; what the scenario raises leaves as what it is."""
    outcome: BaseException | None = None
    async with open_runtime() as runtime:
        play = _Play(seed, runtime, happenings)
        try:
            yield play
            for host in play.hosts.values():
                await host.stop()
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - raised again: pytest skips and fails by a BaseException
            outcome = error
            play.tell("the scenario fails")
    if outcome is not None:
        raise outcome


async def _save(document: Document) -> None:
    """Wait for the disk; what was refused is settled as well."""
    with suppress(RefusedEditsError):
        await document.durable()
