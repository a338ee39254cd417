"""The bodies of the control operations by which secrets reach members: prekeys, and what is sealed for them."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Self

from domain import codec, limits
from domain.codec import CodecError, Value
from domain.identifiers import DocumentId, LogId, PeerId, SecretId
from domain.prekey import Prekey
from domain.sealing import SECRET_BYTES, DocumentSecret

Parcel = tuple[PeerId, bytes]
"""A recipient, and the pairwise message for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PrekeyNotice:
    """Publishes the author's prekey, which replaces the one before.

    Args:
        prekey: The prekey.
        missing: Secrets that the author was given and cannot open, strictly ascending: whoever holds them gives them
            again, in a new session with this prekey.
    """

    prekey: Prekey
    missing: tuple[SecretId, ...] = ()

    def fields(self) -> tuple[Value, ...]:
        """Give what follows the version."""
        return (self.prekey.value(), self.missing)

    @classmethod
    def from_fields(cls, fields: list[object]) -> Self:
        """Check what follows the version."""
        prekey, missing = fields
        return cls(prekey=Prekey.from_value(prekey), missing=_take_secrets(missing, minimum=0))


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretDistribution:
    """Gives secrets to members, each in a pairwise message of its own (`Contents`).

    Args:
        secrets: Which, strictly ascending. One that no earlier operation names is announced by this.
        readers: Who may read, and so is given the secrets, strictly ascending.
        pullers: Who may only store and forward, and so is given no more than their discovery keys.
    """

    secrets: tuple[SecretId, ...]
    readers: tuple[Parcel, ...] = ()
    pullers: tuple[Parcel, ...] = ()

    def fields(self) -> tuple[Value, ...]:
        """Give what follows the version."""
        return (self.secrets, self.readers, self.pullers)

    @classmethod
    def from_fields(cls, fields: list[object]) -> Self:
        """Check what follows the version."""
        secrets, readers, pullers = fields
        return cls(
            secrets=_take_secrets(secrets, minimum=1),
            readers=_take_parcels(readers),
            pullers=_take_parcels(pullers),
        )

    def parcel_for(self, peer: PeerId) -> bytes | None:
        """Find the message for a device."""
        for recipient, message in (*self.readers, *self.pullers):
            if recipient == peer:
                return message
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What a pairwise message says: keys of secrets for who may read, discovery keys for who may not."""

    secrets: tuple[DocumentSecret, ...] = ()
    discovery_keys: tuple[bytes, ...] = ()

    def encode(self) -> bytes:
        """Encode it (in clear: it goes into a pairwise message)."""
        return codec.encode(
            (_CONTENTS_VERSION, [secret.key for secret in self.secrets], self.discovery_keys)
        )

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Decode what `encode` gave.

        Raises:
            CodecError: It is something else.
        """
        version, secrets, discovery_keys = codec.decode_array(
            data, bytes_max=limits.CONTROL_BODY_BYTES_MAX
        )
        codec.take_int(version, minimum=_CONTENTS_VERSION, maximum=_CONTENTS_VERSION)
        return cls(
            secrets=tuple(DocumentSecret(key) for key in _take_keys(secrets)),
            discovery_keys=_take_keys(discovery_keys),
        )


_CONTENTS_VERSION: Final = 1


def pairwise_context(document: DocumentId, log_id: LogId, recipient: PeerId) -> bytes:
    """Say what a pairwise session is for: one for each document, control log of the sender, and recipient."""
    return codec.encode(("culm secrets v1", document, log_id, recipient))


def _take_keys(value: object) -> tuple[bytes, ...]:
    listed = codec.take_list(value, maximum=limits.SECRETS_PER_DISTRIBUTION_MAX)
    return tuple(
        codec.take_bytes(key, minimum=SECRET_BYTES, maximum=SECRET_BYTES) for key in listed
    )


def _take_secrets(value: object, *, minimum: int) -> tuple[SecretId, ...]:
    listed = codec.take_list(value, maximum=limits.SECRETS_PER_DISTRIBUTION_MAX)
    secrets = tuple(SecretId(codec.take_bytes(entry, maximum=32)) for entry in listed)
    if len(secrets) < minimum or any(one >= other for one, other in pairwise(secrets)):
        raise CodecError("not-canonical", "secret ids are not strictly ascending")
    return secrets


def _take_parcels(value: object) -> tuple[Parcel, ...]:
    listed = codec.take_list(value, maximum=limits.RECIPIENTS_PER_DISTRIBUTION_MAX)
    parcels = []
    for entry in listed:
        recipient, message = codec.take_list(entry, maximum=2)
        parcels.append(
            (
                PeerId(codec.take_bytes(recipient, maximum=32)),
                codec.take_bytes(message, minimum=1, maximum=limits.CONTROL_BODY_BYTES_MAX),
            )
        )
    if any(one[0] >= other[0] for one, other in pairwise(parcels)):
        raise CodecError("not-canonical", "recipients are not strictly ascending")
    return tuple(parcels)
