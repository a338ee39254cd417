"""The NAT lab in virtual time: two nodes behind boxes of each type, with a rendezvous, STUN and TURN in public.

The names are those of `scripts/nat_lab.py`, which does the same with processes and the kernel's own NAT.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Final

from adapters.quic.network import QuicNetwork
from adapters.quic.socket import DatagramSocket, Receiver, open_loop_socket
from adapters.simulation.internet.internet import Internet
from adapters.simulation.internet.line import LAN, LineOptions
from adapters.simulation.internet.machine import NODE_PORT, InternetWorld
from adapters.simulation.internet.nat import (
    ADDRESS_RESTRICTED,
    FULL_CONE,
    PORT_RESTRICTED,
    SYMMETRIC,
    NatOptions,
)
from adapters.simulation.internet.router import STATEFUL, FirewallOptions, Router
from adapters.simulation.internet.stun_server import StunServer
from adapters.simulation.internet.turn_server import TurnServer
from adapters.simulation.loop import VirtualTimeLoop
from domain.connectivity.address import Address
from node import Document, Node, NodeConfig
from node.wiring.simulated import simulated_quic_adapters
from tests.adapters.simulation.internet.datagrams import until

TYPES: Final = {
    "full-cone": FULL_CONE,
    "address-restricted": ADDRESS_RESTRICTED,
    "port-restricted": PORT_RESTRICTED,
    "symmetric": SYMMETRIC,
}
PAIRS: Final = tuple((a, b) for a in TYPES for b in TYPES)
RELAYED_PAIRS: Final = frozenset(
    {
        ("port-restricted", "symmetric"),
        ("symmetric", "port-restricted"),
        ("symmetric", "symmetric"),
    }
)
RENDEZVOUS, STUN, TURN = "198.51.100.1", "198.51.100.10", "198.51.100.20"
STUN_OTHER = "198.51.100.11"
LEFT, RIGHT = "left", "right"
LISTEN: Final = f"[::]:{NODE_PORT}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PairResult:
    """How a pair did: dialler, listener, how they are connected, and how long it took from the invite, in ms."""

    a: str
    b: str
    path: str | None
    dial_ms: float
    first_sync_ms: float


class NatLab:
    """The internet of the lab.

    Args:
        seed: What chance follows.
        delay_s: How long packets take on each line to the public internet: a quarter of the round trip.
    """

    def __init__(self, seed: int, *, delay_s: float = 0.0125, loss: float = 0.0) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        self.loop = loop
        self.options = LineOptions(delay_s=delay_s, loss=loss)
        self.internet = Internet(loop, seed)
        self.world = InternetWorld(self.internet, seed)
        self.routers: dict[str, Router] = {}
        near = replace(self.options, loss=0.0)
        self.internet.public_host("rendezvous", RENDEZVOUS, options=near)
        stun = self.internet.public_host("stun", STUN, STUN_OTHER, options=near)
        turn = self.internet.public_host("turn", TURN, options=near)
        self.stun = StunServer(stun, STUN, STUN_OTHER)
        self.turn = TurnServer(turn, TURN, seed=seed)
        self.via: tuple[str, ...] = ()

    def house(
        self, name: str, number: int, nat: NatOptions, firewall: FirewallOptions = STATEFUL
    ) -> Router:
        """Put a host behind a box."""
        router, inside = self.internet.router(
            f"{name} box",
            f"203.0.113.{number}",
            nat=nat,
            firewall=firewall,
            options=self.options,
        )
        self.internet.host(name).attach(inside, f"10.{number}.0.2", options=LAN)
        self.routers[name] = router
        return router

    @property
    def config(self) -> NodeConfig:
        """How nodes run here."""
        return NodeConfig(
            listen=LISTEN,
            stun=(STUN,),
            turn=(f"turn:user:password@{TURN}",),
            via=self.via,
        )

    @asynccontextmanager
    async def servers(self) -> AsyncIterator[Node]:
        """Run the servers, and give the rendezvous."""
        await self.stun.start()
        await self.turn.start()
        config = NodeConfig(listen=f"{RENDEZVOUS}:{NODE_PORT}", is_rendezvous=True)
        async with self.node("rendezvous", config) as node:
            self.via = (f"{node.peer_id}@{RENDEZVOUS}:{NODE_PORT}",)
            yield node
        self.turn.close()
        self.stun.close()

    @asynccontextmanager
    async def node(self, name: str, config: NodeConfig | None = None) -> AsyncIterator[Node]:
        """Run the node of a host."""
        machine = self.world.machine(name)
        async with (
            simulated_quic_adapters(machine, config or self.config) as environment,
            Node.run(environment) as node,
        ):
            yield node

    @asynccontextmanager
    async def stranger(self, name: str) -> AsyncIterator[QuicNetwork]:
        """Run nothing but the transport on a host: what is said on its connections is up to the test."""
        machine = self.world.machine(name)

        async def open_socket(address: Address, receiver: Receiver) -> DatagramSocket:
            with machine.host.entered():
                return await open_loop_socket(address, receiver)

        network = QuicNetwork(
            key=machine.key,
            listen=LISTEN,
            network_id="culm",
            clock=machine.clock,
            entropy=machine.entropy,
            open_socket=open_socket,
            local_addresses=machine.local_addresses,
        )
        await network.start()
        yield network
        await network.close(0, "")

    @asynccontextmanager
    async def pair(self) -> AsyncIterator["Meeting"]:
        """Run the servers and both nodes; the right one founds a document, and the left one joins it."""
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.servers())
            right = await stack.enter_async_context(self.node(RIGHT))
            left = await stack.enter_async_context(self.node(LEFT))
            await asyncio.sleep(5.0)  # both have looked around, as nodes have that run
            founded = await right.create("shared")
            founded.text("body").insert(0, "founded ")
            invite = await founded.invite(uses=1, expires_s=1_000)
            started = self.loop.time()
            joined = await left.join(invite)
            dialled = self.loop.time()
            await until(lambda: "founded" in str(joined.text("body")))
            yield Meeting(
                lab=self,
                nodes=(left, right),
                documents=(joined, founded),
                dial_s=dialled - started,
                first_sync_s=self.loop.time() - started,
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Meeting:
    """Two nodes that share a document: the dialler first."""

    lab: NatLab
    nodes: tuple[Node, Node]
    documents: tuple[Document, Document]
    dial_s: float
    first_sync_s: float

    @property
    def path(self) -> str | None:
        """How they are connected: `direct`, `relayed`, or None."""
        left, right = self.nodes
        traversal = left.environment.traversal
        assert traversal is not None
        is_relayed = traversal.is_relayed(right.peer_id)
        return None if is_relayed is None else "relayed" if is_relayed else "direct"

    async def edit(self, author: int, text: str) -> float:
        """Let one write; how long it takes until the other sees it, in seconds."""
        started = self.lab.loop.time()
        self.documents[author].text("body").insert(0, text)
        other = self.documents[1 - author]
        async with asyncio.timeout(60):
            await until(lambda: text in str(other.text("body")))
        return self.lab.loop.time() - started


async def meet(seed: int, a: str, b: str, *, delay_s: float = 0.0125) -> PairResult:
    """Let a pair of the matrix meet, and both write."""
    lab = NatLab(seed, delay_s=delay_s)
    lab.house(LEFT, 1, TYPES[a])
    lab.house(RIGHT, 2, TYPES[b])
    async with lab.pair() as meeting:
        for author in (0, 1):
            await meeting.edit(author, f"by {author} ")
        return PairResult(
            a=a,
            b=b,
            path=meeting.path,
            dial_ms=1_000 * meeting.dial_s,
            first_sync_ms=1_000 * meeting.first_sync_s,
        )


def expected_path(pair: Sequence[str]) -> str:
    """How a pair should be connected."""
    return "relayed" if tuple(pair) in RELAYED_PAIRS else "direct"
