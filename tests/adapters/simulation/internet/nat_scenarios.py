"""What goes wrong in the NAT lab, in virtual time; the names are those of `scripts/nat_lab.py scenario --list`."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final

from adapters.simulation.internet.line import LAN
from adapters.simulation.internet.nat import FULL_CONE, PORT_RESTRICTED, SYMMETRIC, NatOptions
from adapters.simulation.internet.router import STATEFUL, UDP_BLOCKED, FirewallOptions
from domain.identifiers import PeerId
from node.link import Link
from tests.adapters.simulation.internet.datagrams import until
from tests.adapters.simulation.internet.nat_lab import (
    LEFT,
    RIGHT,
    Meeting,
    NatLab,
)

STEP_S: Final = 0.05
SETTLE_S_MAX: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a scenario ended: whether the connection stayed, the longest stall, how many edits were lost."""

    is_kept: bool
    stall_s: float
    lost: int
    paths: tuple[str | None, ...] = ()


class Typing:
    """Both write all the time, and it is noted how long each line takes to the other.

    Args:
        meeting: The two.
    """

    def __init__(self, meeting: Meeting) -> None:
        self.meeting = meeting
        self.stall_s = 0.0
        self._written: dict[str, tuple[int, float]] = {}
        self._links = self._find_links()
        self._is_over = False

    def _find_links(self) -> tuple[Link | None, ...]:
        left, right = self.meeting.nodes

        def link(known: PeerId, of: object) -> Link | None:
            status = of.peers.known.get(known)  # type: ignore[attr-defined]
            return status.link if status is not None else None

        return (link(right.peer_id, left), link(left.peer_id, right))

    async def run(self) -> None:
        """Write, until cancelled."""
        number = 0
        while not self._is_over:
            for author in (0, 1):
                line = f"<{author}:{number}>"
                self.meeting.documents[author].text("body").insert(0, line)
                self._written[line] = (author, self.meeting.lab.loop.time())
            number += 1
            await asyncio.sleep(STEP_S)
            self._look()

    def _look(self) -> None:
        now = self.meeting.lab.loop.time()
        texts = [str(each.text("body")) for each in self.meeting.documents]
        for line, (author, at) in list(self._written.items()):
            if line in texts[1 - author]:
                self.stall_s = max(self.stall_s, now - at)
                del self._written[line]

    async def end(self) -> Outcome:
        """Stop writing, let everything arrive, and judge."""
        self._is_over = True
        try:
            async with asyncio.timeout(SETTLE_S_MAX):
                await until(self._is_settled)
        except TimeoutError:
            pass
        return Outcome(
            is_kept=self._links == self._find_links() and None not in self._links,
            stall_s=self.stall_s,
            lost=len(self._written),
        )

    def _is_settled(self) -> bool:
        self._look()
        return not self._written


@asynccontextmanager
async def typing(meeting: Meeting) -> AsyncIterator[Typing]:
    """Let both write in the block."""
    writing = Typing(meeting)
    task = asyncio.create_task(writing.run())
    await asyncio.sleep(1.0)
    try:
        yield writing
    finally:
        task.cancel()
        await asyncio.wait([task])


Change = Callable[[Meeting], Awaitable[None]]


async def play(
    seed: int,
    change: Change,
    *,
    nats: tuple[NatOptions, NatOptions] = (PORT_RESTRICTED, PORT_RESTRICTED),
    firewall: FirewallOptions = STATEFUL,
    loss: float = 0.0,
    after_s: float = 8.0,
) -> Outcome:
    """Let two meet behind boxes and write, change something, and see."""
    lab = NatLab(seed, loss=loss)
    lab.house(LEFT, 1, nats[0], firewall)
    lab.house(RIGHT, 2, nats[1], firewall)
    async with lab.pair() as meeting, typing(meeting) as writing:
        before = meeting.path
        await change(meeting)
        between = meeting.path
        await asyncio.sleep(after_s)
        return replace(await writing.end(), paths=(before, between, meeting.path))


async def _nothing(meeting: Meeting) -> None:
    await asyncio.sleep(5.0)


def _rebind(*sides: str) -> Change:
    async def change(meeting: Meeting) -> None:
        for side in sides:
            meeting.lab.routers[side].rebind()

    return change


