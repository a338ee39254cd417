"""How far logs go, compared."""

from collections.abc import Mapping

from blake3 import blake3

from domain import codec
from domain.identifiers import DocumentId, LogKey
from domain.ledger.ledger import Height


def digest(heights: Mapping[LogKey, Height]) -> bytes:
    """Give 32 bytes that are equal if and only if the heights are."""
    entries = sorted(
        (key.author, key.log_id, height.count, height.tip) for key, height in heights.items()
    )
    return blake3(codec.encode(entries)).digest()


def channel_name(document: DocumentId, binding: bytes) -> bytes:
    """Name the channel of a document on a connection: 32 bytes that say nothing to who does not know the document.

    Args:
        document: The document.
        binding: What only the two ends of this connection share.
    """
    return blake3(document + binding, derive_key_context="culm channel v1").digest()


def bulk_channel_name(document: DocumentId, binding: bytes) -> bytes:
    """Name the channel on which many or large operations of a document go; as `channel_name`."""
    return blake3(document + binding, derive_key_context="culm bulk v1").digest()


def lacking(mine: Mapping[LogKey, Height], theirs: Mapping[LogKey, int]) -> dict[LogKey, int]:
    """Give the logs of which they have fewer operations than I, each with how many they have."""
    return {
        key: theirs.get(key, 0) for key, height in mine.items() if theirs.get(key, 0) < height.count
    }
