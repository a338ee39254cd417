"""What a NAT box does, in the words of RFC 4787, and what follows for reaching each other.

Pure tables: `can_punch` says whether two nodes can open a way between them by sending at once, `keeps_relay` whether a
node should have a relay ready before anybody asks.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final


class Mapping(IntEnum):
    """Whether the outside address of a socket depends on whom it sends to; the number stands in offers."""

    UNKNOWN = 0
    NONE = 1
    """There is no NAT: the outside address is that of the machine."""
    ENDPOINT_INDEPENDENT = 2
    ADDRESS_DEPENDENT = 3
    ADDRESS_AND_PORT_DEPENDENT = 4
    """With its filter also called symmetric."""
    BLOCKED = 5
    """No UDP leaves this network."""


class Filtering(IntEnum):
    """From whom packets get in; the number stands in offers."""

    UNKNOWN = 0
    ENDPOINT_INDEPENDENT = 1
    """Full cone: from anybody."""
    ADDRESS_DEPENDENT = 2
    """Address-restricted: from whose address was sent to."""
    ADDRESS_AND_PORT_DEPENDENT = 3
    """Port-restricted: only from where exactly was sent to."""


@dataclass(frozen=True, slots=True)
class NatBehavior:
    """Both together."""

    mapping: Mapping = Mapping.UNKNOWN
    filtering: Filtering = Filtering.UNKNOWN

    @property
    def is_symmetric(self) -> bool:
        """Whether the address that a STUN server sees is not the one that a peer will see."""
        return self.mapping in (Mapping.ADDRESS_DEPENDENT, Mapping.ADDRESS_AND_PORT_DEPENDENT)

    @property
    def name(self) -> str:
        """What people call it."""
        if self.mapping in (Mapping.NONE, Mapping.BLOCKED, Mapping.UNKNOWN):
            return _NAMES[self.mapping]
        if self.is_symmetric:
            return "symmetric"
        return _FILTER_NAMES[self.filtering]


_NAMES: Final = {
    Mapping.NONE: "no NAT",
    Mapping.BLOCKED: "UDP blocked",
    Mapping.UNKNOWN: "unknown",
}
_FILTER_NAMES: Final = {
    Filtering.UNKNOWN: "endpoint-independent mapping",
    Filtering.ENDPOINT_INDEPENDENT: "full cone",
    Filtering.ADDRESS_DEPENDENT: "address-restricted",
    Filtering.ADDRESS_AND_PORT_DEPENDENT: "port-restricted",
}

UNKNOWN: Final = NatBehavior()

KEEPALIVE_S: Final = 20.0
"""Where it was not measured: some boxes forget a mapping of UDP after 30 s, though RFC 4787 (REQ-5) asks for 120."""
KEEPALIVE_S_MIN: Final = 5.0
KEEPALIVE_S_MAX: Final = 120.0
"""Asking is also how we notice that our address outside is another."""
KEEPALIVE_SHARE: Final = 0.8
"""Of the time for which a binding is kept: the packet may be late, or be sent again once or twice."""


def keepalive_s(binding_s: float | None) -> float:
    """Say after how many seconds a binding is to be used again so that the box keeps it.

    Args:
        binding_s: For how long it keeps one that nobody uses, in seconds, as was measured; None if it was not.
    """
    if binding_s is None:
        return KEEPALIVE_S
    return min(max(KEEPALIVE_SHARE * binding_s, KEEPALIVE_S_MIN), KEEPALIVE_S_MAX)


def can_punch(one: NatBehavior, other: NatBehavior) -> bool:
    """Whether probes sent from both sides at once can meet, as far as is known; the unknown gets a chance."""
    if Mapping.BLOCKED in (one.mapping, other.mapping):
        return False
    if one.is_symmetric and other.is_symmetric:
        return False
    for symmetric, open_side in ((one, other), (other, one)):
        if symmetric.is_symmetric:
            return open_side.filtering is not Filtering.ADDRESS_AND_PORT_DEPENDENT
    return True


def keeps_relay(own: NatBehavior) -> bool:
    """Whether a relay should be ready before anybody asks: most peers cannot be reached without one."""
    return own.is_symmetric or own.mapping is Mapping.BLOCKED


def wants_relay(own: NatBehavior, peer: NatBehavior, *, peer_has_relay: bool) -> bool:
    """Whether we should get a port at a relay for this peer; one of the two is enough."""
    if can_punch(own, peer):
        return False
    return keeps_relay(own) or not peer_has_relay
