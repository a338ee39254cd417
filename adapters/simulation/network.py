"""The network of a simulated world: hosts, the ways between them, and what goes wrong there.

Everything that chance decides comes from the seed and, per way, from a stream of its own, so that what happens
between two hosts does not depend on what others say. A host is the part of an address before its last colon.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import Final

from adapters.simulation.bell import Bell
from adapters.simulation.connection import Introduction, SimulatedConnection
from adapters.simulation.dial import Dial
from adapters.simulation.link import Link, LinkOptions, LinkStatistics, TraceEvent, TraceKind
from adapters.simulation.wire import Wire, draw_lifetime_s
from domain.connectivity.hello import PROTOCOL_VERSIONS
from domain.connectivity.lifecycle import Lifecycle, Step
from domain.errors import NetworkError
from domain.identifiers import PeerId
from domain.limits import ACCEPT_QUEUE_MAX, PEER_SILENCE_S_MAX
from domain.ports.environment import Entropy
from domain.ports.network import Connection, NetworkInterface

NONCE_BYTES: Final = 32
INSTANCE_BYTES: Final = 16


class SimulatedNetwork:
    """A network in one process.

    Args:
        loop: Whose time it uses.
        seed: What chance follows.
        options: How links behave that are not set otherwise.
        silence_s_max: After how long without reaching each other two ends lose their connection.
        report: Takes an event for everything that happens, for tests to look at; may be slow.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        seed: int,
        *,
        options: LinkOptions | None = None,
        silence_s_max: float = PEER_SILENCE_S_MAX,
        report: Callable[[TraceEvent], None] | None = None,
    ) -> None:
        self.loop = loop
        self.report = report
        self._seed = seed
        self._random = Random(f"{seed} network")
        self._options = options or LinkOptions()
        self._silence_s_max = silence_s_max
        self._links: dict[tuple[str, str], Link] = {}
        self._interfaces: dict[SimulatedNetworkInterface, None] = {}
        self._listeners: dict[str, SimulatedNetworkInterface] = {}
        self._wires: dict[Wire, None] = {}
        self._connections_made = 0
        self._groups: dict[str, int] = {}
        self._blocked: set[frozenset[str]] = set()

    # --- What goes wrong ---

    def set_link(self, one: str, other: str, options: LinkOptions) -> None:
        """Say how the way between two hosts behaves from now on, in both directions."""
        self.link(one, other).options = options
        self.link(other, one).options = options

    def partition(self, *groups: Iterable[str]) -> None:
        """Let hosts of different groups not reach each other, until `heal`; the hosts not named are one more group.

        Connections between them bear it for as long as they bear silence.
        """
        self._groups = {host: number for number, hosts in enumerate(groups) for host in hosts}
        self._bar_and_free()

    def heal(self) -> None:
        """End the partition; blocked pairs stay blocked."""
        self._groups = {}
        self._bar_and_free()

    def block(self, one: str, other: str) -> None:
        """Let two hosts not reach each other, until `unblock`."""
        self._blocked.add(frozenset((one, other)))
        self._bar_and_free()

    def unblock(self, one: str, other: str) -> None:
        """Let two hosts reach each other again."""
        self._blocked.discard(frozenset((one, other)))
        self._bar_and_free()

    def break_connections(self, one: str, other: str) -> None:
        """Break every connection between two hosts; what is under way is lost, and each end notices in its own time."""
        for wire in self._wires_between(one, other):
            wire.snap()

    def crash(self, host: str) -> None:
        """Cut a host off at once: what it had queued is never sent, what is under way to it is lost.

        Its interfaces are dead for good; a restarted node starts new ones. Its peers notice the silence.
        """
        for interface in list(self._interfaces):
            if interface.host == host:
                self.remove(interface)
                interface.die()
        for wire in list(self._wires):
            for side in (0, 1):
                if wire.hosts[side] == host:
                    wire.crash(side, "the host crashed")
        self._forget_wires()

    # --- What went over it ---

    def is_reachable(self, one: str, other: str) -> bool:
        """Whether anything gets from one host to the other now."""
        if one == other:
            return True
        if frozenset((one, other)) in self._blocked:
            return False
        return self._groups.get(one) == self._groups.get(other)

    def statistics(self, sender: str, receiver: str) -> LinkStatistics:
        """What was sent from one host to another."""
        return self.link(sender, receiver).statistics

    @property
    def connection_count(self) -> int:
        """Connections that at least one end believes to be alive."""
        self._forget_wires()
        return len(self._wires)

    # --- For its interfaces ---

    def host_of(self, address: str) -> str:
        """The host in an address."""
        return address.rpartition(":")[0]

    def link(self, sender: str, receiver: str) -> Link:
        """The way from one host to another."""
        link = self._links.get((sender, receiver))
        if link is None:
            random = Random(f"{self._seed} from {sender} to {receiver}")
            link = self._links[sender, receiver] = Link(self._options, random)
        return link

    def listener(self, address: str) -> "SimulatedNetworkInterface | None":
        """Who listens at an address."""
        return self._listeners.get(address)

    def add(self, interface: "SimulatedNetworkInterface") -> None:
        """Know an interface, so that a crash of its host ends it."""
        self._interfaces[interface] = None

    def listen(self, interface: "SimulatedNetworkInterface") -> None:
        """Let an interface take its address.

        Raises:
            NetworkError: Another one has it.
        """
        if interface.address in self._listeners:
            raise NetworkError(f"another node listens at {interface.address}")
        self._listeners[interface.address] = interface

    def remove(self, interface: "SimulatedNetworkInterface") -> None:
        """Forget an interface and take its address back."""
        self._interfaces.pop(interface, None)
        if self._listeners.get(interface.address) is interface:
            del self._listeners[interface.address]

    def connect(
        self, dialler: "SimulatedNetworkInterface", address: str, lifecycle: Lifecycle
    ) -> SimulatedConnection:
        """Make both ends of a connection, give the listener at that address his, and return the dialler's."""
        listener = self._listeners[address]
        there = self.link(dialler.host, listener.host)
        back = self.link(listener.host, dialler.host)
        hosts = (dialler.host, listener.host)
        self._connections_made += 1
        wire = Wire(
            self.loop,
            self._connections_made,
            hosts,
            (there, back),
            silence_s_max=self._silence_s_max,
        )
        binding = self._random.randbytes(2 * NONCE_BYTES)
        near, far = (
            SimulatedConnection(
                self.loop,
                wire,
                Introduction(
                    peer=remote.peer,
                    is_dialler=remote is listener,
                    instance=remote.instance,
                    binding=binding,
                    remote_address=remote_address,
                    lifecycle=life,
                ),
                self.report,
            )
            for remote, remote_address, life in (
                (listener, address, lifecycle),
                (dialler, dialler.address, self._accepted()),
            )
        )
        near.join(far)
        far.join(near)
        self._forget_wires()
        self._wires[wire] = None
        if not self.is_reachable(*hosts):
            wire.bar()
        lifetime_s = draw_lifetime_s(there, there.random)
        if lifetime_s is not None:
            wire.snap_after(lifetime_s)
        if self.report is not None:
            self.report(
                TraceEvent(
                    time_s=self.loop.time(),
                    kind=TraceKind.OPENED,
                    sender=dialler.host,
                    receiver=listener.host,
                    connection=wire.number,
                )
            )
        dialler.adopt(near)
        listener.adopt(far)
        listener.enqueue(far)
        return near

    # --- Within ---

    def _accepted(self) -> Lifecycle:
        """The life of a connection at whoever is dialled: for him it begins when all is proven."""
        now = self.loop.time()
        lifecycle = Lifecycle(now=now)
        for step in (Step.ACCEPT, Step.AUTHENTICATE, Step.PROVE, Step.ENCRYPT, Step.CONFIRM):
            lifecycle.take(step, now=now)
        return lifecycle

    def _wires_between(self, one: str, other: str) -> list[Wire]:
        return [wire for wire in self._wires if set(wire.hosts) == {one, other}]

    def _bar_and_free(self) -> None:
        self._forget_wires()
        for wire in self._wires:
            if self.is_reachable(*wire.hosts):
                wire.free()
            else:
                wire.bar()

    def _forget_wires(self) -> None:
        self._wires = {wire: None for wire in self._wires if not wire.is_over}


