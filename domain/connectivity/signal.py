"""Signalling: what a node and a rendezvous say to each other, on a channel of their connection.

A node registers tags: 32 bytes that mean something to its peers alone and change every hour. Somebody who wants to
reach it sends a sealed offer under a tag; the rendezvous hands it on to whoever has registered that tag, and learns
neither who they are nor what it says. Any node does this for its peers, and for everybody if it runs as a rendezvous.
"""

from dataclasses import dataclass
from typing import Final

from blake3 import blake3

from domain.codec import CodecError, decode_array, encode, take_bytes, take_int, take_list
from domain.connectivity.close_codes import CloseCode
from domain.connectivity.offer import TAG_BYTES
from domain.errors import PeerError
from domain.limits import OFFER_BYTES_MAX, RENDEZVOUS_TAGS_MAX

CAPABILITY: Final = "rendezvous"
"""In the hello: forwards offers for anybody."""
_REGISTER, _FORWARD, _DELIVER, _NOBODY = 0, 1, 2, 3
_BYTES_MAX: Final = RENDEZVOUS_TAGS_MAX * (TAG_BYTES + 2) + 64


@dataclass(frozen=True, slots=True)
class Register:
    """From now on, and until the connection ends, these tags are mine; those of before are not."""

    tags: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Forward:
    """Hand this on to whoever has that tag."""

    tag: bytes
    sealed: bytes


@dataclass(frozen=True, slots=True)
class Deliver:
    """This was handed in for you."""

    sealed: bytes


@dataclass(frozen=True, slots=True)
class Nobody:
    """Nobody has that tag."""

    tag: bytes


Signal = Register | Forward | Deliver | Nobody


def signal_channel(binding: bytes) -> bytes:
    """The name of the channel of a connection on which signals go."""
    return blake3(binding, derive_key_context="culm signal v1").digest()


def encode_signal(signal: Signal) -> bytes:
    """Write a signal."""
    match signal:
        case Register(tags):
            return encode([_REGISTER, list(tags)])
        case Forward(tag, sealed):
            return encode([_FORWARD, tag, sealed])
        case Deliver(sealed):
            return encode([_DELIVER, sealed])
        case Nobody(tag):
            return encode([_NOBODY, tag])


def decode_signal(data: bytes) -> Signal:
    """Read a signal.

    Raises:
        PeerError: It is none.
    """
    try:
        fields = decode_array(data, bytes_max=_BYTES_MAX)
        kind = take_int(fields[0] if fields else None, maximum=255)
        shape = (kind, len(fields))
        if shape == (_REGISTER, 2):
            tags = take_list(fields[1], maximum=RENDEZVOUS_TAGS_MAX)
            return Register(tuple(_take_tag(tag) for tag in tags))
        if shape == (_FORWARD, 3):
            return Forward(_take_tag(fields[1]), _take_sealed(fields[2]))
        if shape == (_DELIVER, 2):
            return Deliver(_take_sealed(fields[1]))
        if shape == (_NOBODY, 2):
            return Nobody(_take_tag(fields[1]))
    except CodecError as error:
        raise PeerError(CloseCode.PROTOCOL_ERROR, f"no signal: {error}") from None
    raise PeerError(CloseCode.PROTOCOL_ERROR, "a signal of no known kind")


def _take_tag(value: object) -> bytes:
    return take_bytes(value, minimum=TAG_BYTES, maximum=TAG_BYTES)


def _take_sealed(value: object) -> bytes:
    return take_bytes(value, minimum=1, maximum=OFFER_BYTES_MAX)
