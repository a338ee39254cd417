"""The identity of a device: an Ed25519 key, and signatures that say what they are for.

Operations are signed as p2panda-core has it, over their bare header. Every other signature starts with its own
label, so that none can be passed off as another (`Label`).
"""

from enum import Enum

from nacl.bindings import crypto_core_ed25519_is_valid_point
from nacl.exceptions import BadSignatureError, CryptoError
from nacl.signing import SigningKey, VerifyKey

from domain.identifiers import PeerId

SEED_BYTES = 32
SIGNATURE_BYTES = 64


class Label(Enum):
    """What a signature is for; its value is what the signed bytes start with."""

    HELLO = b"culm hello v1\0"
    """A dialler proves its key to the listener."""
    INVITE = b"culm invite v1\0"
    """An inviter vouches for the contents of an invite."""
    JOIN = b"culm join v1\0"
    """The holder of an invite's key vouches for a joining device."""
    PREKEY = b"culm prekey v1\0"
    """A device vouches for a prekey of its own."""
    OFFER = b"culm offer v1\0"
    """A peer says where it may be reached."""


class DeviceKey:
    """The secret key of a device (or of an invite); never shown, never logged.

    Args:
        seed: 32 secret random bytes.
    """

    __slots__ = ("_key", "peer")

    def __init__(self, seed: bytes) -> None:
        self._key = SigningKey(seed)
        self.peer = PeerId(bytes(self._key.verify_key))

    def __repr__(self) -> str:
        """Show the public half alone."""
        return f"DeviceKey({self.peer.short})"

    @property
    def seed(self) -> bytes:
        """The 32 secret bytes, for sealing at rest and for the certificate; handle with care."""
        return bytes(self._key)

    def sign(self, label: Label, message: bytes) -> bytes:
        """Sign a message under a label: 64 bytes."""
        return self._key.sign(label.value + message).signature

    def sign_operation(self, unsigned_header: bytes) -> bytes:
        """Sign the header of an operation without its signature element: 64 bytes (p2panda-core v1)."""
        return self._key.sign(unsigned_header).signature


def verify(peer: PeerId, label: Label, message: bytes, signature: bytes) -> bool:
    """Whether `signature` is the peer's over that message under that label."""
    return _verify(peer, label.value + message, signature)


def verify_operation(author: PeerId, unsigned_header: bytes, signature: bytes) -> bool:
    """Whether `signature` is the author's over the header without its signature element."""
    return _verify(author, unsigned_header, signature)


def can_be_sealed_to(peer: PeerId) -> bool:
    """Whether something can be sealed to a peer: its id is a point of the prime-order subgroup, in its one encoding.

    Every id that `DeviceKey` makes is. An id with a part of small order signs too, if one tries long enough, but is no
    key for an agreement (libsodium refuses to convert it).
    """
    return crypto_core_ed25519_is_valid_point(peer)


def _verify(peer: PeerId, message: bytes, signature: bytes) -> bool:
    if len(signature) != SIGNATURE_BYTES:
        return False
    try:
        VerifyKey(peer).verify(message, signature)
    except (BadSignatureError, CryptoError, ValueError):
        return False
    return True