class SimulatedNetworkInterface(NetworkInterface):
    """The network as one node sees it.

    Args:
        network: The world.
        peer: Whose it is; that the node has the key is taken for granted.
        address: Where it listens, and whence it dials: `host:port`.
        entropy: Draws the instance.
        network_id: Which nodes it speaks to.
        versions: The protocol versions that it speaks.
    """

    def __init__(
        self,
        network: SimulatedNetwork,
        *,
        peer: PeerId,
        address: str,
        entropy: Entropy,
        network_id: str = "culm",
        versions: Sequence[int] = PROTOCOL_VERSIONS,
    ) -> None:
        self.peer = peer
        self.address = address
        self.network_id = network_id
        self.versions = tuple(versions)
        self.instance = entropy.draw(INSTANCE_BYTES)
        self.host = network.host_of(address)
        self._network = network
        self._is_started = False
        self._end: NetworkError | None = None
        self._connections: dict[SimulatedConnection, None] = {}
        self._dials: dict[Dial, None] = {}
        self._backlog: deque[SimulatedConnection] = deque()
        self._arrival = Bell(network.loop)
        network.add(self)

    async def start(self) -> None:
        self._check()
        self._network.listen(self)
        self._is_started = True

    @property
    def addresses(self) -> tuple[str, ...]:
        return (self.address,) if self._is_started else ()

    async def dial(
        self, peer: PeerId, addresses: Sequence[str], lifecycle: Lifecycle | None = None
    ) -> Connection:
        self._check()
        if not self._is_started:
            raise NetworkError("the interface has not been started")
        life = lifecycle or Lifecycle(now=self._network.loop.time())
        network = self._network
        dial = Dial(
            network, self, peer, addresses, life, lambda at: network.connect(self, at, life)
        )
        self._dials[dial] = None
        try:
            return await dial.run()
        finally:
            self._dials.pop(dial, None)

    async def accept(self) -> Connection:
        while not self._backlog:
            self._check()
            await self._arrival.wait()
        return self._backlog.popleft()

    async def close(self, code: int, reason: str) -> None:
        if self._end is not None:
            return
        self._network.remove(self)
        for connection in self._connections:
            connection.close(code, reason)
        self._finish(NetworkError("the network interface is closed"))

    # --- For the network ---

    @property
    def is_crowded(self) -> bool:
        """Whether too many connections wait to be accepted."""
        return len(self._backlog) >= ACCEPT_QUEUE_MAX

    def adopt(self, connection: SimulatedConnection) -> None:
        """Remember a connection, and forget those that have ended."""
        self._connections = {each: None for each in self._connections if not each.is_over}
        self._connections[connection] = None

    def enqueue(self, connection: SimulatedConnection) -> None:
        """Let somebody accept a connection."""
        self._backlog.append(connection)
        self._arrival.ring()

    def die(self) -> None:
        """Be dead, because the host crashed; the network ends the connections."""
        self._finish(NetworkError("the host crashed"))

    # --- Within ---

    def _finish(self, error: NetworkError) -> None:
        self._end = error
        self._backlog.clear()
        for dial in self._dials:
            dial.fail(error)
        self._arrival.ring()

    def _check(self) -> None:
        if self._end is not None:
            raise NetworkError(str(self._end)) from self._end
