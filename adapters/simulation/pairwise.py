"""A pairwise channel whose runs repeat: the same promises as the real one, with entropy that a seed gives.

X3DH with PyNaCl, and a chain of BLAKE3 keys in place of the double ratchet. Sound, but without the ratchet's recovery;
for simulations alone.
"""

from collections.abc import Mapping
from typing import Final

from blake3 import blake3
from nacl.bindings import (
    crypto_aead_xchacha20poly1305_ietf_decrypt,
    crypto_aead_xchacha20poly1305_ietf_encrypt,
    crypto_scalarmult,
    crypto_scalarmult_base,
)
from nacl.exceptions import CryptoError
from nacl.exceptions import RuntimeError as NaclRuntimeError
from nacl.signing import SigningKey, VerifyKey

from domain.codec import CodecError, decode_array, encode, take_bytes, take_int
from domain.errors import PairwiseError
from domain.identifiers import PeerId
from domain.identity import DeviceKey
from domain.limits import CONTROL_BODY_BYTES_MAX
from domain.ports.environment import Entropy
from domain.ports.pairwise import PairwiseChannel, PairwiseOpened, PairwiseSealed
from domain.prekey import Prekey, PrekeyPair

_KEY_BYTES: Final = 32
_NONCE: Final = bytes(24)  # each key seals one message
_SKIPPED_MAX: Final = 64
_CHAIN_MAX: Final = 2**32


class SimulatedPairwiseChannel(PairwiseChannel):
    """The channel of one device.

    Args:
        key: Its device key.
        entropy: Draws ephemeral keys.
    """

    def __init__(self, key: DeviceKey, entropy: Entropy) -> None:
        self._peer = key.peer
        self._identity = bytes(SigningKey(key.seed).to_curve25519_private_key())
        self._entropy = entropy

    async def start(
        self, recipient: PeerId, prekey: Prekey, plain: bytes, *, context: bytes
    ) -> PairwiseSealed:
        if not prekey.is_signed_by(recipient):
            raise PairwiseError("wrong-prekey", "the recipient did not sign it")
        ephemeral = self._entropy.draw(_KEY_BYTES)
        shared = (
            _agree(self._identity, prekey.public)
            + _agree(ephemeral, _identity_of(recipient))
            + _agree(ephemeral, prekey.public)
        )
        session = encode((_root(shared, self._peer, recipient, context), 0))
        first = crypto_scalarmult_base(ephemeral), prekey.public
        return _seal(session, first, plain, context)

    async def seal(self, session: bytes, plain: bytes, *, context: bytes) -> PairwiseSealed:
        return _seal(session, (None, None), plain, context)

    async def open(
        self,
        sender: PeerId,
        session: bytes | None,
        prekeys: Mapping[bytes, PrekeyPair],
        message: bytes,
        *,
        context: bytes,
    ) -> PairwiseOpened:
        try:
            ephemeral, prekey, index, sealed = decode_array(
                message, bytes_max=CONTROL_BODY_BYTES_MAX
            )
            number = take_int(index, maximum=_CHAIN_MAX)
            ciphertext = take_bytes(sealed, maximum=CONTROL_BODY_BYTES_MAX)
            if ephemeral is not None:
                session = self._begin(
                    sender,
                    prekeys.get(_take_key(prekey)),
                    _take_key(ephemeral),
                    context,
                )
        except (CodecError, ValueError):
            raise PairwiseError("malformed", "not a pairwise message") from None
        if session is None:
            raise PairwiseError("no-session", "its session did not begin here")
        return _open(session, number, ciphertext, context)

    def _begin(
        self, sender: PeerId, pair: PrekeyPair | None, ephemeral: bytes, context: bytes
    ) -> bytes:
        if pair is None:
            raise PairwiseError("unknown-prekey", "it was sealed for a prekey that is not here")
        shared = (
            _agree(pair.private, _identity_of(sender))
            + _agree(self._identity, ephemeral)
            + _agree(pair.private, ephemeral)
        )
        return encode((_root(shared, sender, self._peer, context), 0))


def _seal(
    session: bytes, first: tuple[bytes | None, bytes | None], plain: bytes, context: bytes
) -> PairwiseSealed:
    chain, index = _recall(session)
    key, chain_after = _step(chain)
    place = encode((context, index))
    sealed = crypto_aead_xchacha20poly1305_ietf_encrypt(plain, place, _NONCE, key)
    return PairwiseSealed(
        session=encode((chain_after, index + 1)), message=encode((*first, index, sealed))
    )


def _open(session: bytes, number: int, ciphertext: bytes, context: bytes) -> PairwiseOpened:
    chain, index = _recall(session)
    if number < index:
        raise PairwiseError("replayed", "the message was opened before")
    if number - index > _SKIPPED_MAX:
        raise PairwiseError("skipped", "too many messages before it are missing")
    key = b""
    for _ in range(number - index + 1):
        key, chain = _step(chain)
    try:
        plain = crypto_aead_xchacha20poly1305_ietf_decrypt(
            ciphertext, encode((context, number)), _NONCE, key
        )
    except (CryptoError, ValueError):
        raise PairwiseError("not-authentic", "altered, or sealed for something else") from None
    return PairwiseOpened(session=encode((chain, number + 1)), plain=plain)


def _recall(session: bytes) -> tuple[bytes, int]:
    try:
        chain, index = decode_array(session, bytes_max=CONTROL_BODY_BYTES_MAX)
        return _take_key(chain), take_int(index, maximum=_CHAIN_MAX)
    except (CodecError, ValueError):
        raise PairwiseError("malformed", "not a session of this adapter") from None


def _step(chain: bytes) -> tuple[bytes, bytes]:
    keys = blake3(chain, derive_key_context="culm simulated chain v1").digest(length=64)
    return keys[:32], keys[32:]


def _root(shared: bytes, sender: PeerId, recipient: PeerId, context: bytes) -> bytes:
    material = encode((shared, sender, recipient, context))
    return blake3(material, derive_key_context="culm simulated root v1").digest()


def _identity_of(peer: PeerId) -> bytes:
    try:
        return bytes(VerifyKey(peer).to_curve25519_public_key())
    except (CryptoError, ValueError, NaclRuntimeError):
        raise PairwiseError("wrong-key", "a device key is of small order") from None


def _agree(private: bytes, public: bytes) -> bytes:
    try:
        return crypto_scalarmult(private, public)
    except (CryptoError, ValueError, NaclRuntimeError):
        raise PairwiseError("wrong-key", "a key of small order: nothing would be secret") from None


def _take_key(value: object) -> bytes:
    return take_bytes(value, minimum=_KEY_BYTES, maximum=_KEY_BYTES)
