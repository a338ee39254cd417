"""What goes wrong in the lab, by name; each gives whether it went well, the longest stall, and what was lost.

Both nodes write a line every half second, each into a document of its own that both share, while something happens to
the ways between them. A line that is not there at the end is lost; the longest time that one needed is the stall.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

from scripts.lab.eavesdropping import listen_in
from scripts.lab.forwarding import meet_by_forwarded_port
from scripts.lab.neighbors import meet_nearby
from scripts.lab.processes import Lab, LabNode, until

STEP_S: Final = 0.5
SETTLE_S_MAX: Final = 45.0
MEET_S_MAX: Final = 30.0
STALL_S_MAX: Final = 5.0
"""Where a second way exists; slow machines get as much again for their own slowness."""

RESTRICTED: Final = ("port-restricted", "port-restricted")

Change = Callable[[Lab, "Meeting"], Awaitable[None]]
Scenario = Callable[[Lab], Awaitable[dict[str, Any]]]


@dataclass(slots=True, kw_only=True)
class Meeting:
    """Two nodes that write for each other."""

    left: LabNode
    right: LabNode
    documents: dict[LabNode, str]
    written: dict[str, tuple[LabNode, float]] = field(default_factory=dict)
    stall_s: float = 0.0
    is_over: bool = False

    async def write(self) -> None:
        """Write, until it is over: a line that was begun is written."""
        number = 0
        while not self.is_over:
            for writer, reader, name in (
                (self.left, self.right, "left"),
                (self.right, self.left, "right"),
            ):
                line = f"{name}-{number}."
                self.written[line] = (reader, time.monotonic())
                await writer.write(self.documents[writer], line)
            number += 1
            await asyncio.sleep(STEP_S)

    async def watch(self) -> None:
        """Note when lines arrive, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(0.02)

    async def look(self) -> bool:
        """Note what has arrived; whether all has."""
        for reader, writer in ((self.left, self.right), (self.right, self.left)):
            text = await reader.text(self.documents[writer])
            now = time.monotonic()
            for line, (expected, at) in list(self.written.items()):
                if expected is reader and line in text:
                    self.stall_s = max(self.stall_s, now - at)
                    del self.written[line]
        return not self.written

    async def path(self) -> str | None:
        """How they are connected."""
        return await self.left.path_to(self.right.peer)


async def play(
    lab: Lab,
    change: Change,
    *,
    nats: tuple[str, str] = ("port-restricted-remapping", "port-restricted-remapping"),
    hosts: tuple[str, str] = ("ha", "hb"),
    outage_s: float = 0.0,
) -> dict[str, Any]:
    """Let two meet and write, change something, and see."""
    with lab.houses(*nats, hosts=hosts) as (left, right):
        for node in (left, right):
            await until(lambda: _knows_its_nat(node), within_s=10.0)  # noqa: B023 - awaited here
        documents = {}
        for writer, reader in ((right, left), (left, right)):
            documents[writer] = str((await writer.ask("create", name="written"))["document"])
            invite = (await writer.ask("invite", document=documents[writer], uses=1))["invite"]
            await reader.ask("join", invite=invite)
        meeting = Meeting(left=left, right=right, documents=documents)
        for writer, reader in ((right, left), (left, right)):
            document = documents[writer]
            await until(lambda: _is_there(reader, document), within_s=MEET_S_MAX)  # noqa: B023 - awaited here
        started = time.monotonic()
        writing = asyncio.create_task(meeting.write())
        watching = asyncio.create_task(meeting.watch())
        try:
            await asyncio.sleep(3.0)
            await change(lab, meeting)
            await asyncio.sleep(8.0)
        finally:
            meeting.is_over = True
            await asyncio.wait([writing])
            watching.cancel()
            await asyncio.wait([watching])
            for wire in lab.topology.wires.values():
                wire.set(is_up=True, loss=0.0)
        settled = await until(meeting.look, within_s=SETTLE_S_MAX)
        is_quick = meeting.stall_s <= outage_s + 2 * STALL_S_MAX
        is_kept = await left.connected_s(right.peer) > time.monotonic() - started
        return {
            "ok": settled and is_quick and is_kept,
            "stall_ms": round(1_000 * meeting.stall_s),
            "lost": len(meeting.written),
            "kept": is_kept,
            "path": await meeting.path(),
        }


