"""One scenario from one seed: nodes edit while things go wrong, then all heals, and everything has to be well.

A scenario depends on its seed alone; `python -m scripts.simulate --seed N` repeats one.
"""

import asyncio
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Final

from adapters.simulation.disk import SimulatedDisk
from adapters.simulation.loop import run
from domain.errors import StorageError
from tests.simulation.changes import Changes
from tests.simulation.checkers import (
    Bounds,
    Checker,
    EqualReplicas,
    Log,
    NothingLost,
    SoundLogs,
)
from tests.simulation.disk_first import DiskFirst
from tests.simulation.equivocator import Equivocator
from tests.simulation.member import Board, Member, tell
from tests.simulation.options import ROGUE, Change, Fault, Options, draw_options
from tests.simulation.removed import NothingFromRemoved, RemovedMember
from tests.simulation.rogue import Rogue, Vandal
from tests.simulation.stage import Mode, Stage, make_stage

LISTEN_S: Final = 30.0
"""How long it has to stay quiet then."""
JOIN_S: Final = 120.0
"""How long the last may take to join and to make its edits, once nothing goes wrong any more."""
VIRTUAL_S_MAX: Final = 3_600.0
"""After so long a scenario hangs."""
LOOK_S: Final = 0.25
IDLE_LOOKS: Final = 8
SLOW_WRITE_S: Final = (0.05, 0.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """How a scenario went; it holds if there are no complaints."""

    seed: int
    options: Options
    complaints: tuple[str, ...]
    digest: str
    events: int
    operations: int
    edits: int
    crashes: int
    settled_s: float | None


class Scenario:
    """A scenario that runs.

    Args:
        seed: What chance follows.
        options: What the seed decides beforehand.
        stage: Where it takes place.
    """

    def __init__(self, seed: int, options: Options, stage: Stage) -> None:
        self.seed = seed
        self.options = options
        self.stage = stage
        self.bounds = Bounds()
        restored = {stage.machine(name).key.peer for name in options.restored}
        self._forkers = {*restored}
        if options.rogue == "equivocator":
            self._forkers.add(stage.machine(ROGUE).key.peer)
        self.disk_first = DiskFirst(without=self._forkers, restored=restored)
        self.log = Log(
            is_rogue_about=options.rogue is not None or bool(options.restored),
            is_voided=options.rogue == "removed" or bool(options.demoted),
        )
        self.complaints: list[str] = []
        self.crashes = 0
        self.settled_s: float | None = None
        board = Board()
        board.machines = [stage.machine(name) for name in options.names]
        self.members = {
            machine.name: Member(machine, stage, seed, options, board) for machine in board.machines
        }
        self._rogue = self._make_rogue(board)
        self._changes = Changes(options, board, self.members)

    def _make_rogue(self, board: Board) -> Rogue | None:
        kind = self.options.rogue
        if kind is None:
            return None
        machine = self.stage.machine(ROGUE)
        if kind == "removed":
            founder = self.members[self.options.names[0]]
            return RemovedMember(machine, self.stage, self.seed, board, founder)
        if kind == "equivocator":
            return Equivocator(machine, self.stage, self.seed, board)
        return Vandal(kind, machine, self.stage, self.seed, board)

    async def run(self) -> Report:
        """Run it to its end."""
        logging.getLogger("node").addHandler(self.log)
        try:
            async with asyncio.TaskGroup() as group:
                watch = group.create_task(self._watch())
                harm = group.create_task(self._rogue.run()) if self._rogue is not None else None
                await self._go_wrong(group)
                if harm is not None:
                    harm.cancel()
                    await asyncio.wait([harm])
                await self._heal()
                await self._settle()
                watch.cancel()
            await self._end()
        finally:
            logging.getLogger("node").removeHandler(self.log)
            self.stage.close()
        return self._report()

    # -- Going wrong --

    async def _go_wrong(self, group: asyncio.TaskGroup) -> None:
        started = asyncio.get_running_loop().time()
        for member in self.members.values():
            member.start()
        happening = []
        everything: list[Fault | Change] = [*self.options.faults, *self.options.changes]
        for each in sorted(everything, key=lambda each: each.at_s):
            await self._sleep_until(started + each.at_s)
            happening.append(group.create_task(self._let_happen(each), name=each.kind))
        await self._sleep_until(started + self.options.faulty_s)
        for task in happening:
            await task

    @staticmethod
    async def _sleep_until(when: float) -> None:
        await asyncio.sleep(max(0.0, when - asyncio.get_running_loop().time()))

    async def _let_happen(self, fault: Fault | Change) -> None:
        if isinstance(fault, Change):
            await self._changes.make(fault)
            return
        match fault.kind:
            case "crash" | "stop":
                await self._let_down(self.members[fault.hosts[0]], fault)
            case "partition":
                self.stage.partition(fault.hosts)
                await asyncio.sleep(fault.lasts_s)
                self.stage.heal()
            case "block":
                self.stage.block(*fault.hosts)
                await asyncio.sleep(fault.lasts_s)
                self.stage.unblock(*fault.hosts)
            case "break":
                self.stage.break_connections(*fault.hosts)
            case "clock":
                clock = self.members[fault.hosts[0]].machine.clock
                clock.wall_offset_s = fault.lasts_s - self.options.faulty_s / 2
            case _:
                await self._let_disk_fail(self.members[fault.hosts[0]].machine.disk, fault)

    async def _let_down(self, member: Member, fault: Fault) -> None:
        if not member.is_up:
            return
        if fault.kind == "crash":
            self.crashes += 1
            await member.crash()
        else:
            await member.stop()
        await asyncio.sleep(fault.lasts_s)
        if member.is_down:
            member.start()

    @staticmethod
    async def _let_disk_fail(disk: SimulatedDisk, fault: Fault) -> None:
        if fault.kind == "full":
            disk.fill(after_writes=fault.after_writes)
            await asyncio.sleep(fault.lasts_s)
            disk.mend()
        elif fault.kind == "error":
            broken = StorageError("the simulated disk failed to write")
            disk.fail(broken, after_writes=fault.after_writes, lasts=False)
        else:
            usual, disk.write_s = disk.write_s, SLOW_WRITE_S
            await asyncio.sleep(fault.lasts_s)
            disk.write_s = usual

    # -- Being well again --

    async def _heal(self) -> None:
        self.stage.heal()
        for name, other in combinations(self.options.names, 2):
            self.stage.unblock(name, other)
        self.stage.calm()
        for member in self.members.values():
            member.machine.disk.mend()
            member.is_in_hurry = True
            if member.is_down:
                member.start()
        if not await self._wait_until(self._have_all_finished, JOIN_S):
            late = [name for name, member in self.members.items() if not member.has_finished]
            self.complaints.append(f"{late} have not joined, or not made all of their edits")

    def _have_all_finished(self) -> bool:
        return all(member.has_finished for member in self.members.values())

    @staticmethod
    async def _wait_until(condition: Callable[[], bool], within_s: float) -> bool:
        deadline = asyncio.get_running_loop().time() + within_s
        while not condition():
            if asyncio.get_running_loop().time() >= deadline:
                return False
            await asyncio.sleep(LOOK_S)
        return True

    async def _settle(self) -> None:
        if self.complaints:
            return
        loop = asyncio.get_running_loop()
        members = list(self.members.values())
        healed = loop.time()
        if await self._wait_until(self._are_heights_equal, self.stage.settle_s):
            self.settled_s = loop.time() - healed
        await self._sleep_until(healed + self.stage.settle_s)
        trace = self.stage.trace
        trace.quiet_since = loop.time()
        await asyncio.sleep(LISTEN_S)
        self.complaints += trace.check(members, loop.time())
        trace.quiet_since = None
        for checker in self._checkers_of_healed():
            self.complaints += checker.check(members)
        for member in members:
            if not await member.wait_for_peers(5):
                self.complaints.append(f"{member.name} lacks acknowledgements of its peers")

    def _checkers_of_healed(self) -> Iterator[Checker]:
        rogue = None if self._rogue is None else self._rogue.machine
        yield EqualReplicas(without=None if rogue is None else rogue.key.peer)
        yield from (NothingLost(self.options.restored), self.bounds, self.disk_first)
        if rogue is not None and self.options.rogue == "removed":
            yield NothingFromRemoved(rogue)

    def _are_heights_equal(self) -> bool:
        heights = [
            {
                owner.document.document: owner.document.heights
                for owner in member.node.owners()
                if owner.document.role is not None
            }
            for member in self.members.values()
            if member.node is not None
        ]
        return all(each == heights[0] for each in heights)

    # -- Watching, ending --

    async def _watch(self) -> None:
        """Look often while something happens, and now and then while nothing does."""
        seen = looks = 0
        while True:
            events = self.stage.trace.events
            if events != seen or looks % IDLE_LOOKS == 0:
                self.bounds.look(list(self.members.values()))
                self.disk_first.look(list(self.members.values()))
            seen, looks = events, looks + 1
            await asyncio.sleep(LOOK_S)

    async def _end(self) -> None:
        members = list(self.members.values())
        for member in members:
            await member.stop()
            self.complaints += member.failures
        await asyncio.sleep(self.stage.silence_s + 1)
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        self.complaints += sorted(f"a leaked task: {task.get_name()}" for task in tasks)
        self.complaints += self.stage.check_end()
        for checker in (SoundLogs(without=self._forkers), self.log):
            self.complaints += checker.check(members)

    def _report(self) -> Report:
        disks = [member.machine.disk.content for member in self.members.values()]
        return Report(
            seed=self.seed,
            options=self.options,
            complaints=tuple(self.complaints),
            digest=self.stage.trace.digest.hexdigest(),
            events=self.stage.trace.events,
            operations=max(
                sum(len(ledger.operations) for ledger in disk.ledgers.values()) for disk in disks
            ),
            edits=self.options.edits * len(self.members),
            crashes=self.crashes,
            settled_s=self.settled_s,
        )


def simulate(seed: int, options: Options | None = None, mode: Mode = Mode.MESSAGES) -> Report:
    """Run the scenario of a seed; what goes wrong unforeseen is a complaint too."""
    drawn = options or draw_options(seed)

    async def scenario(seed: int) -> Report:
        return await Scenario(seed, drawn, make_stage(mode, seed, drawn)).run()

    try:
        return run(scenario, seed, virtual_s_max=VIRTUAL_S_MAX)
    except Exception as error:  # noqa: BLE001 - a scenario that cannot end has failed, whatever the reason
        return Report(
            seed=seed,
            options=drawn,
            complaints=(_tell(error),),
            digest="",
            events=0,
            operations=0,
            edits=0,
            crashes=0,
            settled_s=None,
        )


def _tell(error: BaseException) -> str:
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(_tell(each) for each in error.exceptions)
    return f"{tell(error)} {getattr(error, '__notes__', '')}"
