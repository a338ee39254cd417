"""Where members of a document meet without saying so: names that change every hour and mean nothing to others.

A name follows from a discovery key, an hour and the peer that is to be found. The discovery key of a document changes
with its secret, so who is removed soon no longer knows the names of those who stay; who was away while it changed goes
by the key before, so members are looked for under the last few. An invite has a key of its own, by which whoever holds
it finds those who can let it in. It is made of what stands in the log: former members know it while the invite lasts.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from blake3 import blake3

from domain.identifiers import DocumentId, PeerId
from domain.limits import MEETING_KEYS_MAX

NAME_BYTES: Final = 32
NEARBY_NAME_BYTES: Final = 16
"""Written in hex it fits into a label of DNS (RFC 1035 2.3.4: 63 bytes)."""
HOUR_S: Final = 3_600
HOURS_AROUND: Final = (-1, 0, 1)
"""Clocks differ, and somebody is looked for around the change of the hour."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeetingPlace:
    """Where the members of one document meet.

    Args:
        document: The document.
        members: Who they are, this node included.
        keys: Its discovery keys that we have, the one in use first; at most `MEETING_KEYS_MAX`.
        invite_keys: The discovery keys of invites by which we may let somebody in.
    """

    document: DocumentId
    members: frozenset[PeerId]
    keys: tuple[bytes, ...] = field(repr=False)
    invite_keys: tuple[bytes, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        assert len(self.keys) <= MEETING_KEYS_MAX


def invite_discovery_key(document: DocumentId, invite: PeerId) -> bytes:
    """Derive where the holders of an invite find who lets them in.

    Args:
        document: To which it is.
        invite: The public half of its key.
    """
    return blake3(document + invite, derive_key_context="culm invite discovery v1").digest()


def rendezvous_tag(discovery_key: bytes, peer: PeerId, *, hour: int) -> bytes:
    """Under which tag a peer is reached in an hour (counted since 1970 UTC), by who knows the key of the document."""
    return _name(b"rendezvous", discovery_key, peer, hour)


def nearby_name(discovery_key: bytes, peer: PeerId, *, hour: int) -> bytes:
    """Under which name a peer is announced in its local network in an hour, for who knows the key of the document."""
    return _name(b"nearby", discovery_key, peer, hour)[:NEARBY_NAME_BYTES]


def hours_around(hour: int) -> Iterator[int]:
    """The hours in which a name may be good, for clocks that differ by less than one."""
    return (hour + offset for offset in HOURS_AROUND)


def _name(purpose: bytes, discovery_key: bytes, peer: PeerId, hour: int) -> bytes:
    said = purpose + hour.to_bytes(8, "big") + peer
    return blake3(said, key=discovery_key).digest(length=NAME_BYTES)
