"""Probes: small authenticated datagrams that find out whether a way to a peer works.

    ping    04 00  key id (8)  nonce (12)  zeros (18)         MAC (16)
    pong    04 01  key id (8)  nonce (12)  observed (16 + 2)  MAC (16)

Both are 56 bytes, so that an answer never amplifies what asked for it. The MAC is keyed BLAKE3, under a key that both
peers derive from a secret which nobody else knows, one key for each direction. A nonce is a counter of 4 bytes and 8
random ones: the counter lets the receiver ignore a ping that comes again (`ReplayWindow`), the random bytes make sure
that only who has seen a ping can answer it.
"""

from dataclasses import dataclass
from hmac import compare_digest
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from blake3 import blake3

from domain.connectivity.address import Address
from domain.errors import CodedError
from domain.identifiers import PeerId

PROBE_FIRST_BYTE: Final = 0x04
"""Left free by RFC 9443 for what is neither STUN nor TURN nor QUIC."""
PROBE_BYTES: Final = 56
KEY_ID_BYTES: Final = 8
NONCE_BYTES: Final = 12
RANDOM_BYTES: Final = 8
MAC_BYTES: Final = 16
WINDOW_PROBES: Final = 64
_PING, _PONG = 0, 1
_NONCE_AT: Final = 2 + KEY_ID_BYTES
_OBSERVED_AT: Final = _NONCE_AT + NONCE_BYTES
_MAC_AT: Final = PROBE_BYTES - MAC_BYTES
_NOTHING: Final = bytes(_MAC_AT - _OBSERVED_AT)


class ProbeError(CodedError):
    """Bytes that are no probe under our key."""


@dataclass(frozen=True, slots=True)
class Ping:
    """A peer asks whether we hear it."""

    nonce: bytes


@dataclass(frozen=True, slots=True)
class Pong:
    """A peer has heard our ping with that nonce, which came to it from `observed`."""

    nonce: bytes
    observed: Address


class ProbeKey:
    """The keys of one pair of peers for their probes, and the name of these keys on the wire.

    Args:
        secret: At least 32 bytes that only the two peers know.
        context: What else makes the keys these keys: the binding of a connection, the id of an offer.
        own: Our id.
        peer: The peer's.
    """

    __slots__ = ("_own", "_theirs", "key_id")

    def __init__(self, secret: bytes, *, context: bytes, own: PeerId, peer: PeerId) -> None:
        pair = bytes(min(own, peer)) + bytes(max(own, peer))
        material = secret + pair + context
        self.key_id = blake3(material, derive_key_context="culm probe key id v1").digest(
            length=KEY_ID_BYTES
        )
        self._own = blake3(material + own, derive_key_context="culm probe v1").digest()
        self._theirs = blake3(material + peer, derive_key_context="culm probe v1").digest()

    def __repr__(self) -> str:
        """Show the name alone."""
        return f"ProbeKey({self.key_id.hex()})"

    def ping(self, nonce: bytes) -> bytes:
        """Write a ping."""
        return self._seal(_PING, nonce, _NOTHING)

    def pong(self, nonce: bytes, observed: Address) -> bytes:
        """Answer a ping that came from `observed`."""
        return self._seal(_PONG, nonce, _pack(observed))

    def open(self, data: bytes) -> Ping | Pong:
        """Read a probe of the peer.

        Raises:
            ProbeError: It is none, or not the peer's.
        """
        if key_id_of(data) != self.key_id:
            raise ProbeError("malformed", "no probe under this key")
        if not compare_digest(_mac(self._theirs, data[:_MAC_AT]), data[_MAC_AT:]):
            raise ProbeError("forged", "the code of the probe is wrong")
        nonce = data[_NONCE_AT:_OBSERVED_AT]
        if data[1] == _PING:
            return Ping(nonce)
        if data[1] == _PONG:
            return Pong(nonce, _unpack(data[_OBSERVED_AT:_MAC_AT]))
        raise ProbeError("malformed", "neither ping nor pong")

    def _seal(self, kind: int, nonce: bytes, content: bytes) -> bytes:
        assert len(nonce) == NONCE_BYTES
        body = bytes((PROBE_FIRST_BYTE, kind)) + self.key_id + nonce + content
        return body + _mac(self._own, body)


class ReplayWindow:
    """Knows which counters were seen, as far back as `WINDOW_PROBES`; what is older counts as seen."""

    __slots__ = ("_highest", "_seen")

    def __init__(self) -> None:
        self._highest = -1
        self._seen = 0

    def admit(self, nonce: bytes) -> bool:
        """Whether a nonce is new; from now on it is not."""
        counter = int.from_bytes(nonce[: NONCE_BYTES - RANDOM_BYTES], "big")
        if counter > self._highest:
            shift = min(counter - self._highest, WINDOW_PROBES)
            self._seen = (self._seen << shift | 1) & ((1 << WINDOW_PROBES) - 1)
            self._highest = counter
            return True
        bit = 1 << (self._highest - counter)
        if self._highest - counter >= WINDOW_PROBES or self._seen & bit:
            return False
        self._seen |= bit
        return True


def make_nonce(counter: int, random: bytes) -> bytes:
    """Put a nonce together; `random` has `RANDOM_BYTES` bytes."""
    return counter.to_bytes(NONCE_BYTES - RANDOM_BYTES, "big") + random


def key_id_of(data: bytes) -> bytes | None:
    """The name of the key that a probe claims; None for what is no probe."""
    if len(data) != PROBE_BYTES or data[0] != PROBE_FIRST_BYTE:
        return None
    return data[2:_NONCE_AT]


def _mac(key: bytes, body: bytes) -> bytes:
    return blake3(body, key=key).digest(length=MAC_BYTES)


def _pack(address: Address) -> bytes:
    if ":" in address.host:
        packed = IPv6Address(address.host).packed
    else:
        packed = bytes(10) + b"\xff\xff" + IPv4Address(address.host).packed
    return packed + address.port.to_bytes(2, "big")


def _unpack(data: bytes) -> Address:
    return Address.from_host(str(IPv6Address(data[:16])), int.from_bytes(data[16:], "big"))
