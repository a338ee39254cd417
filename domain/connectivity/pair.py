"""A way to a peer, and what is known about it; `pairs` decides what follows from that."""

from dataclasses import dataclass, field
from typing import Final, NamedTuple

from domain.connectivity.address import Address
from domain.connectivity.candidate import CandidateKind
from domain.limits import PROBE_MISSED_S, PUNCH_PROBES_MAX

DOUBTED_MISSES: Final = 2
"""So many pings in a row without an answer: 0.75 s."""
NEVER: Final = float("inf")


class Pair(NamedTuple):
    """A way to the peer.

    Args:
        address: Where the peer is on it.
        by_relay: Whether our end is our port at a relay, not our socket.
    """

    address: Address
    by_relay: bool = False


@dataclass(slots=True, kw_only=True)
class PairState:
    """What is known about a pair."""

    kind: CandidateKind
    pinged: int = 0
    is_learnt: bool = False
    """A probe of the peer came from there: no offer has named it."""
    granted: int = PUNCH_PROBES_MAX
    """So many pings it gets until it answers."""
    misses: int = 0
    answered_at: float | None = None
    round_trip_s: float | None = None
    next_at: float = NEVER
    poor_s: float = 0.0
    poor_until: float = 0.0
    outstanding: dict[bytes, float] = field(default_factory=dict)

    @property
    def is_alive(self) -> bool:
        """Whether it has answered, and not missed all too much since."""
        return self.answered_at is not None and self.misses < len(PROBE_MISSED_S)

    @property
    def is_poor(self) -> bool:
        """Whether it was clearly worse than another when both were tried last."""
        return self.poor_s > 0

    @property
    def is_sound(self) -> bool:
        """Whether nothing speaks against it."""
        return self.answered_at is not None and self.misses < DOUBTED_MISSES
