"""The bodies of control operations: clear, deterministic CBOR arrays that start with their version."""

from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise
from typing import Final

from domain import codec, limits
from domain.codec import CodecError
from domain.errors import IdentifierError, OperationError
from domain.identifiers import DocumentId, LogId, OperationId, PeerId
from domain.identity import SIGNATURE_BYTES
from domain.operations.kind import Kind

BODY_VERSION: Final = 1
DOCUMENT_FORMAT: Final = 1


class Role(IntEnum):
    """What a member may do; each role may do what the ones before it may."""

    PULL = 1
    """Stores and forwards what it cannot read."""
    READ = 2
    """Reads."""
    WRITE = 3
    """Edits."""
    MANAGE = 4
    """Invites, adds and removes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Genesis:
    """Founds a document of that format; its author manages it."""

    format: int = DOCUMENT_FORMAT


@dataclass(frozen=True, slots=True, kw_only=True)
class InviteTerms:
    """What an invite allows to whom holds the key behind `key`: until `expires_us` (since 1970), and so often."""

    key: PeerId
    role: Role
    expires_us: int
    uses: int
    confirm: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Add:
    """Makes a device a member, with the invite and the proof by which it joined."""

    member: PeerId
    role: Role
    invite: OperationId
    prekey_hash: bytes | None
    proof: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Says that CRDT client ids (strictly ascending) belong to a content log of the author."""

    log_id: LogId
    clients: tuple[int, ...]


ControlBody = Genesis | InviteTerms | Add | Claim


def encode_body(body: ControlBody) -> bytes:
    """Encode the body of a control operation."""
    match body:
        case Genesis():
            return codec.encode((BODY_VERSION, body.format))
        case InviteTerms():
            return codec.encode(
                (BODY_VERSION, body.key, int(body.role), body.expires_us, body.uses, body.confirm)
            )
        case Add():
            return codec.encode(
                (
                    BODY_VERSION,
                    body.member,
                    int(body.role),
                    body.invite,
                    body.prekey_hash,
                    body.proof,
                )
            )
        case Claim():
            return codec.encode((BODY_VERSION, body.log_id, body.clients))


def decode_body(kind: int, data: bytes) -> ControlBody:
    """Decode the body of a control operation of a kind that this version knows.

    Raises:
        OperationError: It is malformed, of a newer version, or the kind is not one that `ControlBody` lists.
    """
    try:
        version, *fields = codec.decode_array(data, bytes_max=limits.CONTROL_BODY_BYTES_MAX)
        if codec.take_int(version, maximum=2**16 - 1) != BODY_VERSION:
            raise OperationError("wrong-version", f"a body of version {version!r}")
        return _decode_fields(kind, fields)
    except (CodecError, IdentifierError, ValueError) as error:
        raise OperationError("malformed-body", str(error)) from None


def _decode_fields(kind: int, fields: list[object]) -> ControlBody:
    match kind, fields:
        case Kind.GENESIS, [version]:
            return Genesis(format=codec.take_int(version, maximum=2**16 - 1))
        case Kind.INVITE, [key, role, expires_us, uses, confirm]:
            return InviteTerms(
                key=PeerId(codec.take_bytes(key, maximum=32)),
                role=_take_role(role),
                expires_us=codec.take_int(expires_us, maximum=limits.TIMESTAMP_MAX),
                uses=codec.take_int(uses, minimum=1, maximum=limits.INVITE_USES_MAX),
                confirm=codec.take_bool(confirm),
            )
        case Kind.ADD, [member, role, invite, prekey_hash, proof]:
            return Add(
                member=PeerId(codec.take_bytes(member, maximum=32)),
                role=_take_role(role),
                invite=OperationId(codec.take_bytes(invite, maximum=32)),
                prekey_hash=None
                if prekey_hash is None
                else codec.take_bytes(prekey_hash, minimum=32, maximum=32),
                proof=codec.take_bytes(proof, minimum=SIGNATURE_BYTES, maximum=SIGNATURE_BYTES),
            )
        case Kind.CLAIM, [log_id, clients]:
            return Claim(
                log_id=LogId(codec.take_bytes(log_id, maximum=32)), clients=_take_clients(clients)
            )
        case _:
            raise OperationError(
                "malformed-body", f"not the body of a control operation of kind {kind}"
            )


def _take_role(value: object) -> Role:
    return Role(codec.take_int(value, maximum=max(Role)))


def _take_clients(value: object) -> tuple[int, ...]:
    listed = codec.take_list(value, maximum=limits.CLAIMED_CLIENTS_MAX)
    clients = tuple(codec.take_int(client, maximum=limits.CLIENT_ID_MAX) for client in listed)
    if not clients or any(earlier >= later for earlier, later in pairwise(clients)):
        raise CodecError("not-canonical", "the claimed client ids are not strictly ascending")
    return clients


def join_statement(document: DocumentId, member: PeerId, prekey_hash: bytes | None) -> bytes:
    """Give what the holder of an invite's key signs (`Label.JOIN`) to make `member` a member."""
    return codec.encode((document, member, prekey_hash))
