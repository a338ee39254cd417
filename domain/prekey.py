"""Prekeys: what lets others seal something for a device that is not online (X3DH's signed prekey).

A device publishes the public half, signed, and keeps the private half until well after the last message to it can
arrive. One-time prekeys are not used: senders that are offline could not pick them apart.
"""

from dataclasses import dataclass, field
from typing import Final, Self

from blake3 import blake3
from nacl.bindings import crypto_scalarmult_base

from domain import codec, limits
from domain.codec import Value
from domain.identifiers import PeerId
from domain.identity import SIGNATURE_BYTES, DeviceKey, Label, verify

PREKEY_BYTES: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Prekey:
    """The public half of a prekey.

    Args:
        public: An X25519 public key, 32 bytes.
        expires_us: Microseconds since 1970; from then on nobody seals anything for it.
        signature: The device's over `public` (`Label.PREKEY`).
    """

    public: bytes
    expires_us: int
    signature: bytes

    def value(self) -> Value:
        """Give the value that is encoded."""
        return (self.public, self.expires_us, self.signature)

    @classmethod
    def from_value(cls, value: object) -> Self:
        """Read what `value` gave.

        Raises:
            CodecError: It is something else.
        """
        public, expires_us, signature = codec.take_list(value, maximum=3)
        return cls(
            public=codec.take_bytes(public, minimum=PREKEY_BYTES, maximum=PREKEY_BYTES),
            expires_us=codec.take_int(expires_us, maximum=limits.TIMESTAMP_MAX),
            signature=codec.take_bytes(signature, minimum=SIGNATURE_BYTES, maximum=SIGNATURE_BYTES),
        )

    def digest(self) -> bytes:
        """Give the 32 bytes by which a join statement names it."""
        return blake3(codec.encode(self.value())).digest()

    def is_signed_by(self, peer: PeerId) -> bool:
        """Whether the device vouches for it (one Ed25519 verification)."""
        return verify(peer, Label.PREKEY, self.public, self.signature)


@dataclass(frozen=True, slots=True, kw_only=True)
class PrekeyPair:
    """A prekey with its private half; never shown, never logged."""

    prekey: Prekey
    private: bytes = field(repr=False)

    def value(self) -> Value:
        """Give the value that is kept, sealed."""
        return (self.prekey.value(), self.private)

    @classmethod
    def from_value(cls, value: object) -> Self:
        """Read what `value` gave.

        Raises:
            CodecError: It is something else.
        """
        prekey, private = codec.take_list(value, maximum=2)
        return cls(
            prekey=Prekey.from_value(prekey),
            private=codec.take_bytes(private, minimum=PREKEY_BYTES, maximum=PREKEY_BYTES),
        )


def make_prekey(key: DeviceKey, private: bytes, *, expires_us: int) -> PrekeyPair:
    """Make a prekey of a device of 32 secret random bytes."""
    public = crypto_scalarmult_base(private)
    signature = key.sign(Label.PREKEY, public)
    return PrekeyPair(
        prekey=Prekey(public=public, expires_us=expires_us, signature=signature), private=private
    )
