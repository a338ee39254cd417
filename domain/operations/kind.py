"""The registry of operation kinds.

Below 64 an operation is *control*: its body is clear, so that anybody who holds the log can check who may do what.
From 64 on it is *content*: its body is always sealed.
"""

from enum import IntEnum
from typing import Final

CONTENT_KINDS_FROM: Final = 64
KIND_MAX: Final = 255


class Kind(IntEnum):
    """What an operation does."""

    GENESIS = 0
    """Founds a document; its id is the document's."""
    INVITE = 1
    """Publishes the public half of an invite key, and what it allows."""
    ADD = 2
    """Makes a device a member."""
    REMOVE = 3
    """Takes a device's membership."""
    SET_ROLE = 4
    """Changes a member's role."""
    LEAVE = 5
    """Gives up the author's own membership."""
    PREKEY = 6
    """Publishes the author's signed prekey."""
    SECRET_DISTRIBUTION = 7
    """Carries a document secret, sealed for each recipient."""
    CLAIM = 8
    """Says that CRDT client ids belong to a log of the author."""
    FORK_PROOF = 9
    """Shows two operations with one place in a log."""
    FORMAT = 10
    """Raises the format of the document."""
    UPDATE = 64
    """A Yjs update, v1 encoding; an empty one only joins branches of the graph."""
    SNAPSHOT = 65
    """The state of the document as one update."""
    DEVICE_METADATA = 66
    """Name and capabilities of the author's device."""


def is_content(kind: int) -> bool:
    """Whether an operation of this kind has a sealed body and lives in a content log."""
    return kind >= CONTENT_KINDS_FROM
