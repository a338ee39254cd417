"""What travels over the simulated internet."""

from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final

IP_VERSION_6: Final = 6
UDP_HEADER_BYTES: Final = 8
TCP_HEADER_BYTES: Final = 32
"""With the timestamps that everybody sends."""
IPV4_HEADER_BYTES: Final = 20
IPV6_HEADER_BYTES: Final = 40
PORT_MAX: Final = 65_535

Endpoint = tuple[str, int]
"""An IP address in its shortest form, and a port."""


class Protocol(Enum):
    """Which transport a packet belongs to; mappings of a NAT box for one say nothing about the other."""

    UDP = "udp"
    TCP = "tcp"


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpSegment:
    """The TCP header of a packet; sequence numbers do not wrap and start at zero with the SYN."""

    sequence: int
    acknowledgement: int | None = None
    is_syn: bool = False
    is_fin: bool = False
    is_reset: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """One packet. `origin` is the host that sent it, whatever NAT boxes have made of the source since."""

    protocol: Protocol
    source: Endpoint
    destination: Endpoint
    payload: bytes
    origin: str
    segment: TcpSegment | None = None

    @property
    def size_bytes(self) -> int:
        """How much of a line it takes."""
        network = IPV6_HEADER_BYTES if ":" in self.destination[0] else IPV4_HEADER_BYTES
        transport = UDP_HEADER_BYTES if self.protocol is Protocol.UDP else TCP_HEADER_BYTES
        return network + transport + len(self.payload)


def normalize(text: str) -> str:
    """Write an IP address in its shortest form; IPv4 mapped into IPv6 becomes IPv4.

    Raises:
        ValueError: It is no IP address.
    """
    return str(parse(text))


def parse(text: str) -> IPv4Address | IPv6Address:
    """Read an IP address; IPv4 mapped into IPv6 becomes IPv4.

    Raises:
        ValueError: It is no IP address.
    """
    address = ip_address(text)
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def is_ipv6(address: str) -> bool:
    """Whether a normalized address is one of IPv6."""
    return ":" in address
