"""What is done about an error that concerns a peer: one table, and nothing else decides.

A row says what to do with the connection, whether the error counts against the peer, how long to wait at least, and
whether somebody should be told that this was no accident. A subclass without a row of its own takes that of the next
class above it, so an error that is added without a thought is treated as what it is a kind of. To add one: derive it
from `NetworkError`, give it a row here, and say in `tests/node/test_error_matrix.py` how it comes about.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from domain.connectivity.close_codes import CloseCode
from domain.errors import (
    AuthenticationError,
    ConnectionLostError,
    ConnectionReplacedError,
    ConnectionTimedOutError,
    CorruptMessageError,
    CulmError,
    DialError,
    HandshakeError,
    HandshakeTimedOutError,
    NetworkDownError,
    NetworkError,
    NotWantedError,
    PeerBusyError,
    PeerError,
    PeerFailedError,
    PeerStoppedError,
    ProtocolViolationError,
    StorageError,
    VersionNotSupportedError,
    WrongNetworkError,
)
from domain.limits import CROSSING_S_MAX, SLOW_RETRY_S


class Action(Enum):
    """What to do."""

    RETRY = "retry"
    """Dial again after the back-off. Whatever ended, ends whole: the next connection begins anew."""
    REDIAL = "redial"
    """Dial again in a moment, whatever failed before: there was a connection, and nobody has ended it on purpose."""
    GIVE_UP = "give up"
    """Count the peer as failed at once: dial every 15 minutes, and at a sign of life."""
    RESEND = "resend"
    """Answer with a NACK, so that the sender sends it again from its disk, once; the connection stays."""
    CLOSE = "close"
    """End the connection, saying why; what follows is the row of the error that this leaves behind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Strategy:
    """A row of the table.

    Args:
        action: What to do.
        is_counted: Whether it counts as a failure, which makes the back-off longer and in the end the peer failed.
        floor_s: The least time before the next dial.
        is_security: Whether it is a `SecurityEvent`: no honest peer does it.
        because: Why.
    """

    action: Action
    is_counted: bool = True
    floor_s: float = 0.0
    is_security: bool = False
    because: str


STRATEGIES: Final[Mapping[type[CulmError], Strategy]] = {
    NetworkError: Strategy(
        action=Action.RETRY,
        because="what nobody foresaw may have passed by the next time",
    ),
    DialError: Strategy(
        action=Action.RETRY,
        because="the peer may be off, or its network down; it comes back",
    ),
    NetworkDownError: Strategy(
        action=Action.RETRY,
        is_counted=False,
        because="no peer is to blame for our own network",
    ),
    HandshakeError: Strategy(
        action=Action.RETRY,
        floor_s=SLOW_RETRY_S,
        because="who answers so will answer so again, until its version changes",
    ),
    AuthenticationError: Strategy(
        action=Action.GIVE_UP,
        is_security=True,
        because="somebody else has the address of the peer, or wants to be taken for it",
    ),
    HandshakeTimedOutError: Strategy(
        action=Action.RETRY,
        because="the way there lost too much, or the peer had too much to do",
    ),
    WrongNetworkError: Strategy(
        action=Action.GIVE_UP,
        because="that takes a change of configuration, after which the peer dials us",
    ),
    VersionNotSupportedError: Strategy(
        action=Action.GIVE_UP,
        because="that takes another version of culm, after which the peer dials us",
    ),
    ConnectionLostError: Strategy(
        action=Action.RETRY,
        because="a new connection takes up where the old one ended",
    ),
    ConnectionTimedOutError: Strategy(
        action=Action.REDIAL,
        because="the way there, or the peer, has gone and may be back already; if not, the dial will tell",
    ),
    ConnectionReplacedError: Strategy(
        action=Action.REDIAL,
        is_counted=False,
        floor_s=2 * CROSSING_S_MAX,  # by then the peer knows that we have lost the other one
        because="the other connection serves; only if that is gone, too, is there something to dial",
    ),
    PeerStoppedError: Strategy(
        action=Action.RETRY,
        because="a node that stops is often one that starts again",
    ),
    PeerFailedError: Strategy(
        action=Action.RETRY,
        because="its reason was its own, and may have passed",
    ),
    PeerBusyError: Strategy(
        action=Action.RETRY,
        floor_s=SLOW_RETRY_S,
        because="who has too much to do is not helped by more of it",
    ),
    NotWantedError: Strategy(
        action=Action.RETRY,
        floor_s=SLOW_RETRY_S,
        because="it may not have heard yet that we share a document; then it dials us",
    ),
    ProtocolViolationError: Strategy(
        action=Action.RETRY,
        floor_s=SLOW_RETRY_S,
        because="the same would happen again at once; what was wrong was reported when it was found",
    ),
    CorruptMessageError: Strategy(
        action=Action.RESEND,
        is_counted=False,
        is_security=True,
        because="the sender may have it whole on its disk; TLS lets no accident on the way pass",
    ),
    PeerError: Strategy(
        action=Action.CLOSE,
        is_security=True,
        because="nothing that it sends can be relied on any more",
    ),
    StorageError: Strategy(
        action=Action.CLOSE,
        because="we cannot serve what we cannot read; another connection may ask for something else",
    ),
}


