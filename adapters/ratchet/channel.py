"""The pairwise channel over X3DH and DoubleRatchet.

Both packages raise many kinds of errors at bytes that are nobody's key; all of them become `PairwiseError` here. A
session is kept as the JSON that DoubleRatchet makes of it, which it promises to read in later versions.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Self

from doubleratchet import (
    AuthenticationFailedException,
    DecryptionFailedException,
    DoSProtectionException,
    DuplicateMessageException,
    EncryptedMessage,
    Header,
)
from x3dh import Bundle, HashFunction, IdentityKeyFormat, KeyAgreementException
from x3dh import Header as AgreementHeader
from x3dh.models import BaseStateModel, IdentityKeyPairModel, SignedPreKeyPairModel
from x3dh.types import SecretType
from xeddsa import XEdDSAException

from adapters.ratchet.algorithms import (
    MESSAGE_CONSTANT,
    SKIPPED_MAX,
    DiffieHellmanRatchet,
    KeyAgreement,
    MessageAead,
    MessageChainKdf,
    Ratchet,
    RootChainKdf,
)
from domain.codec import CodecError, decode_array, encode, take_bytes, take_int
from domain.errors import PairwiseError
from domain.identifiers import PeerId
from domain.identity import DeviceKey
from domain.limits import CONTROL_BODY_BYTES_MAX
from domain.ports.pairwise import PairwiseChannel, PairwiseOpened, PairwiseSealed
from domain.prekey import Prekey, PrekeyPair

INFO: Final = b"culm pairwise v1"
_KEY_BYTES: Final = 32
_CHAIN_MAX: Final = 2**32
_RATCHET_ARGUMENTS: Final[dict[str, Any]] = {
    "diffie_hellman_ratchet_class": DiffieHellmanRatchet,
    "root_chain_kdf": RootChainKdf,
    "message_chain_kdf": MessageChainKdf,
    "message_chain_constant": MESSAGE_CONSTANT,
    "dos_protection_threshold": SKIPPED_MAX,
    "max_num_skipped_message_keys": SKIPPED_MAX,
    "aead": MessageAead,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Message:
    """A message as it is sent: `ephemeral` and `prekey` (public halves) stand in the first of a session alone."""

    ephemeral: bytes | None
    prekey: bytes | None
    sealed: EncryptedMessage

    def encode(self) -> bytes:
        header = self.sealed.header
        return encode(
            (
                self.ephemeral,
                self.prekey,
                header.ratchet_pub,
                header.previous_sending_chain_length,
                header.sending_chain_length,
                self.sealed.ciphertext,
            )
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        ephemeral, prekey, ratchet, previous, length, ciphertext = decode_array(
            data, bytes_max=CONTROL_BODY_BYTES_MAX
        )
        if (ephemeral is None) != (prekey is None):
            raise CodecError("wrong-type", "an ephemeral key without a prekey, or a prekey without")
        return cls(
            ephemeral=None if ephemeral is None else _take_key(ephemeral),
            prekey=None if prekey is None else _take_key(prekey),
            sealed=EncryptedMessage(
                header=Header(
                    ratchet_pub=_take_key(ratchet),
                    previous_sending_chain_length=take_int(previous, maximum=_CHAIN_MAX),
                    sending_chain_length=take_int(length, maximum=_CHAIN_MAX),
                ),
                ciphertext=take_bytes(ciphertext, maximum=CONTROL_BODY_BYTES_MAX),
            ),
        )


class RatchetPairwiseChannel(PairwiseChannel):
    """The channel of one device.

    Args:
        key: Its device key, which X3DH takes as it is.
    """

    def __init__(self, key: DeviceKey) -> None:
        self._key = key

    async def start(
        self, recipient: PeerId, prekey: Prekey, plain: bytes, *, context: bytes
    ) -> PairwiseSealed:
        bundle = Bundle(
            identity_key=recipient,
            signed_pre_key=prekey.public,
            signed_pre_key_sig=prekey.signature,
            pre_keys=frozenset(),
        )
        with _translated("wrong-prekey"):
            secret, place, header = await self._agreement(None).get_shared_secret_active(
                bundle, context, require_pre_key=False
            )
            session, sealed = await Ratchet.encrypt_initial_message(
                **_RATCHET_ARGUMENTS,
                shared_secret=secret,
                recipient_ratchet_pub=prekey.public,
                message=plain,
                associated_data=place,
            )
        message = _Message(ephemeral=header.ephemeral_key, prekey=prekey.public, sealed=sealed)
        return PairwiseSealed(session=_keep(session, place), message=message.encode())

    async def seal(self, session: bytes, plain: bytes, *, context: bytes) -> PairwiseSealed:
        ratchet, place = _recall(session, context)
        sealed = await ratchet.encrypt_message(plain, place)
        message = _Message(ephemeral=None, prekey=None, sealed=sealed)
        return PairwiseSealed(session=_keep(ratchet, place), message=message.encode())

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
            decoded = _Message.decode(message)
        except (CodecError, ValueError):
            raise PairwiseError("malformed", "not a pairwise message") from None
        with _translated("unknown-prekey"):
            if decoded.ephemeral is not None and decoded.prekey is not None:
                return await self._open_first(sender, prekeys, decoded, context)
            if session is None:
                raise PairwiseError("no-session", "its session did not begin here")
            ratchet, place = _recall(session, context)
            plain = await ratchet.decrypt_message(decoded.sealed, place)
        return PairwiseOpened(session=_keep(ratchet, place), plain=plain)

    async def _open_first(
        self, sender: PeerId, prekeys: Mapping[bytes, PrekeyPair], first: _Message, context: bytes
    ) -> PairwiseOpened:
        assert first.ephemeral is not None
        assert first.prekey is not None
        pair = prekeys.get(first.prekey)
        if pair is None:
            raise PairwiseError("unknown-prekey", "it was sealed for a prekey that is not here")
        header = AgreementHeader(
            identity_key=sender,
            ephemeral_key=first.ephemeral,
            signed_pre_key=first.prekey,
            pre_key=None,
        )
        secret, place, _ = await self._agreement(pair).get_shared_secret_passive(
            header, context, require_pre_key=False
        )
        ratchet, plain = await Ratchet.decrypt_initial_message(
            **_RATCHET_ARGUMENTS,
            shared_secret=secret,
            own_ratchet_priv=pair.private,
            message=first.sealed,
            associated_data=place,
        )
        return PairwiseOpened(session=_keep(ratchet, place), plain=plain)

    def _agreement(self, pair: PrekeyPair | None) -> KeyAgreement:
        """Make the state of a key agreement; who starts a session needs no prekey of its own."""
        identity = IdentityKeyPairModel(secret=self._key.seed, secret_type=SecretType.SEED)
        private, signature = (
            (pair.private, pair.prekey.signature) if pair is not None else (bytes(_KEY_BYTES), b"")
        )
        signed = SignedPreKeyPairModel(priv=private, sig=signature, timestamp=0)
        model = BaseStateModel(
            identity_key=identity,
            signed_pre_key=signed,
            old_signed_pre_key=None,
            pre_keys=frozenset(),
        )
        return KeyAgreement.from_model(
            model, IdentityKeyFormat.ED_25519, HashFunction.SHA_256, INFO
        )


@contextmanager
def _translated(agreement_code: str) -> Iterator[None]:
    """Let no exception of the packages through."""
    try:
        yield
    except KeyAgreementException as error:
        raise PairwiseError(agreement_code, str(error)) from None
    except XEdDSAException as error:
        raise PairwiseError("wrong-key", str(error)) from None
    except DuplicateMessageException:
        raise PairwiseError("replayed", "the message was opened before") from None
    except DoSProtectionException:
        raise PairwiseError("skipped", "too many messages before it are missing") from None
    except (AuthenticationFailedException, DecryptionFailedException):
        raise PairwiseError("not-authentic", "altered, or sealed for something else") from None
    except ValueError:  # a ratchet key of small order
        raise PairwiseError("wrong-key", "a key of the message is no key") from None


def _keep(ratchet: Ratchet, place: bytes) -> bytes:
    return encode((1, place, json.dumps(ratchet.json).encode()))


def _recall(session: bytes, context: bytes) -> tuple[Ratchet, bytes]:
    """Make the session of its bytes, with the place that all its messages are bound to."""
    try:
        version, place, state = decode_array(session, bytes_max=CONTROL_BODY_BYTES_MAX)
        take_int(version, minimum=1, maximum=1)
        bound = take_bytes(place, maximum=CONTROL_BODY_BYTES_MAX)
        if not bound.endswith(context):
            raise PairwiseError("not-authentic", "the session is for something else")
        data = json.loads(take_bytes(state, maximum=CONTROL_BODY_BYTES_MAX))
        return Ratchet.from_json(data, **_RATCHET_ARGUMENTS), bound
    except (CodecError, ValueError, TypeError, KeyError):
        raise PairwiseError("malformed", "not a session of this adapter") from None


def _take_key(value: object) -> bytes:
    return take_bytes(value, minimum=_KEY_BYTES, maximum=_KEY_BYTES)
