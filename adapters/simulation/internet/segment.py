"""Where interfaces meet: a segment, such as the public internet or the network of a house.

A segment hands a packet to the interface that has its destination, else to whom it is routed, else to the gateway.
"""

import asyncio
from abc import abstractmethod
from collections.abc import Sequence
from typing import Protocol

from adapters.simulation.internet.line import Drop, Line, LineOptions
from adapters.simulation.internet.packet import Packet, normalize


class Station(Protocol):
    """What has interfaces: a host or a router."""

    @property
    @abstractmethod
    def name(self) -> str:
        """What it is called."""

    @abstractmethod
    def receive(self, packet: Packet, interface: "Interface") -> None:
        """Take a packet that an interface has received."""


class Gateway(Protocol):
    """What lies between a segment and the next one further out."""

    @abstractmethod
    def announce(self, address: str) -> None:
        """An address within the segment has come into use: let it be reached from outside, if it is not translated."""

    @abstractmethod
    def withdraw(self, address: str) -> None:
        """An address within the segment is used no more."""


class LineEnd(Protocol):
    """Where a line ends."""

    @abstractmethod
    def arrive(self, packet: Packet) -> None:
        """Take a packet from the line."""


class Surroundings(Protocol):
    """What the parts of the internet need of the whole."""

    @property
    @abstractmethod
    def loop(self) -> asyncio.AbstractEventLoop:
        """Whose time passes."""

    @abstractmethod
    def line(self, name: str, options: LineOptions, end: LineEnd) -> Line:
        """Make a line that ends there."""

    @abstractmethod
    def loses(self, one: str, other: str) -> bool:
        """Whether a packet from one host to another is lost on the way, besides on lines."""

    @abstractmethod
    def is_reachable(self, one: str, other: str) -> bool:
        """Whether anything gets from one host to another, as far as partitions and blocks go."""

    @abstractmethod
    def note_sent(self, packet: Packet) -> None:
        """Note that a host sent a packet."""

    @abstractmethod
    def note_delivered(self, packet: Packet) -> None:
        """Note that a packet has arrived."""

    @abstractmethod
    def drop(self, packet: Packet, why: Drop) -> None:
        """Note that a packet was lost."""


class Interface(LineEnd):
    """What connects a station with a segment: its addresses there, and a line in each direction.

    Args:
        surroundings: The internet.
        station: Whose it is.
        segment: Where it leads.
        addresses: Its addresses, the preferred one of each IP version first.
        options: How both directions of its line behave.
    """

    def __init__(
        self,
        surroundings: Surroundings,
        station: Station,
        segment: "Segment",
        addresses: Sequence[str],
        options: LineOptions,
    ) -> None:
        self.station = station
        self.segment = segment
        self.addresses = [normalize(address) for address in addresses]
        name = f"{station.name} in {segment.name}"
        self.outward = surroundings.line(f"from {name}", options, segment)
        self.inward = surroundings.line(f"to {name}", options, self)

    @property
    def is_up(self) -> bool:
        """Whether its line is up."""
        return self.outward.is_up

    def set_up(self, *, is_up: bool) -> None:
        """Put the line in order or out of it, in both directions."""
        self.outward.is_up = self.inward.is_up = is_up

    def set_options(self, options: LineOptions) -> None:
        """Say how the line behaves from now on, in both directions."""
        self.outward.options = self.inward.options = options

    def address(self, *, of_ipv6: bool) -> str | None:
        """Its preferred address of an IP version."""
        return next((each for each in self.addresses if (":" in each) == of_ipv6), None)

    def send(self, packet: Packet) -> None:
        """Send a packet into the segment."""
        self.outward.send(packet)

    def arrive(self, packet: Packet) -> None:
        self.station.receive(packet, self)


class Segment(LineEnd):
    """A network whose stations reach each other.

    Args:
        name: What it is called.
        surroundings: The internet.
    """

    def __init__(self, name: str, surroundings: Surroundings) -> None:
        self.name = name
        self.gateway: tuple[Gateway, Interface] | None = None
        self._surroundings = surroundings
        self._stations: dict[str, Interface] = {}
        self._routes: dict[str, Interface] = {}

    def attach(self, interface: Interface) -> None:
        """Let the addresses of an interface be reached.

        Raises:
            ValueError: Another one has one of its addresses.
        """
        for address in interface.addresses:
            if address in self._stations:
                raise ValueError(f"{address} is taken in {self.name}")
            self._stations[address] = interface
            if self.gateway is not None:
                self.gateway[0].announce(address)

    def detach(self, interface: Interface) -> None:
        """Let the addresses of an interface be reached no more."""
        for address in interface.addresses:
            del self._stations[address]
            if self.gateway is not None:
                self.gateway[0].withdraw(address)

    def add_route(self, address: str, interface: Interface) -> None:
        """Send what is for an address to an interface, and let it be reached from further out."""
        self._routes[address] = interface
        if self.gateway is not None:
            self.gateway[0].announce(address)

    def remove_route(self, address: str) -> None:
        """Forget how an address is reached."""
        self._routes.pop(address, None)
        if self.gateway is not None:
            self.gateway[0].withdraw(address)

    def holds(self, address: str) -> bool:
        """Whether an address is in the segment itself."""
        return address in self._stations

    def arrive(self, packet: Packet) -> None:
        address = packet.destination[0]
        interface = self._stations.get(address) or self._routes.get(address)
        if interface is None and self.gateway is not None:
            interface = self.gateway[1]
        if interface is None:
            self._surroundings.drop(packet, Drop.NO_ROUTE)
        else:
            interface.inward.send(packet)
