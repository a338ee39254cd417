"""The addresses at which other machines can reach this one; asks the system only, sends nothing."""

import contextlib
import socket
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Final

import ifaddr

from domain.connectivity.address import Address
from domain.limits import HOST_ADDRESSES_MAX

_LOOPBACK: Final = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}
# Addresses for documentation (RFC 5737, RFC 3849): nobody has them, but the system knows by which interface it would
# reach them.
_FAR_AWAY: Final = {socket.AF_INET: "192.0.2.1", socket.AF_INET6: "2001:db8::1"}
_PORT: Final = 9


def reachable_addresses(port: int, *, with_ipv6: bool) -> tuple[Address, ...]:
    """Where a socket bound to all interfaces can be reached.

    The ways to the outside come first, then other interfaces, at most `HOST_ADDRESSES_MAX` in all; loopback is last.
    """
    families = [socket.AF_INET, socket.AF_INET6] if with_ipv6 else [socket.AF_INET]
    hosts: dict[str, None] = {}
    for family in families:
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect(
                (_FAR_AWAY[family], _PORT)
            )  # chooses a route; a datagram socket sends nothing here
            hosts[probe.getsockname()[0]] = None
    hosts.update(dict.fromkeys(_interface_hosts(with_ipv6=with_ipv6)))
    listed = list(hosts)[:HOST_ADDRESSES_MAX]
    listed += [_LOOPBACK[family] for family in families]
    return tuple(Address.from_host(host, port) for host in dict.fromkeys(listed))


def _interface_hosts(*, with_ipv6: bool) -> Iterator[str]:
    """The addresses of all interfaces, without those that mean nothing on another machine; none on an error."""
    with contextlib.suppress(OSError):
        for adapter in ifaddr.get_adapters():
            for each in adapter.ips:
                if each.is_IPv4 or with_ipv6:
                    found = ip_address(each.ip if isinstance(each.ip, str) else each.ip[0])
                    if not (found.is_loopback or found.is_link_local or found.is_unspecified):
                        yield str(found)
