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
        given: Those of its addresses that its user or an invite has named.
        met: Where it was met last.
        nearby: Where it was last seen in the local network; hearsay, which is tried first and not remembered.
        nearby_until: ... and for how long that is worth trying.
        shown: The state that was last told.
        tries: Tries in a row that came to nothing, for the back-off.
        failures: Those of them that count against the peer.
        error: What ended the last try or connection.
    """

    lifecycle: Lifecycle
    addresses: tuple[str, ...] = ()
    given: frozenset[str] = frozenset()
    met: str | None = None
    nearby: tuple[str, ...] = ()
    nearby_until: float = float("-inf")
    link: Link | None = None
    dial: asyncio.Task[None] | None = None
    shown: State = State.DISCONNECTED
    tries: int = 0
    failures: int = 0
    dialled_at: float = float("-inf")
    error: NetworkError | None = None
    is_wanted: bool = False
    is_news: bool = False

    def places(self, now: float) -> tuple[str, ...]:
        """Where it may be, the likeliest first."""
        nearby = self.nearby if now < self.nearby_until else ()
        met = () if self.met is None or self.met not in self.addresses else (self.met,)
        return tuple(dict.fromkeys((*nearby, *met, *self.addresses)))

    @property
    def last_error(self) -> str | None:
        """What ended the last try or connection, in words."""
        return str(self.error) if self.error is not None else None
