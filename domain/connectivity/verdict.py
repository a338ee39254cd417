"""What was found out about the NAT before us: as it is kept on disk, carried over to the next look, and shown.

A verdict holds in the network where it was found. Which network that is, is told by the addresses of the machine, and
then by the address outside: a node that starts goes by what it knew there until it has looked again.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import IntEnum
from ipaddress import ip_address
from typing import Final, Self, TypeVar

from domain.codec import CodecError, decode_array, encode, take_bool, take_int, take_list, take_text
from domain.connectivity.address import Address, AddressError, parse_address
from domain.connectivity.nat import Filtering, Mapping, NatBehavior
from domain.limits import (
    ADDRESS_BYTES_MAX,
    TIMESTAMP_MAX,
    VERDICT_ADDRESSES_MAX,
    VERDICT_BYTES_MAX,
)

FORM: Final = 2
FILTER_US_MAX: Final = 86_400 * 1_000_000
"""A filter that was found to be stricter is believed for a day: so long a box may remember our own packets."""
BINDING_US_VALID: Final = 86_400 * 1_000_000
"""The lifetime of bindings is measured again after a day: routers are replaced, and it costs some packets."""
_ELEMENTS: Final = 9
_BINDING_MS_MAX: Final = 86_400_000

_Member = TypeVar("_Member", bound=IntEnum)


@dataclass(frozen=True, slots=True, kw_only=True)
class NatVerdict:
    """What was found, when, and where.

    Args:
        behavior: How the box maps and filters.
        measured_us: When that was found, in microseconds since 1970 UTC.
        local: The IP addresses that the machine had then.
        outside: As what STUN servers saw our socket then; none if none answered.
        hairpins: Whether the box lets us reach ourselves at its outside; None if that is not known.
        binding_s: For how many seconds, at least, the box keeps a binding that nobody uses; None if that is not known.
        binding_us: When that was tried to be found out, in microseconds since 1970 UTC; 0 for never.
        is_recalled: Whether it is from before the node started, and not yet measured again.
    """

    behavior: NatBehavior
    measured_us: int
    local: tuple[str, ...]
    outside: tuple[Address, ...] = ()
    hairpins: bool | None = None
    binding_s: float | None = None
    binding_us: int = 0
    is_recalled: bool = False

    @property
    def network(self) -> frozenset[str]:
        """What tells the network: the addresses of the machine that a NAT stands before; none for loopback alone."""
        return network_of(self.local)

    @property
    def hosts_outside(self) -> frozenset[str]:
        """The addresses outside, without ports."""
        return frozenset(each.host for each in self.outside)

    @property
    def is_worth_keeping(self) -> bool:
        """Whether it says anything about a network."""
        return self.behavior.mapping is not Mapping.UNKNOWN and bool(self.network)

    def encode(self) -> bytes:
        """Encode it (in clear: seal it); what does not fit is left out."""
        return encode(
            [
                FORM,
                int(self.behavior.mapping),
                int(self.behavior.filtering),
                self.measured_us,
                list(self.local[:VERDICT_ADDRESSES_MAX]),
                [str(each) for each in self.outside[:VERDICT_ADDRESSES_MAX]],
                self.hairpins,
                None if self.binding_s is None else round(1_000 * self.binding_s),
                self.binding_us,
            ]
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read what `encode` gave, as a verdict that is recalled.

        Raises:
            CodecError: It is something else, or of another version; then the network is looked at anew.
        """
        fields = decode_array(data, bytes_max=VERDICT_BYTES_MAX)
        if len(fields) != _ELEMENTS or fields[0] != FORM:
            raise CodecError("wrong-type", "a verdict of another form")
        return cls(
            behavior=NatBehavior(_member(Mapping, fields[1]), _member(Filtering, fields[2])),
            measured_us=take_int(fields[3], maximum=TIMESTAMP_MAX),
            local=tuple(_take_texts(fields[4])),
            outside=tuple(map(_take_address, _take_texts(fields[5]))),
            hairpins=None if fields[6] is None else take_bool(fields[6]),
            binding_s=None
            if fields[7] is None
            else take_int(fields[7], maximum=_BINDING_MS_MAX) / 1e3,
            binding_us=take_int(fields[8], maximum=TIMESTAMP_MAX),
            is_recalled=True,
        )


