"""A signed operation: p2panda-core v1, byte for byte, with culm's extension (`docs/protocol.md`, Operations).

The header is a CBOR array `[1, author, signature, payload size, payload hash?, seq_num, backlink?, extension?]`; what
is signed is the same array without the signature; the id is BLAKE3 of the header. Decoding is strict: bytes that do not
come out again when their value is encoded are refused, so one operation has one form.
"""

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final, Self

from blake3 import blake3

from domain import codec, limits
from domain.codec import CodecError, Value
from domain.errors import IdentifierError, OperationError
from domain.identifiers import DocumentId, LogId, LogKey, OperationId, PeerId, Position, SecretId
from domain.identity import SIGNATURE_BYTES, DeviceKey, verify_operation
from domain.operations.kind import KIND_MAX

HEADER_VERSION: Final = 1
EXTENSIONS_VERSION: Final = 1
VARIANT_BASIC: Final = 0
VARIANT_CULM: Final = 0x8000

# Where the signature stands in every encoded header: after the array's head, the version and the key with its head.
SIGNATURE_START: Final = 1 + 1 + 2 + PeerId.LENGTH
SIGNATURE_END: Final = SIGNATURE_START + 2 + SIGNATURE_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class BasicExtension:
    """p2panda's Basic variant: which log, when, and whether earlier operations may be deleted."""

    log_id: LogId
    timestamp: int
    prune: bool

    def value(self) -> Value:
        """Give the value that is encoded."""
        return (EXTENSIONS_VERSION, VARIANT_BASIC, self.log_id, self.timestamp, self.prune)


@dataclass(frozen=True, slots=True, kw_only=True)
class Extension:
    """culm's private variant (0x8000).

    Args:
        log_id: The log of the author that the operation belongs to.
        timestamp: Microseconds since 1970; for people, decides nothing.
        prune: Whether the author's earlier operations of this log may be deleted.
        kind: See `domain.operations.kind`.
        document: Set at seq_num 0 (but not in genesis) and on prune operations.
        previous: Ids that this operation builds on besides its backlink, strictly ascending, at most 64.
        secret: Which secret seals the body; None for control, and for "as in the operation before".
    """

    log_id: LogId
    timestamp: int
    prune: bool = False
    kind: int
    document: DocumentId | None = None
    previous: tuple[OperationId, ...] = ()
    secret: SecretId | None = None

    def value(self) -> Value:
        """Give the value that is encoded."""
        return (
            EXTENSIONS_VERSION,
            VARIANT_CULM,
            self.log_id,
            self.timestamp,
            self.prune,
            self.kind,
            self.document,
            self.previous,
            self.secret,
        )


