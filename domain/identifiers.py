"""The identifiers of culm: distinct types of checked bytes.

Each is `bytes` of a fixed length, so it hashes, compares and encodes as such; a wrong length never becomes one.
"""

from typing import ClassVar, NamedTuple, Self

from domain.errors import IdentifierError


class Identifier(bytes):
    """Bytes of the length that the subclass fixes."""

    LENGTH: ClassVar[int] = 32
    __slots__ = ()

    def __new__(cls, value: bytes) -> Self:
        """Check the length.

        Raises:
            IdentifierError: It has another length.
        """
        if len(value) != cls.LENGTH:
            raise IdentifierError(f"a {cls.__name__} has {cls.LENGTH} bytes, not {len(value)}")
        return super().__new__(cls, value)

    @classmethod
    def from_hex(cls, text: str) -> Self:
        """Read what `str()` wrote.

        Raises:
            IdentifierError: It is not hexadecimal, or has another length.
        """
        try:
            return cls(bytes.fromhex(text))
        except ValueError:
            raise IdentifierError(
                f"not a {cls.__name__}: it is {2 * cls.LENGTH} hex digits"
            ) from None

    def __str__(self) -> str:
        """Write it in lower-case hexadecimal."""
        return self.hex()

    def __repr__(self) -> str:
        """Name the type and the first digits."""
        return f"{type(self).__name__}({self.short})"

    @property
    def short(self) -> str:
        """The first 8 hex digits, for people and logs."""
        return self[:4].hex()


class PeerId(Identifier):
    """A device: its Ed25519 public key."""

    __slots__ = ()


class DocumentId(Identifier):
    """A document: the id of its genesis operation."""

    __slots__ = ()


class OperationId(Identifier):
    """An operation: BLAKE3 of its header bytes."""

    __slots__ = ()


class LogId(Identifier):
    """A log of a device in a document: 32 random bytes, which are its incarnation as well."""

    __slots__ = ()


class SecretId(Identifier):
    """A document secret: its BLAKE3."""

    __slots__ = ()


class LogKey(NamedTuple):
    """A log, and whose it is."""

    author: PeerId
    log_id: LogId


class Position(NamedTuple):
    """The place of an operation: its log and its sequence number there."""

    log: LogKey
    seq_num: int
