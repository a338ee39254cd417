"""What came of asking the router to forward a port to us, and by which router we leave the local network."""

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from domain.connectivity.address import Address


class PortMappingState(Enum):
    """How far it is."""

    ASKING = "asking"
    """Nothing has been heard yet, and it is too early to wonder."""
    WORKS = "works"
    REFUSED = "refused"
    SILENT = "silent"
    """The router does not answer; it is asked again, ever more seldom."""
    ABSENT = "absent"
    """There is nobody to ask: no IPv4 router, or nobody outside is to reach us."""


class GatewayRoute(NamedTuple):
    """The way out of the local network: IPv4 addresses of the router, and of ours towards it."""

    gateway: str
    local: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PortMappingReport:
    """How it stands with the port.

    Args:
        state: How far it is.
        gateway: Who was asked; None if there is nobody.
        protocol: How it answered last: `PCP`, `NAT-PMP` or `UPnP`; None if it never did.
        external: What it forwards to us; only if it does.
        lifetime_s: For how long it promised that, in seconds; asked for again after half of it.
        error: What went wrong last; None if nothing did.
    """

    state: PortMappingState
    gateway: str | None = None
    protocol: str | None = None
    external: Address | None = None
    lifetime_s: float | None = None
    error: str | None = None