def strategy_of(error: CulmError) -> Strategy:
    """Give the row of an error: that of its class, or of the next one above that has one."""
    for kind in type(error).__mro__:
        if kind in STRATEGIES:
            return STRATEGIES[kind]
    raise AssertionError(f"{type(error).__name__} does not concern a peer") from error


_HANDSHAKE: Final[Mapping[int, type[HandshakeError]]] = {
    CloseCode.HANDSHAKE_FAILED: AuthenticationError,
    CloseCode.HANDSHAKE_TIMED_OUT: HandshakeTimedOutError,
    CloseCode.WRONG_NETWORK: WrongNetworkError,
    CloseCode.VERSION_NOT_SUPPORTED: VersionNotSupportedError,
}
_LOST: Final[Mapping[int, type[ConnectionLostError]]] = {
    CloseCode.PROTOCOL_ERROR: ProtocolViolationError,
    CloseCode.INTERNAL_ERROR: PeerFailedError,
    CloseCode.SHUTTING_DOWN: PeerStoppedError,
    CloseCode.REPLACED: ConnectionReplacedError,
    CloseCode.UNUSED: NotWantedError,
    CloseCode.RESOURCES: PeerBusyError,
    CloseCode.TIMED_OUT: ConnectionTimedOutError,
    CloseCode.NOT_WANTED: NotWantedError,
    CloseCode.REMOVED: NotWantedError,
}


def handshake_error(code: int, detail: str) -> HandshakeError:
    """Give the error of a handshake that ended with that code."""
    return _HANDSHAKE.get(code, HandshakeError)(code, detail)


def hello_error(code: int, detail: str, *, by_peer: bool) -> NetworkError:
    """Give the error of a hello that ended with that code, after the peer had proven that it is there.

    A listener has its hello behind it before the dialler has, and may end the connection for any reason by then.
    """
    lost = _LOST.get(code)
    return handshake_error(code, detail) if lost is None else lost(code, detail, by_peer=by_peer)


def connection_lost(code: int, detail: str, *, by_peer: bool) -> ConnectionLostError:
    """Give the error of a connection that ended with that code."""
    return _LOST.get(code, ConnectionLostError)(code, detail, by_peer=by_peer)


def blame(error: NetworkError, *, peers_wanted: int, peers_connected: int) -> NetworkError:
    """Blame our own network where nobody at all is reached: then it is not the peer that has failed.

    Args:
        error: What happened with one peer.
        peers_wanted: How many peers we want, also those that are found only through others, who may be the ones that
            are silent; of a single one nothing can be told.
        peers_connected: How many are connected now.
    """
    is_silence = isinstance(error, DialError | ConnectionTimedOutError)
    if is_silence and peers_wanted > 1 and not peers_connected:
        return NetworkDownError(f"nobody can be reached, so our own network may be down: {error}")
    return error
