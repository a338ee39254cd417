"""The addresses at which other machines can reach this one; asks the system only, sends nothing."""

import contextlib
import socket
from typing import Final

from domain.connectivity.address import Address

_LOOPBACK: Final = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}
# Addresses for documentation (RFC 5737, RFC 3849): nobody has them, but the system knows by which interface it would
# reach them.
_FAR_AWAY: Final = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}
_PORT: Final = 9


def reachable_addresses(port: int, *, with_ipv6: bool) -> tuple[Address, ...]:
    """Where a socket bound to all interfaces can be reached: the ways to the outside first, loopback last."""
    families = [socket.AF_INET, socket.AF_INET6] if with_ipv6 else [socket.AF_INET]
    hosts: dict[str, None] = {}
    for family in families:
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(
                (_FAR_AWAY[family], _PORT)
            )  # chooses a route; a datagram socket sends nothing here
            hosts[probe.getsockname()[0]] = None
    hosts.update(dict.fromkeys(_LOOPBACK[family] for family in families))
    return tuple(Address.from_host(host, port) for host in hosts)
