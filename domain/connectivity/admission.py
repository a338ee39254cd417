"""Who may begin a handshake with us, and who has to prove its address first.

A handshake costs milliseconds and about 70 KB before its other end has proven anything, so strangers are limited: all
together, those of one address prefix, and those in the middle of a handshake. A source address can be made up, so what
an unproven one does counts only for unproven ones: beyond that it has to answer a Retry (RFC 9000, 8.1), which costs
us next to nothing. What counts against a prefix is done by proven addresses of it, so that nobody can have others
locked out. The invariant: the memory for all of this is bounded, whatever arrives.
"""

from collections import Counter, OrderedDict
from enum import Enum
from ipaddress import IPv6Address, ip_address
from typing import Final

from domain.connectivity.bucket import TokenBucket
from domain.limits import (
    DIALLERS_BURST,
    DIALLERS_PER_S,
    HALF_OPEN_MAX,
    HALF_OPEN_RETRY,
    PREFIX_DIALLERS_BURST,
    PREFIX_DIALLERS_PER_S,
    PREFIX_HALF_OPEN_MAX,
    PREFIXES_KEPT_MAX,
)

IPV4_PREFIX_BYTES: Final = 3
IPV6_PREFIX_BYTES: Final = 7
"""A /24 and a /56: what one site usually has."""
LOCAL: Final = b"local"


class Verdict(Enum):
    """What becomes of somebody who knocks."""

    ADMIT = "admit"
    RETRY = "retry"
    """It has to prove its address and come again."""
    DROP = "drop"
    """Too many for now; it may try again."""


def prefix_of(host: str) -> bytes:
    """The prefix of an IP address that is held responsible for it; one name for everything on this machine."""
    address = ip_address(host)
    if isinstance(address, IPv6Address):
        mapped = address.ipv4_mapped
        if mapped is None:
            return LOCAL if address.is_loopback else address.packed[:IPV6_PREFIX_BYTES]
        address = mapped
    return LOCAL if address.is_loopback else address.packed[:IPV4_PREFIX_BYTES]


class Admission:
    """Decides, and counts who is in the middle of a handshake.

    Args:
        now: Seconds.
        half_open_retry: From so many handshakes on, everybody has to prove its address.
    """

    def __init__(self, now: float, half_open_retry: int = HALF_OPEN_RETRY) -> None:
        self._half_open_retry = half_open_retry
        self._half_open: Counter[bytes] = Counter()
        self._half_open_count = 0
        self._unproven = TokenBucket(rate=DIALLERS_PER_S, burst=DIALLERS_BURST, now=now)
        self._proven = TokenBucket(rate=DIALLERS_PER_S, burst=DIALLERS_BURST, now=now)
        self._prefixes: OrderedDict[bytes, TokenBucket] = OrderedDict()

    def judge(self, prefix: bytes, *, is_proven: bool, now: float) -> Verdict:
        """Decide about a first packet from there; who is on this machine could harm it without us.

        Args:
            prefix: As `prefix_of` has it.
            is_proven: Whether it has answered a Retry.
            now: Seconds.
        """
        if self._half_open_count >= HALF_OPEN_MAX:
            return Verdict.DROP
        if not is_proven:
            if self._half_open_count >= self._half_open_retry:
                return Verdict.RETRY
            is_free = prefix == LOCAL or self._unproven.take(now)
            return Verdict.ADMIT if is_free else Verdict.RETRY
        if prefix == LOCAL:
            return Verdict.ADMIT
        if self._half_open[prefix] >= PREFIX_HALF_OPEN_MAX or not self._bucket(prefix, now).take(
            now
        ):
            return Verdict.DROP
        return Verdict.ADMIT if self._proven.take(now) else Verdict.DROP

    def begun(self, prefix: bytes) -> None:
        """A handshake has begun."""
        self._half_open[prefix] += 1
        self._half_open_count += 1

    def ended(self, prefix: bytes) -> None:
        """A handshake is done, or given up."""
        self._half_open[prefix] -= 1
        self._half_open_count -= 1
        if not self._half_open[prefix]:
            del self._half_open[prefix]

    def _bucket(self, prefix: bytes, now: float) -> TokenBucket:
        bucket = self._prefixes.pop(prefix, None)
        if bucket is None:
            bucket = TokenBucket(rate=PREFIX_DIALLERS_PER_S, burst=PREFIX_DIALLERS_BURST, now=now)
            if len(self._prefixes) >= PREFIXES_KEPT_MAX:
                self._prefixes.popitem(last=False)
        self._prefixes[prefix] = bucket
        return bucket
