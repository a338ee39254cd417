"""What a device keeps of a document besides its operations and its keys: its name, and our logs in it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from domain import codec, limits
from domain.codec import CodecError
from domain.errors import IdentifierError, StorageCorruptError
from domain.identifiers import LogId, LogKey, PeerId

RECORD_VERSION = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Rescue:
    """What is still to be done after it showed that somebody else goes on in our logs.

    Args:
        discard: From which sequence number on each log is to be deleted here, as peers have something else there.
        updates: Our edits in what is deleted, under the client id of our new content log; to be written again.
    """

    discard: Mapping[LogKey, int]
    updates: tuple[bytes, ...]

    def to_value(self) -> codec.Value:
        """Give what `from_value` reads."""
        ends = [(log.author, log.log_id, count) for log, count in self.discard.items()]
        return (ends, self.updates)

    @classmethod
    def from_value(cls, value: object) -> Self:
        """Read what `to_value` gave."""
        ends, updates = codec.take_list(value, maximum=2)
        discard: dict[LogKey, int] = {}
        for entry in codec.take_list(ends, maximum=limits.HAVE_LOGS_MAX):
            author, log_id, count = codec.take_list(entry, maximum=3)
            log = LogKey(
                PeerId(codec.take_bytes(author, maximum=32)),
                LogId(codec.take_bytes(log_id, maximum=32)),
            )
            discard[log] = codec.take_int(count, maximum=limits.SEQ_NUM_MAX)
        listed = codec.take_list(updates, maximum=2**32)
        return cls(
            discard=discard,
            updates=tuple(codec.take_bytes(one, maximum=limits.RECORD_BYTES_MAX) for one in listed),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentRecord:
    """Kept sealed under the storage key.

    Args:
        name: What people call the document; never on the wire in clear.
        control_log: Our log of control operations.
        content_log: Our log of content; the client id of our edits is derived from it.
        rescue: What is still to be done about logs of ours in which somebody else goes on.
    """

    name: str
    control_log: LogId
    content_log: LogId
    rescue: Rescue | None = None

    def encode(self) -> bytes:
        """Encode it (in clear: seal it)."""
        rescue = None if self.rescue is None else self.rescue.to_value()
        logs = (self.control_log, self.content_log)
        return codec.encode((RECORD_VERSION, self.name, *logs, rescue))

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Decode what `encode` gave.

        Raises:
            StorageCorruptError: It is something else.
        """
        try:
            version, name, control_log, content_log, rescue = codec.decode_array(
                data, bytes_max=limits.RECORD_BYTES_MAX
            )
            codec.take_int(version, minimum=RECORD_VERSION, maximum=RECORD_VERSION)
            return cls(
                name=codec.take_text(name, bytes_max=limits.DOCUMENT_NAME_BYTES_MAX),
                control_log=LogId(codec.take_bytes(control_log, maximum=32)),
                content_log=LogId(codec.take_bytes(content_log, maximum=32)),
                rescue=None if rescue is None else Rescue.from_value(rescue),
            )
        except (CodecError, IdentifierError, ValueError) as error:
            raise StorageCorruptError(f"the record of a document cannot be read: {error}") from None
