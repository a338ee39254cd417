"""Where the packets of a connection go, beneath the one address that its engine sees.

Until the hello is done a path is one locked pair: the source of the first Initial, or the dialled address. What comes
from elsewhere is dropped, so that nobody can make us send to a third party more than it has sent us. Afterwards a
prober finds and watches all ways to the peer; datagrams are taken from anywhere, since connection id and encryption
protect them, and sent on the way that has answered. The engine above notices nothing but that it starts again slowly.
"""

import asyncio
from collections.abc import Callable
from typing import Final, NamedTuple

from adapters.quic.prober import Prober
from adapters.quic.source import Source, pair_of
from domain.connectivity.address import Address
from domain.connectivity.bucket import TokenBucket
from domain.connectivity.candidate import CandidateKind
from domain.connectivity.probe import ProbeKey
from domain.identifiers import PeerId
from domain.limits import SILENCE_S, STRANGE_DATAGRAMS_BURST, STRANGE_DATAGRAMS_PER_S

_CLOCK_S: Final = 0.001
"""What an event loop's timer may be early by."""


class PathOwner(NamedTuple):
    """What a path tells its connection.

    Args:
        peer: Who is at the other end.
        heard: The peer has asked, or answered, without a packet of the connection.
        moved: The packets go another way from now on (True), or go again the way that they went (False).
        lost: No way answers any more.
        is_waiting: Whether something was sent that the peer has not acknowledged.
        is_dialler: Whether we opened the connection.
    """

    peer: PeerId
    heard: Callable[[float], None]
    moved: Callable[[bool], None]
    lost: Callable[[], None]
    is_waiting: Callable[[], bool]
    is_dialler: bool


class Path:
    """The way to one peer, and what has passed on it.

    Args:
        remote: The source of the first Initial, or the dialled address.
        kind: What sort of address that is, as far as is known.
    """

    def __init__(self, remote: Source, kind: CandidateKind = CandidateKind.PEER_REFLEXIVE) -> None:
        self.remote = remote
        self.bytes_sent = 0
        self.bytes_received = 0
        self.owner: PathOwner | None = None
        self.prober: Prober | None = None
        self.seen_us: asyncio.Future[None] | None = None
        """Done once the peer has said as what it sees us; None before the hello is."""
        self._kind = kind
        self._is_open = True
        self._is_silence_watched = False
        self._strange = TokenBucket(
            rate=STRANGE_DATAGRAMS_PER_S, burst=STRANGE_DATAGRAMS_BURST, now=0.0
        )

    @property
    def address(self) -> Address:
        """Where the peer is, for people and for other nodes."""
        return Address.from_host(self.remote[0], self.remote[1])

    @property
    def is_relayed(self) -> bool:
        """Whether a relay forwards what goes there."""
        if self.prober is None:
            return pair_of(self.remote).by_relay or self._kind is CandidateKind.RELAYED
        return self.prober.table.is_relayed(pair_of(self.remote))

    @property
    def can_send(self) -> bool:
        """Whether somebody was heard there lately: only there packets go."""
        return self._is_open

    def unlock(self, prober: Prober, key: ProbeKey, owner: PathOwner) -> None:
        """The hello is done: from now on the prober says where packets go."""
        self.owner = owner
        self.prober = prober
        self.seen_us = prober.host.loop.create_future()
        prober.add_key(key, is_lasting=True)
        prober.table.adopt(pair_of(self.remote), self._kind, now=prober.now())
        prober.changed = self._follow
        prober.heard = owner.heard
        prober.poke()

    def close(self) -> None:
        """Probe no more."""
        if self.prober is not None:
            self.prober.close()

    def admits(self, source: Source) -> bool:
        """Whether a datagram from there may be looked at."""
        return self.prober is not None or source == self.remote

    def ration(self, source: Source, count: int, now: float) -> int:
        """How many of so many datagrams from there may be looked at: all, where the peer has answered before.

        From elsewhere, few, unless they turn out to be the peer's: whoever knows a connection id can send there.
        """
        if self._is_known(source):
            return count
        return self._strange.take_some(count, now)

    def _is_known(self, source: Source) -> bool:
        if source == self.remote or self.prober is None:
            return source == self.remote
        state = self.prober.table.states.get(pair_of(source))
        return state is not None and state.answered_at is not None

    # --- What passes ---

    def note_received(self, source: Source, size_bytes: int, count: int = 1) -> None:
        """So many datagrams have come from there that are the peer's beyond doubt."""
        self.bytes_received += size_bytes
        if not self._is_known(source):
            self._strange.give(count)
        if self.prober is None:
            return
        self.prober.unanswered_since = None
        if source != self.remote:
            self.prober.hear(source, size_bytes)

    def note_sent(self, size_bytes: int, now: float) -> None:
        """Datagrams went out; if they stay unanswered, the way is asked whether it still works."""
        self.bytes_sent += size_bytes
        prober = self.prober
        if prober is None or self.owner is None:
            return
        if prober.unanswered_since is None:
            prober.unanswered_since = now
        if not self._is_silence_watched and self.owner.is_waiting():
            self._is_silence_watched = True
            prober.host.loop.call_later(self._silence_s, self._end_silence)

    @property
    def _silence_s(self) -> float:
        assert self.prober is not None
        return max(SILENCE_S, 3 * (self.prober.round_trip_s or 0.0))

    def _end_silence(self) -> None:
        """Look whether what was sent is still unanswered; one timer at a time, however much is sent."""
        self._is_silence_watched = False
        prober, owner = self.prober, self.owner
        if prober is None or owner is None or prober.is_closed:
            return
        since = prober.unanswered_since
        if since is None or not owner.is_waiting():
            return
        if prober.now() - since >= self._silence_s - _CLOCK_S:
            prober.doubt()
        else:
            self._is_silence_watched = True
            prober.host.loop.call_later(
                max(_CLOCK_S, since + self._silence_s - prober.now()), self._end_silence
            )

    def _follow(self) -> None:
        """Go where the prober says."""
        assert self.prober is not None
        assert self.owner is not None
        assert self.seen_us is not None
        if self.prober.table.observed is not None and not self.seen_us.done():
            self.seen_us.set_result(None)
        active, was_open = self.prober.active, self._is_open
        self._is_open = self.prober.table.can_send
        is_other = active is not None and active != self.remote
        if active is not None:
            self.remote = active
        if not is_other and self._is_open == was_open:
            return
        if self._is_open:
            self.owner.moved(is_other)
        else:
            self.owner.lost()
