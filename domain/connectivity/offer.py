"""Offers: how two peers that cannot reach each other yet tell each other where they might be.

An offer travels through somebody whom neither has to trust. It is signed by its sender, sealed to its recipient, and
worthless to anybody else, after its expiry, or a second time (`OfferLog`).

    sealed = ephemeral key (32) || nonce (24) || box of [sender, signature, body]
    body   = CBOR [1, id, recipient, secret, expires_us, mapping, filtering, [[kind, address]], reply tag, answered id]

The box is NaCl's (X25519, XSalsa20-Poly1305), between a key that is used once and the recipient's device key.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, TypeVar

from nacl.exceptions import CryptoError
from nacl.public import Box, PrivateKey, PublicKey
from nacl.signing import SigningKey, VerifyKey

from domain.codec import CodecError, decode_array, encode, take_bytes, take_int
from domain.connectivity.candidate import Candidate, encode_candidates, take_candidates
from domain.connectivity.nat import Filtering, Mapping, NatBehavior
from domain.connectivity.probe import ProbeKey
from domain.errors import CodedError
from domain.identifiers import PeerId
from domain.identity import SIGNATURE_BYTES, DeviceKey, Label, can_be_sealed_to, verify
from domain.limits import OFFER_BYTES_MAX, OFFER_S_MAX, OFFERS_KEPT_MAX, TIMESTAMP_MAX

OFFER_ID_BYTES: Final = 16
SECRET_BYTES: Final = 32
TAG_BYTES: Final = 32
LIFETIME_S: Final = 30.0
"""Half of what a receiver accepts, so that clocks may differ by the other half."""
_FORM: Final = 1
_ELEMENTS: Final = 10
_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 24

_Member = TypeVar("_Member", bound=IntEnum)


class OfferError(CodedError):
    """An offer that is not looked at further; `.code` says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What one peer tells another.

    Args:
        offer_id: 16 random bytes.
        sender: Whose candidates these are.
        recipient: Whom they are for.
        secret: 32 random bytes, from which the keys of probes follow.
        expires_us: When it is worth nothing any more, in microseconds since 1970 UTC; at most a minute ahead.
        nat: What the sender knows of its NAT.
        candidates: Where the sender may be.
        reply_tag: Under which tag the sender waits for the answer; None in an answer.
        answers: The id of the offer that this one answers; None if it is the first.
    """

    offer_id: bytes
    sender: PeerId
    recipient: PeerId
    secret: bytes
    expires_us: int
    nat: NatBehavior
    candidates: tuple[Candidate, ...]
    reply_tag: bytes | None = None
    answers: bytes | None = None

    def __repr__(self) -> str:
        """Show no secret."""
        return f"Offer({self.offer_id.hex()[:8]} of {self.sender.short}, {len(self.candidates)} candidates)"

    def probe_key(self, own: PeerId) -> ProbeKey:
        """The keys for probes between its sender and its recipient, as `own` uses them."""
        peer = self.recipient if own == self.sender else self.sender
        return ProbeKey(self.secret, context=self.offer_id, own=own, peer=peer)


def seal_offer(offer: Offer, key: DeviceKey, draw: Callable[[int], bytes]) -> bytes:
    """Sign an offer and seal it to its recipient; `draw` gives so many random bytes.

    Raises:
        OfferError: Nothing can be sealed to the recipient: its id, which others chose, is no such key.
    """
    if not can_be_sealed_to(offer.recipient):
        raise OfferError("wrong-key", "nothing can be sealed to the recipient")
    body = encode(
        [
            _FORM,
            offer.offer_id,
            offer.recipient,
            offer.secret,
            offer.expires_us,
            int(offer.nat.mapping),
            int(offer.nat.filtering),
            encode_candidates(offer.candidates),
            offer.reply_tag,
            offer.answers,
        ]
    )
    content = encode([key.peer, key.sign(Label.OFFER, body), body])
    once = PrivateKey(draw(_KEY_BYTES))
    box = Box(once, VerifyKey(offer.recipient).to_curve25519_public_key())
    nonce = draw(_NONCE_BYTES)
    return bytes(once.public_key) + nonce + box.encrypt(content, nonce).ciphertext


def open_offer(sealed: bytes, key: DeviceKey, *, now_us: int) -> Offer:
    """Open an offer that somebody has sealed to us, and check everything about it that can be checked alone.

    Raises:
        OfferError: It is not for us, damaged, forged, or expired.
    """
    if not _KEY_BYTES + _NONCE_BYTES < len(sealed) <= OFFER_BYTES_MAX:
        raise OfferError("malformed", f"{len(sealed)} bytes")
    try:
        own = SigningKey(key.seed).to_curve25519_private_key()
        box = Box(own, PublicKey(sealed[:_KEY_BYTES]))
        nonce = sealed[_KEY_BYTES : _KEY_BYTES + _NONCE_BYTES]
        content = box.decrypt(sealed[_KEY_BYTES + _NONCE_BYTES :], nonce)
    except (CryptoError, ValueError, TypeError):
        raise OfferError("not-for-us", "it does not open with our key") from None
    try:
        return _read(content, key.peer, now_us)
    except CodecError as error:
        raise OfferError("malformed", str(error)) from None


def _read(content: bytes, own: PeerId, now_us: int) -> Offer:
    parts = decode_array(content, bytes_max=OFFER_BYTES_MAX)
    if len(parts) != 3:  # noqa: PLR2004
        raise CodecError("wrong-type", "an offer is a sender, a signature and a body")
    sender = PeerId(take_bytes(parts[0], minimum=PeerId.LENGTH, maximum=PeerId.LENGTH))
    signature = take_bytes(parts[1], minimum=SIGNATURE_BYTES, maximum=SIGNATURE_BYTES)
    body = take_bytes(parts[2], maximum=OFFER_BYTES_MAX)
    if not verify(sender, Label.OFFER, body, signature):
        raise OfferError("forged", "the signature is not the sender's")
    if not can_be_sealed_to(sender):
        raise OfferError("wrong-key", "no answer can be sealed to its sender")
    fields = decode_array(body, bytes_max=OFFER_BYTES_MAX)
    if len(fields) != _ELEMENTS or fields[0] != _FORM:
        raise CodecError("wrong-type", "an offer of another form")
    offer = Offer(
        offer_id=take_bytes(fields[1], minimum=OFFER_ID_BYTES, maximum=OFFER_ID_BYTES),
        sender=sender,
        recipient=PeerId(take_bytes(fields[2], minimum=PeerId.LENGTH, maximum=PeerId.LENGTH)),
        secret=take_bytes(fields[3], minimum=SECRET_BYTES, maximum=SECRET_BYTES),
        expires_us=take_int(fields[4], maximum=TIMESTAMP_MAX),
        nat=NatBehavior(_member(Mapping, fields[5]), _member(Filtering, fields[6])),
        candidates=take_candidates(fields[7]),
        reply_tag=_optional(fields[8], TAG_BYTES),
        answers=_optional(fields[9], OFFER_ID_BYTES),
    )
    if offer.recipient != own or sender == own:
        raise OfferError("not-for-us", "it names another recipient")
    if not now_us < offer.expires_us <= now_us + int(OFFER_S_MAX * 1e6):
        raise OfferError("expired", "it has expired, or its sender's clock is wrong")
    return offer


class OfferLog:
    """Remembers which offers have come, until they have expired anyway."""

    def __init__(self) -> None:
        self._seen: OrderedDict[bytes, int] = OrderedDict()

    def admit(self, offer: Offer, *, now_us: int) -> bool:
        """Whether an offer comes for the first time."""
        while self._seen and (
            next(iter(self._seen.values())) <= now_us or len(self._seen) >= OFFERS_KEPT_MAX
        ):
            self._seen.popitem(last=False)
        if offer.offer_id in self._seen:
            return False
        self._seen[offer.offer_id] = offer.expires_us
        return True


def _member(kind: type[_Member], value: object) -> _Member:
    """A member of an enumeration; a number that we do not know says nothing."""
    number = take_int(value, maximum=255)
    return kind(number) if number in list(kind) else kind(0)


def _optional(value: object, length: int) -> bytes | None:
    return None if value is None else take_bytes(value, minimum=length, maximum=length)
