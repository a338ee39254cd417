"""Pairing: how a device and a document come together, and how far a member is trusted to be who people take it for."""

from enum import Enum
from typing import Final

from blake3 import blake3

from domain import codec
from domain.identifiers import DocumentId, PeerId
from domain.ledger.ledger import Ledger

NONCE_BYTES: Final = 16
_DIGITS: Final = 6


class PairingState(Enum):
    """Where a device stands with a document."""

    UNPAIRED = "unpaired"
    """It is no member, and has not asked to be one since this node started."""
    PAIRING = "pairing"
    """It has asked, and is being made a member."""
    WAITING = "waiting"
    """It has asked; two people have to compare a code."""
    PAIRED = "paired"
    """It is a member."""
    REFUSED = "refused"
    """It has asked, and was refused."""
    REMOVED = "removed"
    """It was a member."""


class Trust(Enum):
    """Why a device is taken for whom it says it is, the strongest reason first."""

    OWN = "own"
    """It is another device of the same person as ours."""
    CONFIRMED = "confirmed"
    """It joined by an invite for which two people compared a code."""
    FOUNDER = "founder"
    """It founded the document."""
    INVITED = "invited"
    """It held an invite: whoever got hold of it may be behind the device."""
    NONE = "none"
    """It is no member."""


def trust(ledger: Ledger, own: PeerId, peer: PeerId) -> Trust:
    """Say how far a device is to be trusted, by everything that this replica has."""
    membership = ledger.membership
    person = membership.person(peer)
    if person is None:
        return Trust.NONE
    if person == membership.person(own):
        return Trust.OWN
    invite = membership.invite_of(peer)
    if invite is None:
        return Trust.FOUNDER
    return Trust.CONFIRMED if invite.terms.confirm else Trust.INVITED


def confirmation_code(
    document: DocumentId, joiner: PeerId, manager: PeerId, *, nonce: bytes, proof: bytes
) -> str:
    """Give the code that the people at both ends compare, as in `482 913`.

    Who stole an invite gets another code than whom it was meant for. The manager draws the nonce after the joiner has
    said who it is: so trying keys until the codes agree takes a question to the manager for each.

    Args:
        document: The document.
        joiner: Who wants to join.
        manager: Who would admit it.
        nonce: 16 bytes that the manager drew for this joiner.
        proof: The joiner's proof that it holds the invite's key.
    """
    material = codec.encode((document, joiner, manager, nonce, proof))
    digest = blake3(material, derive_key_context="culm confirmation code v1").digest(length=16)
    digits = f"{int.from_bytes(digest, 'big') % 10**_DIGITS:0{_DIGITS}}"
    return f"{digits[: _DIGITS // 2]} {digits[_DIGITS // 2 :]}"