AnyExtension = Extension | BasicExtension


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The signed part of an operation; `extension` is None where p2panda-core has none."""

    author: PeerId
    signature: bytes
    payload_size: int
    payload_hash: bytes | None
    seq_num: int
    backlink: OperationId | None
    extension: AnyExtension | None

    def _elements(self) -> list[Value]:
        elements: list[Value] = [HEADER_VERSION, self.author, self.payload_size]
        if self.payload_hash is not None:
            elements.append(self.payload_hash)
        elements.append(self.seq_num)
        if self.backlink is not None:
            elements.append(self.backlink)
        if self.extension is not None:
            elements.append(self.extension.value())
        return elements

    def unsigned(self) -> bytes:
        """Encode what is signed."""
        return codec.encode(self._elements())

    def encode(self) -> bytes:
        """Encode the header, signature included."""
        elements = self._elements()
        elements.insert(2, self.signature)
        return codec.encode(elements)


@dataclass(frozen=True, slots=True)
class Operation:
    """A whole operation of a culm document: header with culm's extension, its bytes, its id, its body.

    The body matches the header's size and hash; nothing is said about the signature until `is_signed`. Where its log
    forked, `branch` says in which branch it stands (`domain.ledger.branch`); the header does not say so.
    """

    operation_id: OperationId
    header: Header
    header_bytes: bytes
    body: bytes
    extension: Extension
    branch: LogId | None = None

    @classmethod
    def assemble(cls, header: Header, body: bytes) -> Self:
        """Make an operation of a header and its body, both already checked against each other.

        Raises:
            OperationError: The header has no culm extension, or is too large.
        """
        if not isinstance(header.extension, Extension):
            raise OperationError(
                "wrong-extension", "the operation has no culm extension (variant 0x8000)"
            )
        data = header.encode()
        if len(data) > limits.HEADER_BYTES_MAX or len(body) > limits.BODY_BYTES_MAX:
            raise OperationError(
                "too-large", f"header and body have {len(data)} and {len(body)} bytes"
            )
        return cls(OperationId(blake3(data).digest()), header, data, body, header.extension)

    @property
    def author(self) -> PeerId:
        """Who signed it."""
        return self.header.author

    @property
    def log(self) -> LogKey:
        """The log it belongs to; where that forked, the branch."""
        return LogKey(self.header.author, self.branch or self.extension.log_id)

    @property
    def root(self) -> LogKey:
        """The log that its header names."""
        return LogKey(self.header.author, self.extension.log_id)

    def in_branch(self, branch: LogKey) -> "Operation":
        """Give the same operation as part of that branch; of its log, where that has none."""
        name = None if branch == self.root else branch.log_id
        return self if name == self.branch else replace(self, branch=name)

    @property
    def position(self) -> Position:
        """Its place in its log."""
        return Position(self.log, self.header.seq_num)

    @property
    def size(self) -> int:
        """Bytes of header and body."""
        return len(self.header_bytes) + len(self.body)

    def is_signed(self) -> bool:
        """Whether the signature is the author's (one Ed25519 verification)."""
        data = self.header_bytes
        # The header without its third element: cut out, as encoding it again is a tenth of a receiver's work.
        unsigned = bytes((data[0] - 1,)) + data[1:SIGNATURE_START] + data[SIGNATURE_END:]
        return verify_operation(self.header.author, unsigned, self.header.signature)


def sign(
    key: DeviceKey,
    *,
    seq_num: int,
    backlink: OperationId | None,
    extension: AnyExtension | None,
    body: bytes,
) -> Header:
    """Make and sign a header for a body (empty: no body)."""
    unsigned = Header(
        author=key.peer,
        signature=b"",
        payload_size=len(body),
        payload_hash=blake3(body).digest() if body else None,
        seq_num=seq_num,
        backlink=backlink,
        extension=extension,
    )
    return rebuild(
        author=key.peer,
        signature=key.sign_operation(unsigned.unsigned()),
        seq_num=seq_num,
        backlink=backlink,
        extension=extension,
        body=body,
    )


def rebuild(
    *,
    author: PeerId,
    signature: bytes,
    seq_num: int,
    backlink: OperationId | None,
    extension: AnyExtension | None,
    body: bytes,
) -> Header:
    """Make a header from the parts that cannot be derived; its signature is not checked here."""
    return Header(
        author=author,
        signature=signature,
        payload_size=len(body),
        payload_hash=blake3(body).digest() if body else None,
        seq_num=seq_num,
        backlink=backlink,
        extension=extension,
    )


def decode_operation(header_bytes: bytes, body: bytes) -> Operation:
    """Decode an operation of a culm document; the signature is not checked here.

    Args:
        header_bytes: At most `HEADER_BYTES_MAX`.
        body: At most `BODY_BYTES_MAX`; empty where there is none.

    Raises:
        OperationError: Not strictly encoded, out of bounds, of another extension, or the body is not the header's.
    """
    header = decode_header(header_bytes)
    if not isinstance(header.extension, Extension):
        raise OperationError(
            "wrong-extension", "the operation has no culm extension (variant 0x8000)"
        )
    check_body(header, body)
    return Operation(
        OperationId(blake3(header_bytes).digest()), header, header_bytes, body, header.extension
    )


def check_body(header: Header, body: bytes) -> None:
    """Check that the body is the one that the header names.

    Raises:
        OperationError: It has another size or hash.
    """
    if len(body) != header.payload_size:
        raise OperationError(
            "wrong-body", f"the body has {len(body)} bytes, the header says {header.payload_size}"
        )
    if body and blake3(body).digest() != header.payload_hash:
        raise OperationError("wrong-body", "the body has another hash than the header says")


