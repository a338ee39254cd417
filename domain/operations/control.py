"""The bodies of control operations: clear, deterministic CBOR arrays that start with their version."""

from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise
from typing import Final

from domain import codec, limits
from domain.codec import CodecError
from domain.errors import IdentifierError, OperationError, UsageError
from domain.identifiers import DocumentId, LogId, OperationId, PeerId
from domain.identity import SIGNATURE_BYTES
from domain.operations.distribution import PrekeyNotice, SecretDistribution
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
    """Invites, adds, removes and gives roles."""


def role_named(name: str) -> Role:
    """Give the role of that name, in any case.

    Raises:
        UsageError: There is none.
    """
    if name.upper() not in Role.__members__:
        names = ", ".join(known.name.lower() for known in Role)
        raise UsageError(f"there is no role {name!r}; the roles are {names}")
    return Role[name.upper()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Genesis:
    """Founds a document of that format; its author manages it."""

    format: int = DOCUMENT_FORMAT


@dataclass(frozen=True, slots=True, kw_only=True)
class InviteTerms:
    """What an invite allows to whom holds the key behind `key`: until `expires_us` (since 1970), and so often.

    Args:
        key: The public half of the invite's key.
        role: What joiners may do.
        expires_us: Microseconds since 1970.
        uses: How many devices may join by it.
        confirm: Whether two people have to compare a short code.
        person: The first device of the person whose devices join by it; None if each joiner is a person of its own.
    """

    key: PeerId
    role: Role
    expires_us: int
    uses: int
    confirm: bool = False
    person: PeerId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Add:
    """Makes a device a member, with the invite and the proof by which it joined."""

    member: PeerId
    role: Role
    invite: OperationId
    prekey_hash: bytes | None
    proof: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Remove:
    """Takes the membership of a device; or, where `member` is the key of an invite, the invite's power."""

    member: PeerId


@dataclass(frozen=True, slots=True, kw_only=True)
class SetRole:
    """Changes what a member may do."""

    member: PeerId
    role: Role


@dataclass(frozen=True, slots=True, kw_only=True)
class Leave:
    """Gives up the author's own membership."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Says that CRDT client ids (strictly ascending) belong to a content log of the author."""

    log_id: LogId
    clients: tuple[int, ...]


ControlBody = (
    Genesis
    | InviteTerms
    | Add
    | Remove
    | SetRole
    | Leave
    | Claim
    | PrekeyNotice
    | SecretDistribution
)


def encode_body(body: ControlBody) -> bytes:
    """Encode the body of a control operation."""
    return codec.encode((BODY_VERSION, *_fields(body)))


def _fields(body: ControlBody) -> tuple[codec.Value, ...]:
    fields: tuple[codec.Value, ...] = ()
    match body:
        case Genesis():
            fields = (body.format,)
        case InviteTerms():
            terms = (body.key, int(body.role), body.expires_us, body.uses, body.confirm)
            fields = (*terms, body.person)
        case Add():
            grant = (body.member, int(body.role), body.invite)
            fields = (*grant, body.prekey_hash, body.proof)
        case Remove():
            fields = (body.member,)
        case SetRole():
            fields = (body.member, int(body.role))
        case Claim():
            fields = (body.log_id, body.clients)
        case PrekeyNotice() | SecretDistribution():
            fields = body.fields()
        case Leave():
            pass
    return fields


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
        case Kind.CLAIM, [log_id, clients]:
            return Claim(
                log_id=LogId(codec.take_bytes(log_id, maximum=32)), clients=_take_clients(clients)
            )
        case Kind.PREKEY, _:
            return PrekeyNotice.from_fields(fields)
        case Kind.SECRET_DISTRIBUTION, _:
            return SecretDistribution.from_fields(fields)
        case _:
            return _decode_change(kind, fields)


def _decode_change(kind: int, fields: list[object]) -> ControlBody:
    match kind, fields:
        case Kind.INVITE, [key, role, expires_us, uses, confirm, person]:
            return InviteTerms(
                key=PeerId(codec.take_bytes(key, maximum=32)),
                role=_take_role(role),
                expires_us=codec.take_int(expires_us, maximum=limits.TIMESTAMP_MAX),
                uses=codec.take_int(uses, minimum=1, maximum=limits.INVITE_USES_MAX),
                confirm=codec.take_bool(confirm),
                person=None if person is None else PeerId(codec.take_bytes(person, maximum=32)),
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
        case Kind.REMOVE, [member]:
            return Remove(member=PeerId(codec.take_bytes(member, maximum=32)))
        case Kind.SET_ROLE, [member, role]:
            return SetRole(
                member=PeerId(codec.take_bytes(member, maximum=32)), role=_take_role(role)
            )
        case Kind.LEAVE, []:
            return Leave()
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
