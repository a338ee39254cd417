"""Every error that culm raises on purpose.

    CulmError
    ├── UsageError                 our caller did something that cannot work
    │   ├── ConfigurationError     a flag, a variable or the configuration file
    │   ├── NodeClosedError        the node or the document is closed
    │   ├── NotPermittedError      our role does not allow it
    │   ├── UnknownDocumentError   no such document here
    │   └── WrongThreadError       called from a thread that does not own the node
    ├── IdentifierError            bytes or text that are not an identifier
    ├── OperationError             an operation that no replica accepts
    ├── UpdateError                a CRDT update that no replica applies
    ├── EngineError                the CRDT engine failed on something that may be sound
    ├── SealError                  a sealed body that does not open
    ├── PairwiseError              a message for this device alone that does not open
    ├── InviteError                an invite or a joining that is refused (`.reason`)
    ├── PeerError                  a peer broke the protocol (`.code` ends its connection)
    ├── NetworkError               a peer cannot be reached, or no longer
    │   ├── DialError              nobody answered
    │   ├── NetworkDownError       our own network is down
    │   ├── HandshakeError         somebody answered, but not as it should (`.code`)
    │   │   ├── AuthenticationError      it is not who it should be
    │   │   ├── HandshakeTimedOutError   it fell silent in the middle
    │   │   ├── WrongNetworkError        it belongs to another network
    │   │   └── VersionNotSupportedError there is no common version
    │   ├── ConnectionLostError    the connection ended (`.code`, `.by_peer`)
    │   │   ├── ConnectionTimedOutError  the peer was not heard any more
    │   │   ├── ConnectionReplacedError  another connection to the peer stays
    │   │   ├── PeerStoppedError         the peer stops, in good order
    │   │   ├── PeerFailedError          one side failed for a reason of its own
    │   │   ├── PeerBusyError            the peer has too much to do
    │   │   ├── NotWantedError           one side has no use for it
    │   │   └── ProtocolViolationError   one side broke the protocol
    │   └── CorruptMessageError    what a peer sent is damaged; the connection stays
    ├── StorageError               the data directory
    │   ├── DataDirectoryInUseError  another process has it
    │   ├── StorageCorruptError      what was read is not what was written
    │   ├── StorageFullError         no space left
    │   ├── StorageReadOnlyError     it may not be written
    │   └── StorageVersionError      it was written by a newer culm
    ├── KeyFileError               the key file is missing, unreadable or damaged
    │   └── PassphraseError        its passphrase is wrong, or was not given
    ├── UnsavedEditsError          edits that are visible but could not be made durable
    │   └── RefusedEditsError      edits that were taken back, since no replica would accept them
    └── MirrorError                a mirrored file that cannot be read, decoded or written

A caller branches on the type, on `code` or on `reason`, never on the text. The text says what happened, why,
and what to do about it.
"""

from collections.abc import Sequence


class CulmError(Exception):
    """Base of every error that culm raises on purpose."""


class UsageError(CulmError):
    """The caller asked for something that cannot work."""


class ConfigurationError(UsageError):
    """A flag, an environment variable or the configuration file is wrong."""


class NodeClosedError(UsageError):
    """The node or the document is closed."""


class NotPermittedError(UsageError):
    """Our role in the document does not allow this."""


class UnknownDocumentError(UsageError):
    """This node has no such document."""


class WrongThreadError(UsageError):
    """A node is used from the thread and event loop that opened it, and from no other."""


class IdentifierError(CulmError):
    """Bytes or text that are not a well-formed identifier."""


class CodedError(CulmError):
    """An error with a machine-readable code.

    Args:
        code: What is wrong, in lower case with hyphens; stable, meant to branch on.
        detail: What is wrong, for a person.
    """

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(f"{code}: {detail}" if detail else code)
        self.code = code
        self.detail = detail


class OperationError(CodedError):
    """An operation that no replica accepts, whatever else it holds."""


class UpdateError(CodedError):
    """A CRDT update that no replica applies, whatever else it holds."""


class EngineError(CulmError):
    """The CRDT engine failed (it may be its fault and not the update's, so nothing is refused for it)."""


class SealError(CodedError):
    """Sealed bytes that do not open: wrong key, wrong place or altered."""


