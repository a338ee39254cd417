"""The behaviour of a NAT box by RFC 4787: which mappings it makes, how long they last and whom they let in.

It only decides; `router` moves the packets. Times come in as `now`.
"""

from dataclasses import dataclass, field
from enum import Enum
from random import Random
from typing import Final

from adapters.simulation.internet.packet import PORT_MAX, Endpoint, Protocol

UDP_TIMEOUT_S: Final = 120.0
"""The least that RFC 4787 (REQ-5) allows."""
TCP_TIMEOUT_S: Final = 7_440.0
"""RFC 5382, REQ-5."""
PORT_MIN: Final = 1_024
SWEEP_AT_MAPPINGS: Final = 1_024


class Dependence(Enum):
    """What of the remote end a mapping or a filter depends on."""

    ENDPOINT_INDEPENDENT = "endpoint-independent"
    ADDRESS_DEPENDENT = "address-dependent"
    ADDRESS_AND_PORT_DEPENDENT = "address-and-port-dependent"


class PortChoice(Enum):
    """Which external port a new mapping gets."""

    PRESERVING = "preserving"
    """The internal one if it is free, else the next free one."""
    CONTIGUOUS = "contiguous"
    """The one after the last one given."""
    RANDOM = "random"


@dataclass(frozen=True, slots=True, kw_only=True)
class NatOptions:
    """How a NAT box behaves.

    A mapping ends `timeout_s` after the last packet from within (REQ-6); packets from outside refresh it too if
    `is_refreshed_inbound`. With `hairpins`, hosts within reach each other at the external addresses (REQ-9).
    """

    mapping: Dependence = Dependence.ENDPOINT_INDEPENDENT
    filtering: Dependence = Dependence.ADDRESS_AND_PORT_DEPENDENT
    ports: PortChoice = PortChoice.PRESERVING
    timeout_s: float = UDP_TIMEOUT_S
    tcp_timeout_s: float = TCP_TIMEOUT_S
    is_refreshed_inbound: bool = False
    hairpins: bool = False
    port_min: int = PORT_MIN
    port_max: int = PORT_MAX


FULL_CONE: Final = NatOptions(filtering=Dependence.ENDPOINT_INDEPENDENT)
ADDRESS_RESTRICTED: Final = NatOptions(filtering=Dependence.ADDRESS_DEPENDENT)
PORT_RESTRICTED: Final = NatOptions(filtering=Dependence.ADDRESS_AND_PORT_DEPENDENT)
SYMMETRIC: Final = NatOptions(
    mapping=Dependence.ADDRESS_AND_PORT_DEPENDENT,
    filtering=Dependence.ADDRESS_AND_PORT_DEPENDENT,
    ports=PortChoice.RANDOM,
)
PRESETS: Final = {
    "full cone": FULL_CONE,
    "address restricted": ADDRESS_RESTRICTED,
    "port restricted": PORT_RESTRICTED,
    "symmetric": SYMMETRIC,
}
"""The four classical types (RFC 3489)."""

Remote = Endpoint | str | None
_Key = tuple[Protocol, Endpoint, Remote]


@dataclass(slots=True, kw_only=True)
class Mapping:
    """One mapping: what is within, what it looks like outside, and where it has been used to send to, and when."""

    protocol: Protocol
    internal: Endpoint
    external: Endpoint
    key: _Key
    refreshed_at: float
    sent_to: dict[Remote, float] = field(default_factory=dict)


