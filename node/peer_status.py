"""What a node knows about a peer, and what it may have to do with it at some time."""

import asyncio
from dataclasses import dataclass
from enum import Enum

from domain.connectivity.lifecycle import Lifecycle, State
from domain.errors import NetworkError
from node.link import Link


class Due(Enum):
    """What is to be done with a peer at some time."""

    DIAL = "dial"
    COMPARE = "compare"
    """Say how far we are with each document, though all seems well."""
    HEARTBEAT = "heartbeat"
    """Ask the node at the other end whether it lives."""
    ANSWER = "answer"
    """It should have answered by now."""
    UNUSED = "unused"
    """Look whether the connection carries a document."""


@dataclass(slots=True)
class PeerStatus:
    """What is known about a peer.

    Attributes:
        lifecycle: Of its connection, or of the dial that is under way, or of the last one.
        nearby: Where it was last seen in the local network; hearsay, which is tried first and not remembered.
        shown: The state that was last told.
        tries: Tries in a row that came to nothing, for the back-off.
        failures: Those of them that count against the peer.
        error: What ended the last try or connection.
    """

    lifecycle: Lifecycle
    addresses: tuple[str, ...] = ()
    nearby: tuple[str, ...] = ()
    link: Link | None = None
    dial: asyncio.Task[None] | None = None
    shown: State = State.DISCONNECTED
    tries: int = 0
    failures: int = 0
    dialled_at: float = float("-inf")
    error: NetworkError | None = None
    is_wanted: bool = False
    is_news: bool = False

    @property
    def last_error(self) -> str | None:
        """What ended the last try or connection, in words."""
        return str(self.error) if self.error is not None else None