class PairwiseError(CodedError):
    """A pairwise message that cannot be sealed or opened.

    Args:
        code: `malformed`, `unknown-prekey`, `wrong-prekey`, `wrong-key`, `no-session`, `replayed`, `skipped` or
            `not-authentic`.
        detail: What is wrong, for a person.
    """


class InviteError(CulmError):
    """An invite, or an attempt to join with one, is refused.

    Args:
        reason: `malformed`, `forged`, `expired`, `used`, `revoked`, `other-document`, `refused` or `unreachable`.
        detail: What happened and what to do, for a person.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{detail} ({reason})")
        self.reason = reason


class PeerError(CulmError):
    """A peer broke the protocol; its connection is closed with `code`.

    Args:
        code: A code of the public registry in `domain.connectivity.close_codes`.
        detail: What the peer did.
    """

    def __init__(self, code: int, detail: str) -> None:
        super().__init__(detail)
        self.code = code


class NetworkError(CulmError):
    """A peer cannot be reached, or can no longer be reached.

    Attributes:
        refused: Addresses at which somebody else answered, while the peer may be at others.
    """

    refused: tuple[str, ...] = ()


class DialError(NetworkError):
    """Nobody answered at any of the addresses, or only somebody else.

    Args:
        detail: What came of each.
        refused: Those of them where somebody else answered.
    """

    def __init__(self, detail: str, refused: Sequence[str] = ()) -> None:
        super().__init__(detail)
        self.refused = tuple(refused)


class NetworkDownError(NetworkError):
    """Nobody at all can be reached: it is our own network that is down, and no peer is to blame."""


class HandshakeError(NetworkError):
    """Somebody answered, but is not who or what was expected.

    Args:
        code: A code of the public registry in `domain.connectivity.close_codes`.
        detail: What was wrong.
    """

    def __init__(self, code: int, detail: str) -> None:
        super().__init__(detail)
        self.code = code


class AuthenticationError(HandshakeError):
    """Who answered has not proven to be who it should be."""


class HandshakeTimedOutError(HandshakeError):
    """Who answered fell silent before the hello was done."""


class WrongNetworkError(HandshakeError):
    """Who answered belongs to another network."""


class VersionNotSupportedError(HandshakeError):
    """Who answered speaks no version of the protocol that we speak."""


class ConnectionLostError(NetworkError):
    """The connection ended.

    Args:
        code: A code of the public registry in `domain.connectivity.close_codes`.
        detail: Why it ended.
        by_peer: Whether the peer ended it.
    """

    def __init__(self, code: int, detail: str, *, by_peer: bool = False) -> None:
        super().__init__(detail or f"connection closed with code {code}")
        self.code = code
        self.by_peer = by_peer


class ConnectionTimedOutError(ConnectionLostError):
    """The peer was not heard any more."""


class ConnectionReplacedError(ConnectionLostError):
    """Another connection between the two peers stays."""


class PeerStoppedError(ConnectionLostError):
    """The peer stops, in good order."""


class PeerFailedError(ConnectionLostError):
    """The side that closed failed for a reason of its own."""


class PeerBusyError(ConnectionLostError):
    """The peer has too much to do."""


class NotWantedError(ConnectionLostError):
    """The side that closed has no use for the connection."""


class ProtocolViolationError(ConnectionLostError):
    """The side that did not close broke the protocol."""


class CorruptMessageError(NetworkError):
    """What a peer sent is well framed, but damaged or forged; the connection stays."""


class StorageError(CulmError):
    """The data directory could not be read or written."""


class DataDirectoryInUseError(StorageError):
    """Another process has the data directory open."""


class StorageCorruptError(StorageError):
    """What was read is not what was written."""


class StorageFullError(StorageError):
    """There is no space left for the data directory."""


class StorageReadOnlyError(StorageError):
    """The data directory may not be written."""


class StorageVersionError(StorageError):
    """The data directory was written by a newer version of culm."""


class KeyFileError(CulmError):
    """The key file is missing, unreadable or damaged."""


class PassphraseError(KeyFileError):
    """The key file is locked by a passphrase, which is wrong or was not given."""


class UnsavedEditsError(CulmError):
    """Edits are visible in the document but could not be made durable."""


class RefusedEditsError(UnsavedEditsError):
    """Edits were taken back, since no replica would accept them; the event `EditsRefused` has them."""


class MirrorError(CulmError):
    """A mirrored file cannot be read, decoded or written."""
