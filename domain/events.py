"""What happens in a node, as values: the one typed event stream that an embedder listens to."""

from collections.abc import Mapping
from dataclasses import dataclass

from domain.connectivity.lifecycle import State
from domain.identifiers import DocumentId, OperationId, PeerId
from domain.operations.control import Role
from domain.pairing import PairingState


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
    """Something could not be written, or not be read; own edits stay visible until they can be written."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EditsStuck(DocumentEvent):
    """Something has kept edits from getting on for a minute; told once, until it has been well in between.

    Args:
        reason: A verdict of `domain.explanation`: `unsaved-edits` (the disk takes nothing), `waiting-for-past`
            (operations build on others that do not come) or `missing-secret` (nobody has given us the secret).
        evidence: What shows it.
        action: What to do about it.
        stuck_s: For how long it has been so.
    """

    reason: str
    evidence: str
    action: str
    stuck_s: float


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
class CloneDetected(DocumentEvent):
    """Peers have operations of this device that it has not got: it was restored from a backup, or runs twice.

    It goes on in new logs, and has written its edits again that were in the way. Two copies can go on so, but hurt each
    other's connections: stop one, and let it join as a device of its own.

    Args:
        reason: `restored` if peers knew more than this device, `copied` if they knew something else.
    """

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ForkProven(DocumentEvent):
    """A device gave one place in its log to two operations, which it signed both; both count as what they are.

    Args:
        author: The device.
        seq_num: The first place at which the two histories differ.
        headers: Both signed headers, for a proof.
    """

    author: PeerId
    seq_num: int
    headers: tuple[bytes, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinRequested(DocumentEvent):
    """A device wants to join by an invite that asks for it: compare `code` with what it shows, then `confirm`."""

    peer: PeerId
    code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PairingChanged(DocumentEvent):
    """A device that asked this node to let it in stands otherwise with the document now.

    Args:
        peer: The device.
        state: `pairing` while it is being made a member, `waiting` while two people compare a code; then `paired`, or
            `refused`.
    """

    peer: PeerId
    state: PairingState


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinWaiting(DocumentEvent):
    """The manager `peer` lets us in once its people have compared their code with ours, which is `code`."""

    peer: PeerId
    code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentSynced(DocumentEvent):
    """We have what that peer had when the exchange began, and it has what we had."""

    peer: PeerId


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerStateChanged(Event):
    """A peer is in another state of its life cycle, see `domain.connectivity.lifecycle`."""

    peer: PeerId
    old: State
    new: State


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionActive(Event):
    """A connection to a peer is up and serves.

    Args:
        peer: The peer.
        address: Where it is.
        is_dialler: Whether we dialled.
        phases_s: How many seconds each phase before took, by the name of its state, in order.
    """

    peer: PeerId
    address: str
    is_dialler: bool
    phases_s: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkErrorMet(Event):
    """Something went wrong with a peer; `action` is what is done about it, by the one table of strategies.

    Args:
        peer: The peer.
        error: The class of the error.
        reason: What happened.
        action: What is done.
        retry_s: In how many seconds it is dialled again, or None where nothing has to be.
    """

    peer: PeerId
    error: str
    reason: str
    action: str
    retry_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PeerUnreachable(Event):
    """A peer counts as failed: it could not be reached again and again, and is tried only now and then from here on.

    Args:
        peer: The peer.
        reason: What ended the last try.
    """

    peer: PeerId
    reason: str


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
