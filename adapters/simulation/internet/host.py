"""A host: its interfaces, its ports, and what it has opened there.

Which host code runs on is known by the context: what runs within `entered()`, tasks started there included, opens
its sockets on that host.
"""

import errno
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from random import Random
from typing import Final, Protocol

from adapters.simulation.internet.line import LAN, Drop, LineOptions
from adapters.simulation.internet.packet import (
    PORT_MAX,
    Endpoint,
    Packet,
    TcpSegment,
    is_ipv6,
)
from adapters.simulation.internet.packet import Protocol as Transport
from adapters.simulation.internet.segment import Interface, LineEnd, Segment, Station, Surroundings

EPHEMERAL_PORT_MIN: Final = 32_768
WILDCARDS: Final = {False: "0.0.0.0", True: "::"}  # noqa: S104 - nothing real listens
LOOPBACKS: Final = ("127.0.0.1", "::1")

_current: ContextVar["Host"] = ContextVar("host")


class Receiver(Protocol):
    """What has a port."""

    @abstractmethod
    def receive(self, packet: Packet) -> None:
        """Take a packet."""

    @abstractmethod
    def die(self) -> None:
        """The host has crashed: do and say nothing more."""


class Host(Station, LineEnd):
    """A host of the internet.

    Args:
        internet: Where it is.
        name: What it is called; other hosts find it under this name.
        random: What its ephemeral ports follow.
    """

    def __init__(self, internet: Surroundings, name: str, random: Random) -> None:
        self.internet = internet
        self.interfaces: list[Interface] = []
        self._name = name
        self._random = random
        self._receivers: dict[tuple[Transport, Endpoint], Receiver] = {}
        self._streams: dict[tuple[Endpoint, Endpoint], Receiver] = {}
        self._loopback = internet.line(f"in {name}", LineOptions(delay_s=0.000_01), self)

    @property
    def name(self) -> str:
        return self._name

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Let what runs in the block open its sockets here."""
        token = _current.set(self)
        try:
            yield
        finally:
            _current.reset(token)

    # --- Interfaces ---

    def attach(
        self, segment: Segment, *addresses: str, options: LineOptions = LAN, preferred: bool = False
    ) -> Interface:
        """Plug into a segment, with addresses there; what has no better way takes the first interface that is up."""
        interface = Interface(self.internet, self, segment, addresses, options)
        segment.attach(interface)
        self.interfaces.insert(0 if preferred else len(self.interfaces), interface)
        return interface

    def detach(self, interface: Interface) -> None:
        """Unplug: its addresses are gone, what is bound to them reaches nobody, what is under way is lost."""
        interface.segment.detach(interface)
        interface.set_up(is_up=False)
        self.interfaces.remove(interface)

    @property
    def addresses(self) -> tuple[str, ...]:
        """All of its addresses, those of the first interface first."""
        return tuple(address for each in self.interfaces for address in each.addresses)

    @property
    def socket_count(self) -> int:
        """Sockets and streams that are open."""
        return len(self._receivers) + len(self._streams)

    def crash(self) -> None:
        """Forget everything that is open, without a word to anybody."""
        receivers = [*self._receivers.values(), *self._streams.values()]
        self._receivers.clear()
        self._streams.clear()
        for receiver in receivers:
            receiver.die()

    # --- Ports ---

    def bind(self, transport: Transport, address: str, port: int, receiver: Receiver) -> int:
        """Give a port to a receiver, a free one if `port` is 0, and say which.

        Raises:
            OSError: The port is taken, or the address is not one of this host.
        """
        if address not in (*WILDCARDS.values(), *LOOPBACKS, *self.addresses):
            raise OSError(errno.EADDRNOTAVAIL, f"{address} is no address of {self._name}")
        while port == 0:
            drawn = self._random.randint(EPHEMERAL_PORT_MIN, PORT_MAX)
            port = 0 if self._is_taken(transport, address, drawn) else drawn
        if self._is_taken(transport, address, port):
            raise OSError(errno.EADDRINUSE, f"port {port} of {self._name} is in use")
        self._receivers[transport, (address, port)] = receiver
        return port

    def release(self, transport: Transport, endpoint: Endpoint, receiver: Receiver) -> None:
        """Take a port back."""
        if self._receivers.get((transport, endpoint)) is receiver:
            del self._receivers[transport, endpoint]

    def add_stream(self, local: Endpoint, remote: Endpoint, receiver: Receiver) -> None:
        """Let a receiver have the packets of one TCP connection."""
        self._streams[local, remote] = receiver

    def remove_stream(self, local: Endpoint, remote: Endpoint) -> None:
        """Forget a TCP connection."""
        self._streams.pop((local, remote), None)

    def _is_taken(self, transport: Transport, address: str, port: int) -> bool:
        rivals = (address, *WILDCARDS.values())
        if address in WILDCARDS.values():
            rivals = (*rivals, *LOOPBACKS, *self.addresses)
        return any((transport, (rival, port)) in self._receivers for rival in rivals)

    # --- Packets ---

    def source_for(self, destination: str, bound: str) -> str | None:
        """The address from which something bound so reaches a destination; None if nothing leads there."""
        is_local = destination in LOOPBACKS or destination in self.addresses
        if is_local:
            return destination if bound in WILDCARDS.values() else bound
        interface = self._interface_to(destination, bound)
        if interface is None:
            return None
        if bound not in WILDCARDS.values():
            return bound
        return interface.address(of_ipv6=is_ipv6(destination))

    def send(self, packet: Packet) -> None:
        """Send a packet from one of our addresses."""
        self.internet.note_sent(packet)
        destination = packet.destination[0]
        if destination in LOOPBACKS or destination in self.addresses:
            self._loopback.send(packet)
            return
        interface = self._interface_to(destination, packet.source[0])
        if interface is None:
            self.internet.drop(packet, Drop.NO_ROUTE)
        else:
            interface.send(packet)

    def _interface_to(self, destination: str, bound: str) -> Interface | None:
        usable = [
            each
            for each in self.interfaces
            if each.is_up
            and (
                each.address(of_ipv6=is_ipv6(destination)) is not None
                if bound in WILDCARDS.values()
                else bound in each.addresses
            )
        ]
        near = (each for each in usable if each.segment.holds(destination))
        return next(near, usable[0] if usable else None)

    def arrive(self, packet: Packet) -> None:
        self._hand_over(packet)

    def receive(self, packet: Packet, interface: Interface) -> None:
        if not self.internet.is_reachable(packet.origin, self._name):
            self.internet.drop(packet, Drop.PARTITIONED)
        elif self.internet.loses(packet.origin, self._name):
            self.internet.drop(packet, Drop.LOST)
        elif packet.destination[0] not in interface.addresses:
            self.internet.drop(packet, Drop.NO_ROUTE)
        else:
            self._hand_over(packet)

    def _hand_over(self, packet: Packet) -> None:
        receiver = self._streams.get((packet.destination, packet.source))
        if receiver is None:
            address, port = packet.destination
            receivers, transport = self._receivers, packet.protocol
            receiver = (
                receivers.get((transport, packet.destination))
                or receivers.get((transport, (WILDCARDS[is_ipv6(address)], port)))
                or receivers.get((transport, (WILDCARDS[True], port)))
            )
        if receiver is not None:
            self.internet.note_delivered(packet)
            receiver.receive(packet)
            return
        self.internet.drop(packet, Drop.NOBODY)
        segment = packet.segment
        if segment is not None and not segment.is_reset:
            self._reset(packet, segment)

    def _reset(self, packet: Packet, segment: TcpSegment) -> None:
        self.send(
            Packet(
                protocol=packet.protocol,
                source=packet.destination,
                destination=packet.source,
                payload=b"",
                origin=self._name,
                segment=TcpSegment(
                    sequence=segment.acknowledgement or 0,
                    acknowledgement=segment.sequence + len(packet.payload) + segment.is_syn,
                    is_reset=True,
                ),
            )
        )


def current_host() -> Host | None:
    """The host whose code runs now, as far as the context says."""
    return _current.get(None)
