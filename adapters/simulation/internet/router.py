"""What stands between a house and the world: translates IPv4 if it has a NAT, and filters.

IPv6 is never translated, and neither is IPv4 without a NAT: then addresses within are reached from outside, as far
as the firewall lets them be. A router behind another one makes double NAT.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Final

from adapters.simulation.internet.forwarding import Forwarding
from adapters.simulation.internet.gateway_service import GATEWAY_PORT, GatewayService
from adapters.simulation.internet.line import Drop, LineOptions
from adapters.simulation.internet.nat import Nat, NatOptions
from adapters.simulation.internet.packet import Endpoint, Packet, Protocol, is_ipv6, normalize
from adapters.simulation.internet.segment import (
    Gateway,
    Interface,
    Segment,
    Station,
    Surroundings,
)

FLOWS_MAX: Final = 65_536

_Flow = tuple[Protocol, Endpoint, Endpoint]


@dataclass(frozen=True, slots=True, kw_only=True)
class FirewallOptions:
    """What a router lets through.

    `allows_udp` and `tcp_ports` (all if None) hold for what goes out. What is not translated gets in only as an answer
    within `timeout_s`, if `is_stateful`.
    """

    allows_udp: bool = True
    tcp_ports: frozenset[int] | None = None
    is_stateful: bool = True
    timeout_s: float = 120.0


OPEN: Final = FirewallOptions(is_stateful=False)
STATEFUL: Final = FirewallOptions()
UDP_BLOCKED: Final = FirewallOptions(allows_udp=False)
ONLY_TCP_443: Final = FirewallOptions(allows_udp=False, tcp_ports=frozenset({443}))


class Router(Station, Gateway):
    """A router with one side inside and one outside.

    Args:
        name: What it is called.
        surroundings: The internet.
        inside: The segment that it is the gateway of.
        outside: The segment further out.
        addresses: Its addresses outside; the first of IPv4 is what its NAT shows.
        nat: How its NAT behaves; None for none.
        firewall: What it lets through.
        options: How its line to the outside behaves.
        random: What chance follows.
    """

    def __init__(  # noqa: PLR0913 - what a router is made of
        self,
        name: str,
        surroundings: Surroundings,
        inside: Segment,
        outside: Segment,
        *,
        addresses: Sequence[str],
        nat: NatOptions | None,
        firewall: FirewallOptions,
        options: LineOptions,
        random: Random,
    ) -> None:
        self._name = name
        self._surroundings = surroundings
        self.firewall = firewall
        # Towards the inside the lines of the hosts are all that there is.
        self.inside = Interface(surroundings, self, inside, (), LineOptions(delay_s=0.0))
        self.outside = Interface(surroundings, self, outside, addresses, options)
        outside.attach(self.outside)
        inside.gateway = (self, self.inside)
        self.nat: Nat | None = None
        self.forwarding: Forwarding | None = None
        self.service: GatewayService | None = None
        external = self.outside.address(of_ipv6=False)
        if nat is not None:
            if external is None:
                raise ValueError(f"{name} needs an IPv4 address to translate to")
            self.nat = Nat(nat, external, random)
        self._flows: dict[_Flow, float] = {}
        self._announced: dict[str, None] = {}

    @property
    def name(self) -> str:
        return self._name

    def serve(self, address: str) -> GatewayService:
        """Get an address within, and forward ports to who asks there, by PCP and by NAT-PMP."""
        assert self.nat is not None
        self.inside.addresses.append(normalize(address))
        self.inside.segment.attach(self.inside)
        self.forwarding = Forwarding(self.nat)
        self.service = GatewayService(self.forwarding, now=self._surroundings.loop.time())
        return self.service

    # --- What goes wrong ---

    def rebind(self) -> None:
        """Restart the NAT: what was mapped gets other external ports."""
        assert self.nat is not None
        self.nat.flush()

    def readdress(self, *addresses: str) -> None:
        """Get other addresses outside; what was mapped is forgotten."""
        old, segment = self.outside, self.outside.segment
        segment.detach(old)
        self.outside = Interface(self._surroundings, self, segment, addresses, old.outward.options)
        segment.attach(self.outside)
        for address in self._announced:
            segment.add_route(address, self.outside)
        if self.nat is not None:
            self.nat.flush(self.outside.address(of_ipv6=False))

    # --- Routes of what is not translated ---

    def announce(self, address: str) -> None:
        if not self._translates(address):
            self._announced[address] = None
            self.outside.segment.add_route(address, self.outside)

    def withdraw(self, address: str) -> None:
        if not self._translates(address):
            self._announced.pop(address, None)
            self.outside.segment.remove_route(address)

    def _translates(self, address: str) -> bool:
        return self.nat is not None and not is_ipv6(address)

    # --- Packets ---

    def receive(self, packet: Packet, interface: Interface) -> None:
        if interface is self.inside and packet.destination[0] in interface.addresses:
            self._answer(packet)
            return
        passed = self._pass_out(packet) if interface is self.inside else self._pass_in(packet)
        if not passed:
            self._surroundings.drop(packet, Drop.FILTERED)

    def _answer(self, packet: Packet) -> None:
        """Take what is for the router itself."""
        if self.service is None or packet.destination[1] != GATEWAY_PORT:
            self._surroundings.drop(packet, Drop.NOBODY)
            return
        self._surroundings.note_delivered(packet)
        now = self._surroundings.loop.time()
        answer = self.service.answer(packet.payload, packet.source, now=now)
        if answer is not None:
            self.inside.send(
                Packet(
                    protocol=packet.protocol,
                    source=packet.destination,
                    destination=packet.source,
                    payload=answer,
                    origin=self._name,
                )
            )

    def _pass_out(self, packet: Packet) -> bool:
        if not self._allows_out(packet):
            return False
        if self._translates(packet.destination[0]):
            return self._translate_out(packet)
        if packet.destination[0] in self.outside.addresses:
            return False
        self._note_flow(packet)
        self.outside.send(packet)
        return True

    def _translate_out(self, packet: Packet) -> bool:
        assert self.nat is not None
        now = self._surroundings.loop.time()
        is_hairpin = packet.destination[0] == self.nat.address
        if is_hairpin and not self.nat.options.hairpins:
            return False
        source = None
        if self.forwarding is not None:
            source = self.forwarding.translate_outbound(
                packet.protocol, packet.source, packet.destination, now
            )
        source = source or self.nat.translate_outbound(
            packet.protocol, packet.source, packet.destination, now
        )
        if source is None:
            return False
        translated = replace(packet, source=source)
        if is_hairpin:
            return self._translate_in(translated, now)
        self.outside.send(translated)
        return True

    def _pass_in(self, packet: Packet) -> bool:
        now = self._surroundings.loop.time()
        if self._translates(packet.destination[0]):
            return self._translate_in(packet, now)
        if packet.destination[0] in self.outside.addresses:
            return False
        if self.firewall.is_stateful:
            seen_at = self._flows.get((packet.protocol, packet.destination, packet.source))
            if seen_at is None or now - seen_at > self.firewall.timeout_s:
                return False
        self.inside.send(packet)
        return True

    def _translate_in(self, packet: Packet, now: float) -> bool:
        assert self.nat is not None
        destination = None
        if self.forwarding is not None:
            destination = self.forwarding.translate_inbound(
                packet.protocol, packet.source, packet.destination, now
            )
        destination = destination or self.nat.translate_inbound(
            packet.protocol, packet.source, packet.destination, now
        )
        if destination is None:
            return False
        self.inside.send(replace(packet, destination=destination))
        return True

    def _allows_out(self, packet: Packet) -> bool:
        if packet.protocol is Protocol.UDP:
            return self.firewall.allows_udp
        ports = self.firewall.tcp_ports
        return ports is None or packet.destination[1] in ports

    def _note_flow(self, packet: Packet) -> None:
        if self.firewall.is_stateful:
            if len(self._flows) >= FLOWS_MAX:
                self._flows.clear()
            flow = (packet.protocol, packet.source, packet.destination)
            self._flows[flow] = self._surroundings.loop.time()
