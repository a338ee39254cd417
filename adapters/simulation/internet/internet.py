"""The whole simulated internet: makes its parts, knows who is cut off from whom, and opens sockets for the loop."""

import asyncio
import socket
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from random import Random
from typing import Any, Final

from adapters.simulation.errors import SimulationError
from adapters.simulation.internet.datagram import SimulatedDatagramTransport
from adapters.simulation.internet.host import WILDCARDS, Host, current_host
from adapters.simulation.internet.line import Drop, Line, LineOptions
from adapters.simulation.internet.nat import NatOptions
from adapters.simulation.internet.packet import Endpoint, Packet, is_ipv6, normalize
from adapters.simulation.internet.router import STATEFUL, FirewallOptions, Router
from adapters.simulation.internet.segment import LineEnd, Segment, Surroundings
from adapters.simulation.internet.stream import StreamListener, connect_stream
from adapters.simulation.loop import SocketProvider, VirtualTimeLoop

PUBLIC: Final = "public"
WAN: Final = LineOptions(delay_s=0.010)


class PacketFate(Enum):
    """What a trace event tells of a packet."""

    SENT = "sent"
    DELIVERED = "delivered"
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True, kw_only=True)
class PacketEvent:
    """Something that happened to a packet; `why` says why it was dropped."""

    time_s: float
    fate: PacketFate
    packet: Packet
    why: Drop | None = None