async def _knows_its_nat(node: LabNode) -> bool:
    return bool((await node.ask("status"))["nat"] != "unknown")


async def _is_there(node: LabNode, document: str) -> bool:
    await node.text(document)
    return True


def _rebind(*sides: str) -> Change:
    async def change(lab: Lab, _: Meeting) -> None:
        for side in sides:
            lab.topology.rebind(side)

    return change


def _down(seconds: float) -> Change:
    async def change(lab: Lab, _: Meeting) -> None:
        lab.topology.wires["a"].set(is_up=False)
        await asyncio.sleep(seconds)
        lab.topology.wires["a"].set(is_up=True)

    return change


def _lose(share: float) -> Change:
    async def change(lab: Lab, _: Meeting) -> None:
        for wire in lab.topology.wires.values():
            wire.set(loss=share)
        await asyncio.sleep(8.0)

    return change


async def _block_direct(lab: Lab, meeting: Meeting) -> None:
    for side in ("a", "b"):
        lab.topology.block_udp(side)
    await asyncio.sleep(10.0)
    assert await meeting.path() == "relayed", "the relay did not take over"
    for side in ("a", "b"):
        lab.topology.unblock_udp(side)
    await asyncio.sleep(15.0)


async def _switch_interface(lab: Lab, _: Meeting) -> None:
    lab.topology.switch(to_spare=True)
    try:
        await asyncio.sleep(15.0)
    finally:
        lab.topology.switch(to_spare=False)
    await asyncio.sleep(5.0)


async def _nothing(_lab: Lab, _meeting: Meeting) -> None:
    await asyncio.sleep(5.0)


async def _restart_turn(lab: Lab, _: Meeting) -> None:
    lab.turn.stop()
    await asyncio.sleep(1.0)
    lab.turn.start()
    await asyncio.sleep(5.0)


async def _stop_stun(lab: Lab, _: Meeting) -> None:
    lab.turn.stop()
    await asyncio.sleep(25.0)
    lab.turn.start()


SCENARIOS: Final[dict[str, Scenario]] = {
    "rebind-a": lambda lab: play(lab, _rebind("a")),
    "rebind-b": lambda lab: play(lab, _rebind("b")),
    "rebind-both": lambda lab: play(lab, _rebind("a", "b")),
    "rebind-relayed": lambda lab: play(lab, _rebind("a", "b"), nats=("symmetric", "symmetric")),
    "interface-switch": lambda lab: play(lab, _switch_interface),
    "double-nat": lambda lab: play(lab, _nothing, nats=RESTRICTED, hosts=("da", "hb")),
    "same-nat": lambda lab: play(lab, _nothing, nats=RESTRICTED, hosts=("ha", "ka")),
    "same-nat-hairpin": lambda lab: play(
        lab, _nothing, nats=("full-cone-hairpin", "port-restricted"), hosts=("ha", "ka")
    ),
    "direct-blocked": lambda lab: play(lab, _block_direct),
    "link-down-2s": lambda lab: play(lab, _down(2.0), outage_s=2.0),
    "link-down-20s": lambda lab: play(lab, _down(20.0), outage_s=20.0),
    "turn-restart": lambda lab: play(lab, _restart_turn, nats=("symmetric", "symmetric")),
    "stun-gone": lambda lab: play(lab, _stop_stun),
    "loss-5": lambda lab: play(lab, _lose(0.025)),
    "nearby": meet_nearby,
    "eavesdropping": listen_in,
    "port-mapping": meet_by_forwarded_port,
    "port-mapping-upnp": lambda lab: meet_by_forwarded_port(lab, by_upnp=True),
    "loss-20": lambda lab: play(lab, _lose(0.106)),
}
"""By name; losses are of each wire and direction: two of them make the 5 and 20 % of a way."""
