"""What two peers say to each other on the channel of a document, and on the control channel.

Each message is a deterministic CBOR array that starts with its tag. What the receiver can rebuild is left out of an
operation (backlink, body hash, document, often author and log id): the signature is checked on the rebuilt bytes, so a
wrong rebuild cannot pass.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Final, Self

from domain import codec, limits
from domain.codec import CodecError, Value
from domain.connectivity.close_codes import CloseCode
from domain.errors import IdentifierError, OperationError, PeerError
from domain.identifiers import LogId, LogKey, OperationId, PeerId, SecretId
from domain.identity import SIGNATURE_BYTES
from domain.ledger.ledger import Height
from domain.operations.kind import KIND_MAX
from domain.operations.operation import decode_previous
from domain.prekey import Prekey

LogReference = int | LogKey
"""A log: in full the first time that a direction of a channel names it, then by its number there."""

REASON_BYTES_MAX: Final = 64
NONCE_BYTES: Final = 16
EXCHANGES_MAX: Final = 2**32
HEARTBEATS_MAX: Final = 2**32
Fields = list[object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Have:
    """A page of how far the sender's logs go; the last page says so."""

    TAG: ClassVar[int] = 0
    is_last: bool
    heights: tuple[tuple[LogReference, Height], ...]

    def fields(self) -> tuple[Value, ...]:
        """Give what follows the tag."""
        return (self.is_last, [(log, height.count, height.tip) for log, height in self.heights])

    @classmethod
    def from_fields(cls, fields: Fields) -> Self:
        """Check what follows the tag."""
        is_last, heights = fields
        listed = codec.take_list(heights, maximum=limits.HAVE_PAGE_LOGS_MAX)
        return cls(
            is_last=codec.take_bool(is_last), heights=tuple(_take_height(entry) for entry in listed)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PreSync:
    """So many operations are coming."""

    TAG: ClassVar[int] = 1
    operations: int

    def fields(self) -> tuple[Value, ...]:
        """Give what follows the tag."""
        return (self.operations,)

    @classmethod
    def from_fields(cls, fields: Fields) -> Self:
        """Check what follows the tag."""
        (operations,) = fields
        return cls(operations=codec.take_int(operations, maximum=2**48))


@dataclass(frozen=True, slots=True, kw_only=True)
class CompactOperation:
    """An operation without what its receiver rebuilds.

    Args:
        log: Whose log, and which.
        seq_num: Its place there.
        signature: The author's.
        timestamp: As in the header; where `backlink` is None, the difference to the operation before it.
        kind: As in the header.
        prune: As in the header.
        backlink: None where the operation before it in its log came before it on this channel.
        previous: As in the header.
        secret: As in the header.
        body: The body, or its size where it follows in parts.
        root: The id of the log that the header names, where that forked and `log` is one of its branches.
    """

    TAG: ClassVar[int] = 2
    log: LogReference
    seq_num: int
    signature: bytes
    timestamp: int
    kind: int
    prune: bool
    backlink: OperationId | None
    previous: tuple[OperationId, ...]
    secret: SecretId | None
    body: bytes | int
    root: LogId | None = None

    def fields(self) -> tuple[Value, ...]:
        """Give what follows the tag."""
        fields = (
            self.log,
            self.seq_num,
            self.signature,
            self.timestamp,
            self.kind,
            self.prune,
            self.backlink,
            self.previous,
            self.secret,
            self.body,
        )
        return fields if self.root is None else (*fields, self.root)

    @classmethod
    def from_fields(cls, fields: Fields) -> Self:
        """Check what follows the tag."""
        log, seq_num, signature, timestamp, kind, prune, *links, body = fields[:10]
        backlink, previous, secret = links
        [root] = fields[10:] or [None]
        return cls(
            log=_take_log(log),
            seq_num=codec.take_int(seq_num, maximum=limits.SEQ_NUM_MAX),
            signature=_take_signature(signature),
            timestamp=codec.take_int(timestamp, maximum=limits.TIMESTAMP_MAX),
            kind=codec.take_int(kind, maximum=KIND_MAX),
            prune=codec.take_bool(prune),
            backlink=None
            if backlink is None
            else OperationId(codec.take_bytes(backlink, maximum=32)),
            previous=decode_previous(previous),
            secret=None if secret is None else SecretId(codec.take_bytes(secret, maximum=32)),
            body=_take_body(body),
            root=None if root is None else LogId(codec.take_bytes(root, maximum=32)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyPart:
    """The next part of the body announced last."""

    TAG: ClassVar[int] = 3
    data: bytes

    def fields(self) -> tuple[Value, ...]:
        """Give what follows the tag."""
        return (self.data,)

    @classmethod
    def from_fields(cls, fields: Fields) -> Self:
        """Check what follows the tag."""
        (data,) = fields
        return cls(data=codec.take_bytes(data, minimum=1, maximum=limits.BODY_PART_BYTES_MAX))


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """You have been sent all that you lacked by your `exchange`-th `Have` on this channel (its last page counts)."""

    TAG: ClassVar[int] = 4
    exchange: int

    def fields(self) -> tuple[Value, ...]:
        """Give what follows the tag."""
        return (self.exchange,)

    @classmethod
    def from_fields(cls, fields: Fields) -> Self:
        """Check what follows the tag."""
        (exchange,) = fields
        return cls(exchange=codec.take_int(exchange, maximum=EXCHANGES_MAX))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ack:
    """So many operations of these logs are on the sender's disk.

    `is_wanted` says whether it wants more of them from the receiver at once, or only what does not come otherwise; None
    leaves that as it is.
    """

    TAG: ClassVar[int] = 5
    counts: tuple[tuple[LogReference, int], ...]
    is_wanted: bool | None = None

    def fields(self) -> tuple[Value, ...]:
        """Give what follows the tag."""
        return (self.counts, self.is_wanted)

    @classmethod
    def from_fields(cls, fields: Fields) -> Self:
        """Check what follows the tag."""
        counts, is_wanted = fields
        listed = codec.take_list(counts, maximum=limits.HAVE_LOGS_MAX)
        return cls(
            counts=tuple(_take_count(entry) for entry in listed),
            is_wanted=None if is_wanted is None else codec.take_bool(is_wanted),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Nack:
    """That operation came damaged, or no replica accepts it; send it again if it differs on your disk."""

    TAG: ClassVar[int] = 6
    log: LogReference
    seq_num: int
    reason: str

    def fields(self) -> tuple[Value, ...]:
        """Give what follows the tag."""
        return (self.log, self.seq_num, self.reason)

    @classmethod
    def from_fields(cls, fields: Fields) -> Self:
        """Check what follows the tag."""
        log, seq_num, reason = fields
        return cls(
            log=_take_log(log),
            seq_num=codec.take_int(seq_num, maximum=limits.SEQ_NUM_MAX),
            reason=codec.take_text(reason, bytes_max=REASON_BYTES_MAX),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Join:
    """The sender holds the key of an invite, and asks to be made a member; secrets reach it with its prekey."""

    TAG: ClassVar[int] = 7
    invite_key: PeerId
    prekey: Prekey
    proof: bytes

    def fields(self) -> tuple[Value, ...]:
        """Give what follows the tag."""
        return (self.invite_key, self.prekey.value(), self.proof)

    @classmethod
    def from_fields(cls, fields: Fields) -> Self:
        """Check what follows the tag."""
        invite_key, prekey, proof = fields
        return cls(
            invite_key=PeerId(codec.take_bytes(invite_key, maximum=32)),
            prekey=Prekey.from_value(prekey),
            proof=_take_signature(proof),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinRefused:
    """The sender will not make you a member; `reason` is one of `InviteError`'s."""

    TAG: ClassVar[int] = 8
    reason: str

    def fields(self) -> tuple[Value, ...]:
        """Give what follows the tag."""
        return (self.reason,)

    @classmethod
    def from_fields(cls, fields: Fields) -> Self:
        """Check what follows the tag."""
        (reason,) = fields
        return cls(reason=codec.take_text(reason, bytes_max=REASON_BYTES_MAX))


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinPending:
    """The sender will make you a member once two people have compared the code that `nonce` goes into."""

    TAG: ClassVar[int] = 11
    nonce: bytes

    def fields(self) -> tuple[Value, ...]:
        """Give what follows the tag."""
        return (self.nonce,)

    @classmethod
    def from_fields(cls, fields: Fields) -> Self:
        """Check what follows the tag."""
        (nonce,) = fields
        return cls(nonce=codec.take_bytes(nonce, minimum=NONCE_BYTES, maximum=NONCE_BYTES))


@dataclass(frozen=True, slots=True, kw_only=True)
class Digests:
    """On the control channel: for each shared document, its channel's name and a digest of the sender's heights."""

    TAG: ClassVar[int] = 9
    entries: tuple[tuple[bytes, bytes], ...]

    def fields(self) -> tuple[Value, ...]:
        """Give what follows the tag."""
        return (self.entries,)

    @classmethod
    def from_fields(cls, fields: Fields) -> Self:
        """Check what follows the tag."""
        (entries,) = fields
        listed = codec.take_list(entries, maximum=limits.DIGESTS_PER_MESSAGE_MAX)
        return cls(entries=tuple(_take_digest(entry) for entry in listed))


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """On the control channel: "are you there?" from the side that dialled, and the same number back."""

    TAG: ClassVar[int] = 10
    number: int
    is_answer: bool

    def fields(self) -> tuple[Value, ...]:
        """Give what follows the tag."""
        return (self.number, self.is_answer)

    @classmethod
    def from_fields(cls, fields: Fields) -> Self:
        """Check what follows the tag."""
        number, is_answer = fields
        return cls(
            number=codec.take_int(number, maximum=HEARTBEATS_MAX),
            is_answer=codec.take_bool(is_answer),
        )


Message = (
    Have
    | PreSync
    | CompactOperation
    | BodyPart
    | Done
    | Ack
    | Nack
    | Join
    | JoinRefused
    | JoinPending
    | Digests
    | Heartbeat
)

BY_TAG: Final[dict[int, type[Message]]] = {
    kind.TAG: kind
    for kind in (
        Have,
        PreSync,
        CompactOperation,
        BodyPart,
        Done,
        Ack,
        Nack,
        Join,
        JoinRefused,
        JoinPending,
        Digests,
        Heartbeat,
    )
}


def encode_message(message: Message) -> bytes:
    """Encode a message."""
    return codec.encode((message.TAG, *message.fields()))


def decode_message(data: bytes) -> Message:
    """Decode a message.

    Raises:
        PeerError: It is no message of the protocol, or out of bounds.
    """
    try:
        tag, *fields = codec.decode_array(data, bytes_max=limits.MESSAGE_BYTES_MAX)
        return BY_TAG[codec.take_int(tag, maximum=max(BY_TAG))].from_fields(fields)
    except (CodecError, IdentifierError, OperationError, ValueError) as error:
        raise PeerError(
            CloseCode.PROTOCOL_ERROR, f"a message that cannot be read: {error}"
        ) from None


def _take_log(value: object) -> LogReference:
    if isinstance(value, int):
        return codec.take_int(value, maximum=limits.HAVE_LOGS_MAX)
    author, log_id = codec.take_list(value, maximum=2)
    return _log_key(codec.take_bytes(author, maximum=32), codec.take_bytes(log_id, maximum=32))


@lru_cache(maxsize=limits.LOG_KEYS_CACHED_MAX)
def _log_key(author: bytes, log_id: bytes) -> LogKey:
    """Give the same key for the same log: each connection keeps the ones it was told, 250 bytes apiece."""
    return LogKey(PeerId(author), LogId(log_id))


def _take_height(value: object) -> tuple[LogReference, Height]:
    log, count, tip = codec.take_list(value, maximum=3)
    height = Height(
        count=codec.take_int(count, minimum=1, maximum=limits.SEQ_NUM_MAX + 1),
        tip=OperationId(codec.take_bytes(tip, maximum=32)),
    )
    return _take_log(log), height


def _take_count(value: object) -> tuple[LogReference, int]:
    log, count = codec.take_list(value, maximum=2)
    return _take_log(log), codec.take_int(count, maximum=limits.SEQ_NUM_MAX + 1)


def _take_signature(value: object) -> bytes:
    return codec.take_bytes(value, minimum=SIGNATURE_BYTES, maximum=SIGNATURE_BYTES)


def _take_body(value: object) -> bytes | int:
    if isinstance(value, int):
        return codec.take_int(
            value, minimum=limits.BODY_PART_BYTES_MAX + 1, maximum=limits.BODY_BYTES_MAX
        )
    return codec.take_bytes(value, maximum=limits.BODY_PART_BYTES_MAX)


def _take_digest(value: object) -> tuple[bytes, bytes]:
    name, digest = codec.take_list(value, maximum=2)
    length = limits.CHANNEL_NAME_BYTES
    return codec.take_bytes(name, minimum=length, maximum=length), codec.take_bytes(
        digest, minimum=32, maximum=32
    )
