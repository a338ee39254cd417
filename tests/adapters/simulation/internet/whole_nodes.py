"""Whole nodes over QUIC in virtual time: one in public, two behind NATs, on lines that lose and delay.

Run as a program it prints a digest of every datagram, for comparing two processes:
`python -m tests.adapters.simulation.internet.whole_nodes SEED`.
"""

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from blake3 import blake3

from adapters.simulation.internet.internet import Internet, PacketEvent, PacketFate
from adapters.simulation.internet.line import LAN, BurstLoss, LineOptions
from adapters.simulation.internet.machine import InternetWorld
from adapters.simulation.internet.nat import PORT_RESTRICTED
from adapters.simulation.internet.reproducible import reproducible_transport
from adapters.simulation.internet.router import Router
from adapters.simulation.internet.segment import Interface
from adapters.simulation.loop import VirtualTimeLoop, run
from node import Document, Node, NodeConfig
from node.wiring.simulated import simulated_quic_adapters
from tests.adapters.simulation.internet.datagrams import until

PASTES = 4
PUBLIC, LEFT, RIGHT = NAMES = ("public", "left", "right")
LOSSY = LineOptions(delay_s=0.0125, loss=0.01)
"""Two of these make a way: a round trip of 50 ms, and 2 % lost each way."""
ROUGH = LineOptions(
    delay_s=0.012,
    jitter_s=0.006,
    bytes_per_s=1_250_000.0,
    queue_bytes=64 * 1024,
    loss=0.01,
    burst_loss=BurstLoss(fall=0.002, recover=0.3),
    duplication=0.01,
    reordering=0.02,
)


class Trace:
    """Condenses what happens to a digest."""

    def __init__(self) -> None:
        self.digest = blake3()
        self.counts = dict.fromkeys(PacketFate, 0)
        self.dropped: dict[str, int] = {}

    def report(self, event: PacketEvent) -> None:
        packet = event.packet
        self.counts[event.fate] += 1
        if event.why is not None:
            self.dropped[event.why.value] = self.dropped.get(event.why.value, 0) + 1
        self.digest.update(
            f"{event.time_s!r} {event.fate.value} {packet.source} {packet.destination} "
            f"{event.why} {len(packet.payload)} ".encode()
        )
        self.digest.update(packet.payload)


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Nodes that share a document: the founder first."""

    nodes: tuple[Node, ...]
    documents: tuple[Document, ...]

    @property
    def texts(self) -> list[str]:
        return [str(each.text("body")) for each in self.documents]

    async def converge(self, within_s: float) -> None:
        """Wait until all show the same, and each has an acknowledgement from somebody else."""
        async with asyncio.timeout(within_s):
            for document in self.documents:
                await document.durable("peers:1")
            await until(lambda: len(set(self.texts)) == 1)


class Situation:
    """The internet of the scenario.

    Args:
        seed: What chance follows.
        options: How the lines to the public internet behave.
        trace: Is told of everything.
    """

    def __init__(self, seed: int, options: LineOptions, trace: Trace | None = None) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        report = trace.report if trace is not None else None
        self.internet = Internet(loop, seed, report=report)
        self.world = InternetWorld(self.internet, seed)
        self.lines: dict[str, Interface] = {}
        self.routers: dict[str, Router] = {}
        public = self.internet.public_host(PUBLIC, "198.51.100.1", options=options)
        self.lines[PUBLIC] = public.interfaces[0]
        for number, name in enumerate((LEFT, RIGHT), 1):
            router, inside = self.internet.router(
                f"{name} box", f"203.0.113.{number}", nat=PORT_RESTRICTED, options=options
            )
            self.internet.host(name).attach(inside, f"10.{number}.0.2", options=LAN)
            self.lines[name] = router.outside
            self.routers[name] = router

    @asynccontextmanager
    async def node(self, name: str) -> AsyncIterator[Node]:
        """Run the node of a machine."""
        machine = self.world.machine(name)
        async with (
            simulated_quic_adapters(machine, NodeConfig()) as environment,
            Node.run(environment) as node,
        ):
            yield node

    @asynccontextmanager
    async def group(self, *names: str) -> AsyncIterator[Group]:
        """Run nodes that share a document."""
        async with AsyncExitStack() as stack:
            nodes = [await stack.enter_async_context(self.node(name)) for name in names]
            yield Group(nodes=tuple(nodes), documents=await share(nodes))


async def write(group: Group, rounds: int, pause_s: float) -> None:
    """Let everybody write in turn."""
    for number in range(rounds):
        for author, document in enumerate(group.documents):
            document.text("body").insert(0, f"{author}:{number} ")
            await asyncio.sleep(pause_s)


async def share(nodes: Sequence[Node]) -> tuple[Document, ...]:
    """Found a document at the first node and let the others join."""
    founded = await nodes[0].create("shared")
    invite = await founded.invite(uses=len(nodes), expires_s=10_000)
    return (founded, *[await node.join(invite) for node in nodes[1:]])


async def converse(seed: int) -> Trace:
    """Let three nodes write into several documents on rough lines, and give the trace of it."""
    trace = Trace()
    situation = Situation(seed, ROUGH, trace)
    with reproducible_transport(seed, asyncio.get_running_loop().time):
        async with situation.group(*NAMES) as group:
            others = [await share(group.nodes) for _ in range(PASTES)]
            for documents in others:  # so that many streams share packets, and some get lost
                documents[0].text("body").insert(0, "paste " * 10_000)
            await write(group, 20, 0.05)
            await group.converge(60.0)
            assert len(group.texts[0].split()) == 60
            for documents in others:
                await Group(nodes=group.nodes, documents=documents).converge(60.0)
    return trace


def main(seed: int) -> None:
    started = time.perf_counter()
    trace = run(converse, seed)
    counts = {fate.value: count for fate, count in trace.counts.items()}
    print(counts, trace.dropped, trace.digest.hexdigest())
    print(f"{time.perf_counter() - started:.2f} s", file=sys.stderr)


if __name__ == "__main__":
    main(int(sys.argv[1]))