class Nat:
    """The mappings of one box for one IP version.

    Args:
        options: How it behaves; may be replaced at any time.
        address: Its external address; may be replaced, with `flush`.
        random: What random ports follow.

    Attributes:
        reserved: External ports that no mapping gets, since they lead to somebody within by his own wish.
    """

    def __init__(self, options: NatOptions, address: str, random: Random) -> None:
        self.options = options
        self.address = address
        self._random = random
        self._by_key: dict[_Key, Mapping] = {}
        self._by_port: dict[tuple[Protocol, int], Mapping] = {}
        self._retired: set[tuple[Protocol, int]] = set()
        self.reserved: set[tuple[Protocol, int]] = set()
        self._next_port = random.randint(options.port_min, options.port_max)

    @property
    def mappings(self) -> tuple[Mapping, ...]:
        """All mappings, those that have ended and were not noticed included."""
        return tuple(self._by_key.values())

    def user_of(self, protocol: Protocol, port: int, now: float) -> Endpoint | None:
        """Who within an external port belongs to; None if it is free."""
        if self._is_free(protocol, port, now):
            return None
        mapping = self._by_port.get((protocol, port))
        return mapping.internal if mapping is not None else None

    def translate_outbound(
        self, protocol: Protocol, source: Endpoint, destination: Endpoint, now: float
    ) -> Endpoint | None:
        """What the source of a packet from within becomes; None if no port is left."""
        key = (protocol, source, _project(self.options.mapping, destination))
        mapping = self._by_key.get(key)
        if mapping is not None and self._has_ended(mapping, now):
            self._remove(mapping)
            mapping = None
        if mapping is None:
            port = self._choose_port(protocol, source[1], now)
            if port is None:
                return None
            mapping = Mapping(
                protocol=protocol,
                internal=source,
                external=(self.address, port),
                key=key,
                refreshed_at=now,
            )
            self._by_key[key] = self._by_port[protocol, port] = mapping
        mapping.refreshed_at = now
        mapping.sent_to[_project(self.options.filtering, destination)] = now
        return mapping.external

    def translate_inbound(
        self, protocol: Protocol, source: Endpoint, destination: Endpoint, now: float
    ) -> Endpoint | None:
        """What the destination of a packet from outside becomes; None if it is not let in."""
        mapping = self._by_port.get((protocol, destination[1]))
        if mapping is None or destination[0] != self.address:
            return None
        if self._has_ended(mapping, now):
            self._remove(mapping)
            return None
        remote = _project(self.options.filtering, source)
        sent_at = mapping.sent_to.get(remote)
        if sent_at is None or now - sent_at > self._timeout_s(protocol):
            return None
        if self.options.is_refreshed_inbound:
            mapping.refreshed_at = mapping.sent_to[remote] = now
        return mapping.internal

    def flush(self, address: str | None = None) -> None:
        """Forget all mappings, as a box does that restarts: the next ones get other ports, or another address."""
        self._retired = set(self._by_port)
        self._by_key.clear()
        self._by_port.clear()
        if address is not None:
            self.address = address

    # --- Within ---

    def _timeout_s(self, protocol: Protocol) -> float:
        is_udp = protocol is Protocol.UDP
        return self.options.timeout_s if is_udp else self.options.tcp_timeout_s

    def _has_ended(self, mapping: Mapping, now: float) -> bool:
        return now - mapping.refreshed_at > self._timeout_s(mapping.protocol)

    def _remove(self, mapping: Mapping) -> None:
        del self._by_key[mapping.key]
        del self._by_port[mapping.protocol, mapping.external[1]]

    def _sweep(self, now: float) -> None:
        for mapping in self.mappings:
            if self._has_ended(mapping, now):
                self._remove(mapping)

    def _choose_port(self, protocol: Protocol, internal_port: int, now: float) -> int | None:
        if len(self._by_key) >= SWEEP_AT_MAPPINGS:
            self._sweep(now)
        low, count = self.options.port_min, self.options.port_max - self.options.port_min + 1
        if self.options.ports is PortChoice.PRESERVING:
            first = internal_port
        elif self.options.ports is PortChoice.CONTIGUOUS:
            first = self._next_port
        else:
            first = low + self._random.randrange(count)
        for step in range(count):
            port = low + (first - low + step) % count
            if (protocol, port) not in self._retired and self._is_free(protocol, port, now):
                self._next_port = port + 1
                return port
        return None

    def _is_free(self, protocol: Protocol, port: int, now: float) -> bool:
        if (protocol, port) in self.reserved:
            return False
        mapping = self._by_port.get((protocol, port))
        if mapping is not None and self._has_ended(mapping, now):
            self._remove(mapping)
            return True
        return mapping is None


def _project(dependence: Dependence, remote: Endpoint) -> Remote:
    """Leave of a remote end what something depends on."""
    match dependence:
        case Dependence.ENDPOINT_INDEPENDENT:
            return None
        case Dependence.ADDRESS_DEPENDENT:
            return remote[0]
        case Dependence.ADDRESS_AND_PORT_DEPENDENT:
            return remote
