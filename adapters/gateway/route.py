"""Which router leads out of the local network: asks the system only, sends nothing."""

import contextlib
import socket
import struct
from ipaddress import IPv4Address, ip_address
from pathlib import Path
from typing import Final

from domain.connectivity.port_mapping import GatewayRoute

ROUTES: Final = Path("/proc/net/route")
ROUTES_BYTES_MAX: Final = 65_536
"""The default routes come first; a machine with more has thousands of others."""
UP_AND_GATEWAY: Final = 0x0001 | 0x0002
FIELDS: Final = 8
_PORT: Final = 9


def find_gateway_route(listening: str) -> GatewayRoute | None:
    """Find the router of IPv4; None if there is none, or if it is none to what listens at that address.

    Args:
        listening: The IP address where our socket is bound, or an unspecified one.
    """
    bound = ip_address(listening)
    if bound.is_loopback or (bound.version != 4 and not bound.is_unspecified):  # noqa: PLR2004
        return None
    with contextlib.suppress(OSError, ValueError), ROUTES.open("rb") as file:
        gateway = read_default_gateway(file.read(ROUTES_BYTES_MAX).decode("ascii"))
        if gateway is not None:
            local = _address_towards(gateway) if bound.is_unspecified else str(bound)
            return GatewayRoute(gateway, local)
    return None


def read_default_gateway(table: str) -> str | None:
    """Find the IPv4 address of the default router with the least metric in what Linux has in `/proc/net/route`."""
    found: list[tuple[int, str]] = []
    for line in table.splitlines()[1:]:
        fields = line.split()
        if len(fields) < FIELDS:
            continue
        with contextlib.suppress(ValueError, struct.error):
            destination, gateway, flags, mask = (int(fields[each], 16) for each in (1, 2, 3, 7))
            is_default = destination == 0 and mask == 0
            if is_default and flags & UP_AND_GATEWAY == UP_AND_GATEWAY:
                # Numbers stand there as they lie in memory.
                host = str(IPv4Address(struct.pack("=I", gateway)))
                found.append((int(fields[6]), host))
    return min(found)[1] if found else None


def _address_towards(gateway: str) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((gateway, _PORT))  # chooses a route; a datagram socket sends nothing here
        return str(probe.getsockname()[0])