async def _switch_interface(meeting: Meeting) -> None:
    lab = meeting.lab
    host = lab.internet.host(LEFT)
    _, elsewhere = lab.internet.router(
        "other box", "203.0.113.7", nat=PORT_RESTRICTED, options=lab.options
    )
    host.attach(elsewhere, "10.7.0.2", options=LAN)
    host.interfaces[0].set_up(is_up=False)


async def _block_direct(meeting: Meeting) -> None:
    lab = meeting.lab
    lab.internet.block(LEFT, RIGHT)
    await asyncio.sleep(8.0)
    assert meeting.path == "relayed"
    lab.internet.unblock(LEFT, RIGHT)
    await asyncio.sleep(15.0)


def _line_down(seconds: float) -> Change:
    async def change(meeting: Meeting) -> None:
        outside = meeting.lab.routers[LEFT].outside
        outside.set_up(is_up=False)
        await asyncio.sleep(seconds)
        outside.set_up(is_up=True)

    return change


async def _restart_turn(meeting: Meeting) -> None:
    meeting.lab.turn.close()
    await asyncio.sleep(1.0)
    await meeting.lab.turn.start()


async def _stop_stun(meeting: Meeting) -> None:
    meeting.lab.stun.close()
    await asyncio.sleep(30.0)
    await meeting.lab.stun.start()


async def _double_nat(seed: int) -> Outcome:
    lab = NatLab(seed)
    lab.house(RIGHT, 2, PORT_RESTRICTED)
    _, between = lab.internet.router(
        "carrier", "203.0.113.1", nat=PORT_RESTRICTED, options=lab.options
    )
    router, inside = lab.internet.router(
        "left box", "100.64.0.2", nat=PORT_RESTRICTED, outside=between, options=LAN
    )
    lab.internet.host(LEFT).attach(inside, "10.1.0.2", options=LAN)
    lab.routers[LEFT] = router
    async with lab.pair() as meeting, typing(meeting) as writing:
        await asyncio.sleep(5.0)
        return replace(await writing.end(), paths=(meeting.path,))


async def _same_nat(seed: int, *, hairpins: bool) -> Outcome:
    lab = NatLab(seed)
    options = replace(FULL_CONE, hairpins=hairpins)
    _, inside = lab.internet.router("box", "203.0.113.1", nat=options, options=lab.options)
    for number, name in enumerate((LEFT, RIGHT), 2):
        lab.internet.host(name).attach(inside, f"10.1.0.{number}", options=LAN)
    async with lab.pair() as meeting, typing(meeting) as writing:
        await asyncio.sleep(5.0)
        return replace(await writing.end(), paths=(meeting.path,))


SCENARIOS: Final[dict[str, Callable[[int], Awaitable[Outcome]]]] = {
    "rebind-a": lambda seed: play(seed, _rebind(LEFT)),
    "rebind-b": lambda seed: play(seed, _rebind(RIGHT)),
    "rebind-both": lambda seed: play(seed, _rebind(LEFT, RIGHT)),
    "rebind-relayed": lambda seed: play(
        seed, _rebind(LEFT, RIGHT), nats=(SYMMETRIC, SYMMETRIC), after_s=15.0
    ),
    "interface-switch": lambda seed: play(seed, _switch_interface),
    "direct-blocked": lambda seed: play(seed, _block_direct),
    "link-down-2s": lambda seed: play(seed, _line_down(2.0)),
    "link-down-20s": lambda seed: play(seed, _line_down(20.0)),
    "turn-restart": lambda seed: play(
        seed, _restart_turn, nats=(SYMMETRIC, SYMMETRIC), after_s=15.0
    ),
    "stun-gone": lambda seed: play(seed, _stop_stun),
    "loss-5": lambda seed: play(seed, _nothing, loss=0.025),
    "loss-20": lambda seed: play(seed, _nothing, loss=0.106),
    "double-nat": _double_nat,
    "same-nat": lambda seed: _same_nat(seed, hairpins=False),
    "same-nat-hairpin": lambda seed: _same_nat(seed, hairpins=True),
    "udp-blocked": lambda seed: play(seed, _nothing, firewall=UDP_BLOCKED),
}
"""By name. Losses are of each line and direction: two of them make the 5 and 20 % of a way."""

RELAYED: Final = frozenset({"rebind-relayed", "turn-restart", "udp-blocked"})
