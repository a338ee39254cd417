"""Ports of a NAT box that lead to sockets within because somebody asked for them.

As the kernel of Linux does it: what comes to such a port gets in, whoever sends it, and what answers it leaves by the
same port; what is begun from within has a mapping of the NAT's own, so other servers see another address.
"""

from dataclasses import dataclass, field
from itertools import chain

from adapters.simulation.internet.nat import SWEEP_AT_MAPPINGS, UDP_TIMEOUT_S, Nat
from adapters.simulation.internet.packet import PORT_MAX, Endpoint, Protocol


@dataclass(slots=True, kw_only=True)
class Forward:
    """One port: where it leads, until when, and who came by it from outside, with the time."""

    internal: Endpoint
    port: int
    ends_at: float
    came: dict[Endpoint, float] = field(default_factory=dict)


class Forwarding:
    """The ports of one box.

    Args:
        nat: Whose ports they are.
    """

    def __init__(self, nat: Nat) -> None:
        self._nat = nat
        self._by_port: dict[tuple[Protocol, int], Forward] = {}

    @property
    def address(self) -> str:
        """The address of the box outside."""
        return self._nat.address

    def active(self, now: float) -> tuple[Forward, ...]:
        """All ports whose time is not over."""
        for key, each in list(self._by_port.items()):
            if each.ends_at <= now:
                self._remove(key)
        return tuple(self._by_port.values())

    def find(self, protocol: Protocol, internal: Endpoint, now: float) -> Forward | None:
        """The port that leads to a socket within, if there is one."""
        self.active(now)
        found = (
            each
            for key, each in self._by_port.items()
            if (key[0], each.internal) == (protocol, internal)
        )
        return next(found, None)

    def open(
        self, protocol: Protocol, internal: Endpoint, wanted: int, *, lifetime_s: float, now: float
    ) -> Forward | None:
        """Let a port lead to a socket within for some time: the wanted one, or the next one that is free."""
        forward = self.find(protocol, internal, now)
        if forward is None:
            port = self._choose(protocol, internal, wanted or internal[1], now)
            if port is None:
                return None
            forward = Forward(internal=internal, port=port, ends_at=now)
            self._by_port[protocol, port] = forward
            self._nat.reserved.add((protocol, port))
        forward.ends_at = now + lifetime_s
        return forward

    def close(self, protocol: Protocol, internal: Endpoint) -> None:
        """Let nothing lead to a socket within any more."""
        for key, each in list(self._by_port.items()):
            if (key[0], each.internal) == (protocol, internal):
                self._remove(key)

    def clear(self) -> None:
        """Forget all ports, as a box does that restarts."""
        for key in list(self._by_port):
            self._remove(key)

    def translate_outbound(
        self, protocol: Protocol, source: Endpoint, destination: Endpoint, now: float
    ) -> Endpoint | None:
        """What the source of an answer from within becomes; None for what is no answer to anything."""
        forward = self.find(protocol, source, now)
        if forward is None or now - forward.came.get(destination, -UDP_TIMEOUT_S) > UDP_TIMEOUT_S:
            return None
        forward.came[destination] = now
        return (self.address, forward.port)

    def translate_inbound(
        self, protocol: Protocol, source: Endpoint, destination: Endpoint, now: float
    ) -> Endpoint | None:
        """What the destination of a packet from outside becomes; None if nobody asked for that port."""
        forward = self._by_port.get((protocol, destination[1]))
        if forward is None or destination[0] != self.address or forward.ends_at <= now:
            return None
        if len(forward.came) >= SWEEP_AT_MAPPINGS:
            forward.came.clear()
        forward.came[source] = now
        return forward.internal

    def _choose(
        self, protocol: Protocol, internal: Endpoint, wanted: int, now: float
    ) -> int | None:
        port_min = self._nat.options.port_min
        for port in chain(range(wanted, PORT_MAX + 1), range(port_min, wanted)):
            is_ours = self._nat.user_of(protocol, port, now) in (None, internal)
            if is_ours and (protocol, port) not in self._by_port:
                return port
        return None

    def _remove(self, key: tuple[Protocol, int]) -> None:
        del self._by_port[key]
        self._nat.reserved.discard(key)
