"""Which algorithms the ratchet uses: X25519, HKDF and HMAC with SHA-256, XChaCha20-Poly1305.

The packages draw their own randomness, are async by signature though they never wait, and leave these choices to
subclasses.
"""

from typing import Final

from doubleratchet import AEAD, AuthenticationFailedException, DoubleRatchet, Header
from doubleratchet.recommended import (
    HashFunction,
    diffie_hellman_ratchet_curve25519,
    kdf_hkdf,
    kdf_separate_hmacs,
)
from nacl.exceptions import CryptoError
from nacl.secret import Aead as XChaCha20Poly1305
from x3dh import BaseState, IdentityKeyFormat

from domain.codec import encode
from domain.identity import Label

MESSAGE_CONSTANT: Final = b"\x01\x02"
"""What each step of a message chain feeds in: two HMACs, so the hash has to be one of 32 bytes."""
SKIPPED_MAX: Final = 64
"""Messages of a log come in order, so none is skipped unless it was damaged by its sender."""


class RootChainKdf(kdf_hkdf.KDF):
    """Derives what each step of the Diffie-Hellman ratchet gives."""

    @staticmethod
    def _get_hash_function() -> HashFunction:
        return HashFunction.SHA_256

    @staticmethod
    def _get_info() -> bytes:
        return b"culm root chain v1"


class MessageChainKdf(kdf_separate_hmacs.KDF):
    """Derives the key of each message, and the next chain key."""

    @staticmethod
    def _get_hash_function() -> HashFunction:
        return HashFunction.SHA_256


class MessageAead(AEAD):
    """Seals one message under its own key, with a random nonce all the same: a restored backup may repeat a key."""

    @staticmethod
    async def encrypt(plaintext: bytes, key: bytes, associated_data: bytes) -> bytes:
        """Seal: nonce (24), ciphertext, tag (16)."""
        return bytes(XChaCha20Poly1305(key).encrypt(plaintext, associated_data))

    @staticmethod
    async def decrypt(ciphertext: bytes, key: bytes, associated_data: bytes) -> bytes:
        """Open.

        Raises:
            AuthenticationFailedException: It was altered, or belongs elsewhere.
        """
        try:
            return XChaCha20Poly1305(key).decrypt(ciphertext, associated_data)
        except (CryptoError, ValueError):
            raise AuthenticationFailedException from None


DiffieHellmanRatchet = diffie_hellman_ratchet_curve25519.DiffieHellmanRatchet


class Ratchet(DoubleRatchet):
    """A session."""

    @staticmethod
    def _build_associated_data(associated_data: bytes, header: Header) -> bytes:
        return encode(
            (
                associated_data,
                header.ratchet_pub,
                header.previous_sending_chain_length,
                header.sending_chain_length,
            )
        )


class KeyAgreement(BaseState):
    """The key agreement; prekeys are signed under culm's label."""

    @staticmethod
    def _encode_public_key(key_format: IdentityKeyFormat, pub: bytes) -> bytes:
        if key_format is IdentityKeyFormat.CURVE_25519:
            return Label.PREKEY.value + pub
        return b"culm identity v1\0" + pub
