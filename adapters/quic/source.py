"""What the transport calls the other end of a datagram: an address of our socket, or one that our relay reaches."""

import socket
from functools import lru_cache
from ipaddress import ip_address
from typing import Final

from domain.connectivity.address import Address
from domain.connectivity.pair import Pair

SocketAddress = tuple[str, int] | tuple[str, int, int, int]
RELAYED: Final = "relayed"
RelayedAddress = tuple[str, int, str]
"""IP address, port, `RELAYED`."""
Source = SocketAddress | RelayedAddress
SOURCES_CACHED_MAX: Final = 4_096
"""Addresses whose forms are remembered (1 MB): reading them anew for each probe is a fifth of an idle node's work."""
_RELAYED_ELEMENTS: Final = 3
_IPV4: Final = 4


def is_by_relay(source: Source) -> bool:
    """Whether our end of the way is our port at a relay."""
    return len(source) == _RELAYED_ELEMENTS


@lru_cache(maxsize=SOURCES_CACHED_MAX)
def pair_of(source: Source) -> Pair:
    """The way that a datagram from there has taken."""
    return Pair(Address.from_host(source[0], source[1]), is_by_relay(source))


def source_of(pair: Pair, family: socket.AddressFamily) -> Source | None:
    """Where to send to on that way; None if a socket of that family cannot."""
    if pair.by_relay:
        return (pair.address.host, pair.address.port, RELAYED)
    return to_socket_address(pair.address, family)


@lru_cache(maxsize=SOURCES_CACHED_MAX)
def to_socket_address(address: Address, family: socket.AddressFamily) -> SocketAddress | None:
    """What a socket of that family calls an IP address; None if it cannot reach it."""
    version = ip_address(address.host).version
    if family == socket.AF_INET:
        return (address.host, address.port) if version == _IPV4 else None
    host = address.host if version != _IPV4 else f"::ffff:{address.host}"
    return (host, address.port, 0, 0)
