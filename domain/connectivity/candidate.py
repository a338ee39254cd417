"""Places at which a node may be reached, and which of them may be probed at all.

A candidate comes from a peer, so it may point anywhere: only addresses at which another machine can be are ever
probed. How often is bounded by `pairs`, whatever the address.
"""

from collections.abc import Iterable
from enum import IntEnum
from ipaddress import ip_address, ip_network
from typing import Final, NamedTuple

from domain.codec import CodecError, Value, take_int, take_list, take_text
from domain.connectivity.address import Address, AddressError, parse_address
from domain.limits import ADDRESS_BYTES_MAX, CANDIDATES_MAX


class CandidateKind(IntEnum):
    """Where a candidate comes from; the number stands in offers and never changes."""

    HOST = 0
    """An address of the machine itself."""
    SERVER_REFLEXIVE = 1
    """What a STUN server saw."""
    PORT_MAPPED = 2
    """A port that the router was asked to forward."""
    RELAYED = 3
    """A port of a TURN server that forwards to the node."""
    PEER_REFLEXIVE = 4
    """Where a probe came from; learnt, never offered."""


_HOUSES: Final = tuple(
    map(ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"))
)
"""RFC 1918, RFC 6598, RFC 4193."""
_NEAR_BITS: Final = {4: 24, 6: 64}
"""The networks that are usual where addresses are public."""
OFFERED: Final = (
    CandidateKind.HOST,
    CandidateKind.SERVER_REFLEXIVE,
    CandidateKind.PORT_MAPPED,
    CandidateKind.RELAYED,
)


class Candidate(NamedTuple):
    """One of them."""

    kind: CandidateKind
    address: Address


def is_probable(address: Address) -> bool:
    """Whether another machine can be there: no name, no loopback, multicast, link-local or unspecified address.

    An IPv4 address mapped into IPv6 is judged as what it is (`::ffff:127.0.0.1` is loopback).
    """
    try:
        found = ip_address(Address.from_host(address.host, address.port).host)
    except (ValueError, AddressError):
        return False
    is_broadcast = str(found) == "255.255.255.255"
    return address.port != 0 and not (
        found.is_loopback
        or found.is_multicast
        or found.is_unspecified
        or found.is_link_local
        or is_broadcast
    )


def is_public(address: Address) -> bool:
    """Whether a relay may be asked to send there: not into somebody's house, which it could only do to its own."""
    if not is_probable(address):
        return False
    found = ip_address(address.host)
    return not any(found.version == each.version and found in each for each in _HOUSES)


def is_near(address: Address, own: Iterable[Address]) -> bool:
    """Whether an address may be in our local network: in the range of a house, or beside one of our own.

    So that nobody there makes us send to a third party elsewhere.
    """
    if not is_probable(address):
        return False
    found = ip_address(address.host)
    return not is_public(address) or any(
        found in ip_network(f"{each.host}/{_NEAR_BITS[found.version]}", strict=False)
        for each in filter(is_probable, own)
        if ip_address(each.host).version == found.version
    )


def encode_candidates(candidates: Iterable[Candidate]) -> list[Value]:
    """Write candidates as a value of the codec."""
    return [[int(kind), str(address)] for kind, address in candidates]


def take_candidates(value: object) -> tuple[Candidate, ...]:
    """Read candidates; those that cannot be probed, or are of a kind that we do not know, are left out.

    Raises:
        CodecError: It is no list of at most `CANDIDATES_MAX` pairs of a number and an address.
    """
    found: dict[Candidate, None] = {}
    for entry in take_list(value, maximum=CANDIDATES_MAX):
        fields = take_list(entry, maximum=2)
        if len(fields) != 2:  # noqa: PLR2004
            raise CodecError("wrong-type", "a candidate is a kind and an address")
        kind = take_int(fields[0], maximum=255)
        try:
            address = parse_address(take_text(fields[1], bytes_max=ADDRESS_BYTES_MAX))
        except AddressError as error:
            raise CodecError("wrong-type", str(error)) from None
        if kind in OFFERED and is_probable(address):
            found[Candidate(CandidateKind(kind), address)] = None
    return tuple(found)


def for_strangers(candidates: Iterable[Candidate]) -> tuple[Candidate, ...]:
    """Leave out what a stranger is not to learn, where we are at home, and what costs a port at a relay."""
    return tuple(
        each
        for each in candidates
        if each.kind is not CandidateKind.RELAYED and is_public(each.address)
    )
