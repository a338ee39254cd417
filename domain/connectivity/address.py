"""Addresses of nodes as text: `host:port`, IPv6 in brackets.

A host is an IPv4 or IPv6 literal or a DNS name; it is not looked up here. Link-local addresses with a zone have no
meaning on another machine and are refused. `parse_address` and `str` are inverse to each other.
"""

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address, ip_address
from typing import Final, NamedTuple, Self

from domain.errors import CulmError
from domain.limits import ADDRESS_BYTES_MAX

PORT_MAX: Final = 65_535
_LABEL: Final = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)", re.ASCII)
_PORT: Final = re.compile(r"0|[1-9][0-9]{0,4}", re.ASCII)


class AddressError(CulmError):
    """Text that is not `host:port`."""


class Address(NamedTuple):
    """Where a node can be reached.

    Args:
        host: An IP address in its shortest form, or a DNS name in lower case.
        port: 0 to 65,535; 0 only where the system is to choose one.
    """

    host: str
    port: int

    def __str__(self) -> str:
        """Write it as `parse_address` reads it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def from_host(cls, host: str, port: int) -> Self:
        """Normalize what a socket reports: an IPv4 address mapped into IPv6 becomes plain IPv4.

        Raises:
            AddressError: Neither IP address nor DNS name, or no such port.
        """
        if not 0 <= port <= PORT_MAX:
            raise AddressError(f"a port is 0 to {PORT_MAX}, not {port}")
        if ":" in host:
            return cls(_normalize_ipv6(host.partition("%")[0]), port)
        return cls(_normalize_name(host), port)


def parse_address(text: str) -> Address:
    """Read `host:port` or `[IPv6]:port`.

    Raises:
        AddressError: It is something else; the text says what is wrong.
    """
    if len(text.encode(errors="replace")) > ADDRESS_BYTES_MAX:
        raise AddressError(f"an address has at most {ADDRESS_BYTES_MAX} bytes")
    host, colon, port = text.rpartition(":")
    if not colon or not host:
        raise AddressError(f"not an address: {text!r}; write host:port, as in 192.0.2.1:4433")
    if not _PORT.fullmatch(port) or int(port) > PORT_MAX:
        raise AddressError(f"not a port: {port!r}; it is 0 to {PORT_MAX}")
    if host.startswith("[") and host.endswith("]"):
        return Address(_normalize_ipv6(host[1:-1]), int(port))
    if ":" in host:
        raise AddressError(
            f"not an address: {text!r}; an IPv6 address stands in brackets, as in [2001:db8::1]:4433"
        )
    return Address(_normalize_name(host), int(port))


def is_loopback(text: str) -> bool:
    """Whether an address leads a machine to itself; no name does, as far as is known here."""
    try:
        return ip_address(parse_address(text).host).is_loopback
    except (ValueError, AddressError):
        return False


def _normalize_ipv6(host: str) -> str:
    if "%" in host:
        raise AddressError(
            f"not an address for others: {host!r} is bound to one network interface of one machine"
        )
    try:
        address = IPv6Address(host)
    except AddressValueError:
        raise AddressError(f"not an IPv6 address: {host!r}") from None
    return str(address.ipv4_mapped or address)


def _normalize_name(host: str) -> str:
    try:
        return str(IPv4Address(host))
    except AddressValueError:
        name = host.lower()
    labels = name.split(".")
    if labels[-1].isdigit() or not all(_LABEL.fullmatch(label) for label in labels):
        raise AddressError(f"neither an IP address nor a host name: {host!r}")
    return name
