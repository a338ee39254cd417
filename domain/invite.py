"""Invites: bearer strings that say where to go, prove where they come from, and let their holder in.

`culm1` and base64url without padding of a deterministic CBOR array, signed by the inviter. The holder of the string
holds the key whose public half stands in an `invite` operation of the document. It lets its holder in, as long as a
manager finds it valid; by itself it opens nothing.
"""

import base64
from dataclasses import dataclass
from typing import Final, Self

from domain import codec, limits
from domain.codec import CodecError, Value
from domain.errors import IdentifierError, InviteError
from domain.identifiers import DocumentId, PeerId
from domain.identity import SEED_BYTES, DeviceKey, Label, can_be_sealed_to, verify

PREFIX: Final = "culm1"
INVITE_VERSION: Final = 2

Host = tuple[PeerId, tuple[str, ...]]
"""Somebody who can admit, and where it can be dialled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Invite:
    """What an invite says; its `repr` shows no secret.

    Args:
        document: The document that it lets into.
        name: What the inviter calls the document.
        inviter: Who made it, and can admit.
        addresses: Where the inviter can be dialled, `host:port`, the best first; `PEERID@host:port` is a rendezvous
            through which it is found.
        others: Other managers who can admit, and where they can be dialled.
        expires_us: Microseconds since 1970; from then on nobody admits with it.
        confirm: Whether a manager lets the joiner in only after two people have compared a code.
        key: The invite's key; its public half stands in the document.
    """

    document: DocumentId
    name: str
    inviter: PeerId
    addresses: tuple[str, ...]
    others: tuple[Host, ...] = ()
    expires_us: int
    confirm: bool = False
    key: DeviceKey

    @property
    def hosts(self) -> tuple[Host, ...]:
        """Everybody who can admit, the inviter first."""
        return ((self.inviter, self.addresses), *self.others)

    def _contents(self) -> Value:
        return (
            INVITE_VERSION,
            self.document,
            self.name,
            self.inviter,
            self.addresses,
            self.others,
            self.expires_us,
            self.confirm,
            self.key.seed,
        )

    def encode(self, inviter: DeviceKey) -> str:
        """Sign it as the inviter, and give the string to pass on."""
        contents = codec.encode(self._contents())
        signature = inviter.sign(Label.INVITE, contents)
        data = codec.encode((contents, signature))
        return PREFIX + _to_base64(data)

    @classmethod
    def decode(cls, text: str) -> Self:
        """Read an invite string; blanks around and within it (from wrapping) are ignored.

        Raises:
            InviteError: `malformed` when it is no invite, or not a whole one; `forged` when it was altered.
        """
        compact = "".join(text[: 2 * limits.INVITE_TEXT_BYTES_MAX].split())
        if not compact.startswith(PREFIX):
            raise InviteError("malformed", f"this is no invite: an invite starts with {PREFIX}")
        if len(compact) > limits.INVITE_TEXT_BYTES_MAX:
            raise InviteError("malformed", "this is no invite: it is too long")
        encoded = compact.removeprefix(PREFIX)
        try:
            data = _from_base64(encoded)
            contents, signature = _two(
                codec.decode_array(data, bytes_max=limits.INVITE_TEXT_BYTES_MAX)
            )
            invite = cls._from_contents(
                codec.decode_array(contents, bytes_max=limits.INVITE_TEXT_BYTES_MAX)
            )
        except (CodecError, IdentifierError, ValueError):
            raise InviteError(
                "malformed", "this invite is damaged: copy the whole line again"
            ) from None
        if not verify(invite.inviter, Label.INVITE, contents, signature):
            raise InviteError(
                "forged",
                "this invite was altered, or its inviter did not make it: ask for a new one",
            )
        return invite

    @classmethod
    def _from_contents(cls, fields: list[object]) -> Self:
        version, document, name, inviter, addresses, others, expires_us, confirm, seed = fields
        codec.take_int(version, minimum=INVITE_VERSION, maximum=INVITE_VERSION)
        return cls(
            document=DocumentId(codec.take_bytes(document, maximum=32)),
            name=codec.take_text(name, bytes_max=limits.DOCUMENT_NAME_BYTES_MAX),
            inviter=_take_peer(inviter),
            addresses=_take_addresses(addresses),
            others=tuple(
                _take_host(other)
                for other in codec.take_list(others, maximum=limits.INVITE_OTHERS_MAX)
            ),
            expires_us=codec.take_int(expires_us, maximum=limits.TIMESTAMP_MAX),
            confirm=codec.take_bool(confirm),
            key=DeviceKey(codec.take_bytes(seed, minimum=SEED_BYTES, maximum=SEED_BYTES)),
        )


def _take_host(value: object) -> Host:
    peer, addresses = codec.take_list(value, maximum=2)
    return _take_peer(peer), _take_addresses(addresses)


def _take_peer(value: object) -> PeerId:
    peer = PeerId(codec.take_bytes(value, maximum=32))
    if not can_be_sealed_to(peer):
        raise IdentifierError("no offer could be sealed to that peer")
    return peer


def _take_addresses(value: object) -> tuple[str, ...]:
    return tuple(
        codec.take_text(address, bytes_max=limits.ADDRESS_BYTES_MAX)
        for address in codec.take_list(value, maximum=limits.INVITE_ADDRESSES_MAX)
    )


def _to_base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _from_base64(text: str) -> bytes:
    data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    if _to_base64(data) != text:
        raise ValueError("another text stands for the same bytes")
    return data


def _two(fields: list[object]) -> tuple[bytes, bytes]:
    first, second = fields
    bound = limits.INVITE_TEXT_BYTES_MAX
    return codec.take_bytes(first, maximum=bound), codec.take_bytes(second, maximum=bound)
