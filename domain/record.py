"""What a device keeps of a document besides its operations and its keys: its name, and our logs in it."""

from dataclasses import dataclass
from typing import Self

from domain import codec, limits
from domain.codec import CodecError
from domain.errors import IdentifierError, StorageCorruptError
from domain.identifiers import LogId

RECORD_VERSION = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentRecord:
    """Kept sealed under the storage key.

    Args:
        name: What people call the document; never on the wire in clear.
        control_log: Our log of control operations.
        content_log: Our log of content; the client id of our edits is derived from it.
    """

    name: str
    control_log: LogId
    content_log: LogId

    def encode(self) -> bytes:
        """Encode it (in clear: seal it)."""
        return codec.encode((RECORD_VERSION, self.name, self.control_log, self.content_log))

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Decode what `encode` gave.

        Raises:
            StorageCorruptError: It is something else.
        """
        try:
            version, name, control_log, content_log = codec.decode_array(data, bytes_max=limits.MIB)
            codec.take_int(version, minimum=RECORD_VERSION, maximum=RECORD_VERSION)
            return cls(
                name=codec.take_text(name, bytes_max=limits.DOCUMENT_NAME_BYTES_MAX),
                control_log=LogId(codec.take_bytes(control_log, maximum=32)),
                content_log=LogId(codec.take_bytes(content_log, maximum=32)),
            )
        except (CodecError, IdentifierError, ValueError) as error:
            raise StorageCorruptError(f"the record of a document cannot be read: {error}") from None