def network_of(hosts: Iterable[str]) -> frozenset[str]:
    """Give of the addresses of a machine those that tell its network.

    That is IPv4 where there is any: addresses of IPv6 change every day (RFC 8981), and no NAT stands before them.
    """
    outward = [
        each for each in map(ip_address, hosts) if not (each.is_loopback or each.is_link_local)
    ]
    ipv4 = [each for each in outward if each.version == 4]  # noqa: PLR2004
    return frozenset(map(str, ipv4 or outward))


def carry_over(before: NatVerdict | None, found: NatVerdict) -> NatVerdict:
    """Add to what was found what is known from before about the same network.

    A box lets in for a while whom we have sent something. So whoever looks twice from the same address outside may find
    its filter looser than it is (RFC 5780, 4.4): the stricter finding counts, and keeps its time.
    """
    if before is None or before.network != found.network or not found.outside:
        return found
    if before.hosts_outside != found.hosts_outside:
        return found
    if before.behavior.mapping == found.behavior.mapping:
        hairpins = found.hairpins if found.hairpins is not None else before.hairpins
        found = replace(
            found, hairpins=hairpins, binding_s=before.binding_s, binding_us=before.binding_us
        )
    is_same_mapping = not set(before.outside).isdisjoint(found.outside)
    is_recent = 0 <= found.measured_us - before.measured_us < FILTER_US_MAX
    if not (is_same_mapping and is_recent) or before.behavior.mapping != found.behavior.mapping:
        return found
    if before.behavior.filtering <= found.behavior.filtering:
        return found
    return replace(found, behavior=before.behavior, measured_us=before.measured_us)


def wants_binding(verdict: NatVerdict, *, now_us: int) -> bool:
    """Whether it should be measured how long the box keeps a binding; `now_us` is microseconds since 1970 UTC."""
    is_behind_one = verdict.behavior.mapping in (
        Mapping.ENDPOINT_INDEPENDENT,
        Mapping.ADDRESS_DEPENDENT,
        Mapping.ADDRESS_AND_PORT_DEPENDENT,
    )
    age_us = now_us - verdict.binding_us
    is_fresh = verdict.binding_us > 0 and 0 <= age_us < BINDING_US_VALID
    return is_behind_one and not verdict.is_recalled and not is_fresh


def replaces(kept: NatVerdict | None, found: NatVerdict) -> bool:
    """Whether what was found is to be kept instead.

    Silence of all servers is not, where another time they answered: they may be down.
    """
    if not found.is_worth_keeping:
        return False
    is_silence = found.behavior.mapping is Mapping.BLOCKED
    return not (is_silence and kept is not None and kept.network == found.network)


def describe_verdict(verdict: NatVerdict, *, now_us: int) -> str:
    """Tell a person in a line what was found, how long ago, and where; `now_us` is microseconds since 1970 UTC."""
    parts = [verdict.behavior.name]
    if verdict.outside:
        parts.append("seen outside as " + " and ".join(map(str, verdict.outside)))
    if verdict.hairpins is not None:
        parts.append("hairpins" if verdict.hairpins else "does not hairpin")
    if verdict.binding_s is not None:
        parts.append(f"keeps a silent binding for {verdict.binding_s:g} s")
    parts.append(f"found {_ago((now_us - verdict.measured_us) / 1e6)}")
    if verdict.is_recalled:
        parts.append("not looked at again since the node started")
    return ", ".join(parts)


def _ago(seconds: float) -> str:
    for unit, unit_s in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * unit_s:
            return f"{seconds // unit_s:.0f} {unit} ago"
    return f"{max(seconds, 0.0):.0f} s ago"


def _take_texts(value: object) -> list[str]:
    listed = take_list(value, maximum=VERDICT_ADDRESSES_MAX)
    return [take_text(each, bytes_max=ADDRESS_BYTES_MAX) for each in listed]


def _take_address(text: str) -> Address:
    try:
        return parse_address(text)
    except AddressError as error:
        raise CodecError("wrong-type", str(error)) from None


def _member(kind: type[_Member], value: object) -> _Member:
    number = take_int(value, maximum=max(kind))
    return kind(number)