class Internet(SocketProvider, Surroundings):
    """An internet, which becomes that of the loop.

    Args:
        loop: Whose time it uses, and whose sockets it opens.
        seed: What chance follows.
        report: Takes an event for everything that happens, for tests to look at.
    """

    def __init__(
        self,
        loop: VirtualTimeLoop,
        seed: int,
        *,
        report: Callable[[PacketEvent], None] | None = None,
    ) -> None:
        self.report = report
        self._loop = loop
        self._seed = seed
        self._hosts: dict[str, Host] = {}
        self._groups: dict[str, int] = {}
        self._blocked: set[frozenset[str]] = set()
        self._losses: dict[frozenset[str], float] = {}
        self._loss_chance = self._chance("losses")
        self.public = Segment(PUBLIC, self)
        loop.sockets = self

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        return self._loop

    # --- Making it ---

    def host(self, name: str) -> Host:
        """The host of that name, made on first use, without interfaces."""
        host = self._hosts.get(name)
        if host is None:
            host = self._hosts[name] = Host(self, name, self._chance(f"host {name}"))
        return host

    def public_host(self, name: str, *addresses: str, options: LineOptions = WAN) -> Host:
        """Make a host on the public internet."""
        host = self.host(name)
        host.attach(self.public, *addresses, options=options)
        return host

    def router(
        self,
        name: str,
        *addresses: str,
        nat: NatOptions | None = None,
        firewall: FirewallOptions = STATEFUL,
        outside: Segment | None = None,
        options: LineOptions = WAN,
    ) -> tuple[Router, Segment]:
        """Make a router with those addresses outside, and the segment behind it."""
        inside = Segment(f"behind {name}", self)
        router = Router(
            name,
            self,
            inside,
            outside or self.public,
            addresses=addresses,
            nat=nat,
            firewall=firewall,
            options=options,
            random=self._chance(f"router {name}"),
        )
        return router, inside

    def line(self, name: str, options: LineOptions, end: LineEnd) -> Line:
        return Line(self._loop, options, self._chance(f"line {name}"), end.arrive, self.drop)

    def _chance(self, name: str) -> Random:
        return Random(f"{self._seed} {name}")

    # --- What goes wrong ---

    def partition(self, *groups: Iterable[str]) -> None:
        """Let hosts of different groups not reach each other, until `heal`; those not named are one more group."""
        self._groups = {host: number for number, hosts in enumerate(groups) for host in hosts}

    def heal(self) -> None:
        """End the partition; blocked pairs stay blocked."""
        self._groups = {}

    def block(self, one: str, other: str) -> None:
        """Let two hosts not reach each other, until `unblock`."""
        self._blocked.add(frozenset((one, other)))

    def unblock(self, one: str, other: str) -> None:
        """Let two hosts reach each other again."""
        self._blocked.discard(frozenset((one, other)))

    def impair(self, one: str, other: str, loss: float) -> None:
        """Let that share of the packets between two hosts get lost; others on the same lines do not."""
        self._losses[frozenset((one, other))] = loss

    def loses(self, one: str, other: str) -> bool:
        loss = self._losses.get(frozenset((one, other)), 0.0)
        return loss > 0 and self._loss_chance.random() < loss

    def is_reachable(self, one: str, other: str) -> bool:
        if one == other:
            return True
        if frozenset((one, other)) in self._blocked:
            return False
        return self._groups.get(one) == self._groups.get(other)

    # --- What happened ---

    def note_sent(self, packet: Packet) -> None:
        self._report(PacketFate.SENT, packet)

    def note_delivered(self, packet: Packet) -> None:
        self._report(PacketFate.DELIVERED, packet)

    def drop(self, packet: Packet, why: Drop) -> None:
        self._report(PacketFate.DROPPED, packet, why)

    def _report(self, fate: PacketFate, packet: Packet, why: Drop | None = None) -> None:
        if self.report is not None:
            self.report(PacketEvent(time_s=self._loop.time(), fate=fate, packet=packet, why=why))

    # --- Sockets for the loop ---

    async def open_datagrams(
        self,
        make_protocol: Callable[[], asyncio.BaseProtocol],
        local: Sequence[Any] | None,
        remote: Sequence[Any] | None,
        family: int,
    ) -> tuple[asyncio.DatagramTransport, asyncio.BaseProtocol]:
        peer = self._resolve(remote) if remote is not None else None
        with_ipv6 = is_ipv6(peer[0]) if peer is not None else family == socket.AF_INET6
        bound = self._resolve(local) if local is not None else (WILDCARDS[with_ipv6], 0)
        host = self._host_for(bound[0])
        protocol = make_protocol()
        assert isinstance(protocol, asyncio.DatagramProtocol)
        transport = SimulatedDatagramTransport(host, protocol, bound, peer)
        protocol.connection_made(transport)
        return transport, protocol

    async def open_stream(
        self,
        make_protocol: Callable[[], asyncio.BaseProtocol],
        remote: Sequence[Any],
        local: Sequence[Any] | None,
    ) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        peer = self._resolve(remote)
        bound = self._resolve(local) if local is not None else (WILDCARDS[is_ipv6(peer[0])], 0)
        return await connect_stream(self._host_for(bound[0]), make_protocol, bound, peer)

    async def listen(
        self,
        make_protocol: Callable[[], asyncio.BaseProtocol],
        addresses: Sequence[Sequence[Any]],
    ) -> asyncio.AbstractServer:
        bound = [self._resolve(address) for address in addresses]
        return StreamListener(self._host_for(bound[0][0]), make_protocol, bound)

    def resolve(self, name: str, *, family: int) -> list[str]:
        try:
            found: Sequence[str] = [normalize(name)]
        except ValueError:
            host = self._hosts.get(name)
            found = host.addresses if host is not None else ()
        wanted = {socket.AF_INET: False, socket.AF_INET6: True}.get(socket.AddressFamily(family))
        found = [each for each in found if wanted is None or is_ipv6(each) == wanted]
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, f"nobody is called {name}")
        return list(found)

    def _resolve(self, address: Sequence[Any]) -> Endpoint:
        name, port = address[0], int(address[1])
        return (self.resolve(name, family=socket.AF_UNSPEC)[0], port)

    def _host_for(self, address: str) -> Host:
        host = current_host()
        if host is None or host.internet is not self:
            owners = [each for each in self._hosts.values() if address in each.addresses]
            if len(owners) != 1:
                raise SimulationError(f"no host is entered, so nobody can bind {address}")
            return owners[0]
        return host