def decode_header(data: bytes) -> Header:
    """Decode a p2panda-core v1 header with culm's extension, with p2panda's Basic one, or with none.

    Raises:
        OperationError: It is not strictly encoded, out of bounds, or has an extension that we do not know.
    """
    try:
        return _decode_header(codec.decode_array(data, bytes_max=limits.HEADER_BYTES_MAX))
    except (CodecError, IdentifierError) as error:
        raise OperationError("malformed", str(error)) from None


def _decode_header(elements: list[object]) -> Header:
    rest = iter(elements)

    def following() -> object:
        for element in rest:
            return element
        raise CodecError("wrong-type", "the header is too short")

    if codec.take_int(following(), maximum=2**16 - 1) != HEADER_VERSION:
        raise OperationError("wrong-version", "not a p2panda-core v1 header")
    author = PeerId(codec.take_bytes(following(), maximum=32))
    signature = codec.take_bytes(following(), minimum=SIGNATURE_BYTES, maximum=SIGNATURE_BYTES)
    payload_size = codec.take_int(following(), maximum=limits.BODY_BYTES_MAX)
    payload_hash = codec.take_bytes(following(), minimum=32, maximum=32) if payload_size else None
    seq_num = codec.take_int(following(), maximum=limits.SEQ_NUM_MAX)
    backlink = OperationId(codec.take_bytes(following(), maximum=32)) if seq_num else None
    tail = list(rest)
    if len(tail) > 1:
        raise CodecError("wrong-type", "the header is too long")
    return Header(
        author=author,
        signature=signature,
        payload_size=payload_size,
        payload_hash=payload_hash,
        seq_num=seq_num,
        backlink=backlink,
        extension=decode_extension(tail[0]) if tail else None,
    )


def decode_extension(value: object) -> AnyExtension:
    """Check a decoded extension.

    Raises:
        OperationError: It is neither culm's nor p2panda's Basic one.
        CodecError: One of its fields is out of bounds.
        IdentifierError: One of its ids has a wrong length.
    """
    fields = codec.take_list(value, maximum=9)
    # True equals 1 in Python: without this an operation would have a second form, under another id.
    if any(type(field) is not int for field in fields[:2]):
        raise CodecError("wrong-type", "an extension starts with its version and variant")
    match fields:
        case [version, variant, log_id, timestamp, prune] if (version, variant) == (
            EXTENSIONS_VERSION,
            VARIANT_BASIC,
        ):
            return BasicExtension(
                log_id=LogId(codec.take_bytes(log_id, maximum=32)),
                timestamp=codec.take_int(timestamp, maximum=limits.TIMESTAMP_MAX),
                prune=codec.take_bool(prune),
            )
        case [version, variant, log_id, timestamp, prune, kind, document, previous, secret] if (
            version,
            variant,
        ) == (EXTENSIONS_VERSION, VARIANT_CULM):
            return Extension(
                log_id=LogId(codec.take_bytes(log_id, maximum=32)),
                timestamp=codec.take_int(timestamp, maximum=limits.TIMESTAMP_MAX),
                prune=codec.take_bool(prune),
                kind=codec.take_int(kind, maximum=KIND_MAX),
                document=None
                if document is None
                else DocumentId(codec.take_bytes(document, maximum=32)),
                previous=decode_previous(previous),
                secret=None if secret is None else SecretId(codec.take_bytes(secret, maximum=32)),
            )
        case _:
            raise OperationError(
                "wrong-extension", "an extension version or variant that this culm does not know"
            )


def decode_previous(value: object) -> tuple[OperationId, ...]:
    """Check a decoded `previous`: at most 64 ids, strictly ascending.

    Raises:
        CodecError: It is no such list.
        IdentifierError: An id has a wrong length.
    """
    listed = codec.take_list(value, maximum=limits.PREVIOUS_COUNT_MAX)
    previous = tuple(OperationId(codec.take_bytes(element, maximum=32)) for element in listed)
    if any(earlier >= later for earlier, later in pairwise(previous)):
        raise CodecError("not-canonical", "`previous` is not strictly ascending")
    return previous
