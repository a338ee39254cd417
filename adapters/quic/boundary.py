"""What a QUIC engine is to the rest of this adapter: one connection, without I/O and without a clock.

Datagrams and times go in; datagrams, events and the time of the next timer come out. All else - sockets, timers, paths,
channels, the hello - stands on this side and knows no library: `adapters.quic.engine` puts aioquic behind the boundary,
and another engine would be one more module like that one.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from domain.ports.network import Priority

CONTROL_STREAM: Final = 1
"""The server's first bidirectional stream: it speaks first, in its first flight."""
TIMER_SLACK_S: Final = 1e-6
"""What is due exactly now, an engine may put off to exactly now, for ever: go past it, or set it before."""


@dataclass(frozen=True, slots=True)
class StreamData:
    """Bytes have arrived on a stream, in order; after the last ones `is_end`."""

    stream_id: int
    data: bytes
    is_end: bool


@dataclass(frozen=True, slots=True)
class StreamCut:
    """The peer has reset a stream, or asks us to (RFC 9000, 19.4 and 19.5)."""

    stream_id: int


@dataclass(frozen=True, slots=True)
class ProtocolAgreed:
    """Both speak the same protocol: the first bytes may travel with the handshake."""


@dataclass(frozen=True, slots=True)
class HandshakeDone:
    """The handshake is complete, and who the peer is has been proven."""


@dataclass(frozen=True, slots=True)
class NameIssued:
    """Datagrams to that connection id are ours from now on."""

    connection_id: bytes


@dataclass(frozen=True, slots=True)
class NameRetired:
    """Datagrams to that connection id are ours no more."""

    connection_id: bytes


EngineEvent = StreamData | StreamCut | ProtocolAgreed | HandshakeDone | NameIssued | NameRetired


@dataclass(frozen=True, slots=True, kw_only=True)
class Termination:
    """How a connection ended.

    Args:
        error_code: The peer's code if `by_application`, else one of QUIC's own.
        reason: What came with it.
        by_application: Whether the code is of our registry.
        by_peer: Whether the peer ended it.
        is_idle: Whether it ended because the peer was not heard.
    """

    error_code: int
    reason: str
    by_application: bool
    by_peer: bool
    is_idle: bool = False


class QuicEngine(Protocol):
    """One connection. Every time is in seconds of the same clock, and never goes back.

    Attributes:
        host_cid: The connection id under which the first datagrams come.
    """

    host_cid: bytes

    # --- What there is to know ---

    @property
    @abstractmethod
    def has_heard(self) -> bool:
        """Whether the peer has sent anything that we could read."""

    @property
    @abstractmethod
    def is_over(self) -> bool:
        """Whether it sends and receives no more."""

    @property
    @abstractmethod
    def is_waiting(self) -> bool:
        """Whether something was sent that the peer has to acknowledge and has not."""

    @property
    @abstractmethod
    def round_trip_s(self) -> float | None:
        """The smoothed round trip, once measured."""

    @property
    @abstractmethod
    def unacknowledged(self) -> int:
        """How many bytes were written on all streams and are not acknowledged."""

    @abstractmethod
    def termination(self) -> Termination | None:
        """How it ended; None while it lives. Known as soon as the end is decided, not only after the last timer."""

    @abstractmethod
    def peer_key(self) -> bytes | None:
        """The 32 bytes of the Ed25519 key in the peer's certificate, proven by TLS; None if there is no such key."""

    # --- Datagrams and times ---

    @abstractmethod
    def dial(self, now: float) -> None:
        """Begin the handshake, as a client."""

    @abstractmethod
    def receive(self, datagrams: Sequence[bytes], now: float) -> int:
        """Take what came in a row; how many bytes of it the peer has sent just now, beyond doubt.

        Whatever it holds, the worst that follows is the end of this connection, if the peer has sent it, and nothing
        if somebody else has.
        """

    @abstractmethod
    def datagrams(self, now: float) -> list[bytes]:
        """Take what is to be sent now."""

    @abstractmethod
    def take_event(self) -> EngineEvent | None:
        """Take what has happened next; what has arrived on a stream in a row comes in one piece."""

    @abstractmethod
    def timer(self) -> float | None:
        """When `fire` is due."""

    @abstractmethod
    def fire(self, now: float) -> None:
        """Do what is due; `now` is past it, not exactly it (`TIMER_SLACK_S`)."""

    @abstractmethod
    def ping(self) -> None:
        """Ask for a sign of life."""

    @abstractmethod
    def forget_path(self) -> None:
        """Packets go another way from now on: what was learnt of the old one is worth nothing (RFC 9000, 9.4)."""

    @abstractmethod
    def retry(self) -> None:
        """The way works again: what has not been acknowledged is tried again soon, however often it failed."""

    @abstractmethod
    def end(self, error_code: int, reason: str) -> None:
        """Close the connection with an application's code; `datagrams` then has what tells the peer."""

    @abstractmethod
    def free(self) -> None:
        """Give back what it holds of the node's receive budget."""

    # --- Streams ---

    @property
    @abstractmethod
    def streams_openable(self) -> int:
        """How many unidirectional streams the peer lets us open now; opening more would end the connection."""

    @property
    @abstractmethod
    def unsent_bytes_max(self) -> int:
        """How many unsent bytes of a stream are enough, so that it never runs dry at the present rate."""

    @abstractmethod
    def open_windows(self) -> None:
        """The hello is done: let the peer open streams and send more."""

    @abstractmethod
    def open_stream(self, data: bytes, priority: Priority) -> int:
        """Open the next unidirectional stream with its first bytes; only while `streams_openable`."""

    @abstractmethod
    def prioritize(self, stream_id: int, priority: Priority) -> None:
        """Say how urgent what is sent on a stream is; without that, nothing is more urgent."""

    @abstractmethod
    def write(self, stream_id: int, data: bytes, *, end: bool = False) -> None:
        """Queue bytes on a stream."""

    @abstractmethod
    def unsent(self, stream_id: int) -> int:
        """How many bytes of a stream were written and never sent."""

    @abstractmethod
    def consume(self, stream_id: int, count: int) -> bool:
        """Note that bytes of a stream have left our buffers; whether the peer should be told soon."""

    @abstractmethod
    def release_stream(self, stream_id: int) -> None:
        """Note that one of the peer's streams was read to its end, so that it may open another."""
