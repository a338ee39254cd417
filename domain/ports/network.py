"""How a node reaches its peers: authenticated connections that carry messages on named channels.

A transport sees bytes, peer ids and opaque channel names; it does not know what a document is.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

from domain.connectivity.lifecycle import Lifecycle
from domain.identifiers import PeerId


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionStatistics:
    """What a connection has carried so far: bytes of datagrams (or of messages where there are none), and messages.

    A message that was handed over counts as sent, one that was taken as received.
    """

    bytes_sent: int
    bytes_received: int
    messages_sent: int
    messages_received: int
    round_trip_s: float | None


class Priority(IntEnum):
    """What goes first when a connection has more to send than its path takes.

    What stands higher here goes first, as far as it can be sent; what stands lower gets at least a small share, so
    that nothing starves. Channels of the same priority share evenly. Each end ranks only what it sends itself.
    """

    CRITICAL = 0
    """Keeps the connection going: the control channel."""
    HIGH = 1
    """Somebody watches for it: edits as they are made."""
    NORMAL = 2
    """The rest."""
    LOW = 3
    """Much at a time, for which nobody can wait anyway: catching up."""


class Channel(Protocol):
    """An ordered, reliable stream of messages in both directions; each direction lives on its own.

    Messages of one channel arrive in the order in which they were sent, each once, whole. Messages of different
    channels are not ordered among each other, and a channel that nobody reads holds up no other.
    """

    @abstractmethod
    async def send(self, message: bytes) -> None:
        """Hand over one message (1 to `MESSAGE_BYTES_MAX` bytes).

        Returns once the channel's queue is below its watermark, so that a slow reader slows its writer. The
        message is sent whole or, if the connection ends, perhaps not at all; on return nothing is known about its
        arrival. Cancelled, the message is either queued whole or not at all. One task at a time may send.

        Raises:
            ConnectionLostError: The connection ended.
        """

    @abstractmethod
    def offer(self, message: bytes) -> bool:
        """Like `send`, without waiting: False, and nothing queued, when the queue is above its watermark.

        Raises:
            ConnectionLostError: The connection ended.
        """

    @abstractmethod
    async def receive(self) -> bytes:
        """Wait for the next message. Taking it is what lets the peer send more.

        Cancelled, no message is lost. One task at a time may receive.

        Raises:
            ConnectionLostError: The connection ended and every message that had arrived has been taken.
        """


class Connection(Protocol):
    """One authenticated connection to one peer: both sides have proven the keys behind their ids."""

    @property
    @abstractmethod
    def peer(self) -> PeerId:
        """Who is at the other end."""

    @property
    @abstractmethod
    def is_dialler(self) -> bool:
        """Whether we opened it."""

    @property
    @abstractmethod
    def instance(self) -> bytes:
        """16 bytes that the peer drew when its process started: another value is another process."""

    @property
    @abstractmethod
    def binding(self) -> bytes:
        """64 bytes that both ends share and no other connection has: server nonce, then dialler nonce."""

    @property
    @abstractmethod
    def lifecycle(self) -> Lifecycle:
        """How far it is: `ENCRYPTED` or beyond once it has been handed out, `CLOSED` once it has ended.

        The transport takes all steps but those that say what the node makes of it (`ACTIVATE`, and what follows `END`).
        """

    @property
    @abstractmethod
    def remote_address(self) -> str:
        """Where the peer is now, as `host:port`."""

    @property
    @abstractmethod
    def control(self) -> Channel:
        """The channel that is always there."""

    @abstractmethod
    def channel(self, name: bytes, priority: Priority = Priority.NORMAL) -> Channel:
        """The channel of that name (32 bytes), made on first use; both sides must know the name.

        What the peer sends on a name that we have not asked for waits, bounded by flow control, until we ask. The
        priority is of what we send; who asks for the channel again may change it.
        """

    @abstractmethod
    def statistics(self) -> ConnectionStatistics:
        """What it has carried so far."""

    @abstractmethod
    def close(self, code: int, reason: str) -> None:
        """Close at once, telling the peer why (a code of the public registry; at most 200 bytes of reason).

        What was queued may be lost. Calling it twice is allowed; the first code counts.
        """

    @abstractmethod
    async def wait_closed(self) -> tuple[int, str, bool]:
        """Wait for the end: the code, the reason, and whether the peer ended it."""


class NetworkInterface(Protocol):
    """Opens connections to peers and takes theirs.

    Used as: `start`, then `dial` and `accept` in any number of tasks, then `close`.
    """

    @abstractmethod
    async def start(self) -> None:
        """Begin to listen.

        Raises:
            NetworkError: The address cannot be listened on; the text says why.
        """

    @property
    @abstractmethod
    def addresses(self) -> tuple[str, ...]:
        """Where we listen, as `host:port` that peers can dial, the best first; empty before `start`."""

    @abstractmethod
    async def dial(
        self, peer: PeerId, addresses: Sequence[str], lifecycle: Lifecycle | None = None
    ) -> Connection:
        """Connect to `peer` at the first of the addresses where it answers; they are tried close upon each other.

        Returns once both sides have proven who they are. Cancelled, nothing stays behind. Not retried: the
        caller decides whether and when to dial again.

        Args:
            peer: Whose key has to be there.
            addresses: Where it may be, the best first.
            lifecycle: Takes the steps of this dial and becomes that of the connection; at rest (`AT_REST`) when it is
                given. If the dial fails or is cancelled, it is left in the phase that it got to, or `CLOSED`.

        Raises:
            DialError: Nobody answered at one address at least, and the peer at none.
            HandshakeError: Everywhere somebody answered who is not `peer`, or not of our network, or of no common
                version; the subclass says which.
            ConnectionLostError: The peer has let us in, and ended the connection before we knew.
        """

    @abstractmethod
    async def accept(self) -> Connection:
        """Wait for the next peer that has connected to us and proven who it is. Cancelled, none is lost.

        Raises:
            NetworkError: The interface is closed.
        """

    @abstractmethod
    async def close(self, code: int, reason: str) -> None:
        """Close every connection with that code, and stop listening. Calling it twice is allowed."""
