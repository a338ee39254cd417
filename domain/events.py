"""What happens in a node, as values: the one typed event stream that an embedder listens to."""

from dataclasses import dataclass

from domain.identifiers import DocumentId, OperationId, PeerId
from domain.operations.control import Role


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentEvent(Event):
    """Something that happened to one document."""

    document: DocumentId


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentChanged(DocumentEvent):
    """Edits of others are now in the document, and on disk."""

    operations: int
    authors: frozenset[PeerId]


@dataclass(frozen=True, slots=True, kw_only=True)
class EditsSaved(DocumentEvent):
    """Own edits are now on disk, as so many operations."""

    operations: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EditsRefused(DocumentEvent):
    """Own edits that no replica would accept were taken back; the document was reloaded without them.

    Args:
        reason: What was wrong.
        updates: The edits, as Yjs updates.
    """

    reason: str
    updates: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EditsUnsaved(DocumentEvent):
    """Own edits could not be written; they stay visible and are tried again."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentReloaded(DocumentEvent):
    """`ydoc` is a new object: fetch the handles of its types again."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentDegraded(DocumentEvent):
    """An operation is kept and served, but the document goes on without it and what builds on it."""

    operation: OperationId
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentFailed(DocumentEvent):
    """The document cannot go on and is closed: its log cannot be read, or not be made a document again."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationRefused(DocumentEvent):
    """An operation was refused, as every replica refuses it."""

    operation: OperationId
    author: PeerId
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberAdded(DocumentEvent):
    """A device is now a member."""

    peer: PeerId
    role: Role


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberRemoved(DocumentEvent):
    """A device is no member any more; it may have left by itself, and it may be ours."""

    peer: PeerId


@dataclass(frozen=True, slots=True, kw_only=True)
class RoleChanged(DocumentEvent):
    """A member has another role now; it may be ours."""

    peer: PeerId
    role: Role


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentSynced(DocumentEvent):
    """We have what that peer had when the exchange began, and it has what we had."""

    peer: PeerId


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerConnected(Event):
    """A peer is connected, at that address; `is_dialler` says whether we dialled."""

    peer: PeerId
    address: str
    is_dialler: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerDisconnected(Event):
    """A connection to a peer ended, with that close code and reason."""

    peer: PeerId
    code: int
    reason: str
    by_peer: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SecurityEvent(Event):
    """A peer did what an honest peer does not do."""

    peer: PeerId
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingFailed(Event):
    """What a peer asked for cannot be read from our own disk."""

    peer: PeerId
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EventsDropped(Event):
    """This listener was too slow: so many events were dropped here."""

    count: int
