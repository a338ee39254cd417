"""Sends the probes of one pair table when they are due, and tells when the way to the peer has changed."""

import asyncio
import socket
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Protocol

from adapters.quic.source import Source, pair_of, source_of
from domain.connectivity.candidate import Candidate
from domain.connectivity.pairs import Outgoing, PairTable
from domain.connectivity.probe import ProbeKey
from domain.ports.environment import Entropy


class ProbeHost(Protocol):
    """What probers need of the node's transport."""

    @property
    @abstractmethod
    def loop(self) -> asyncio.AbstractEventLoop:
        """Whose time passes."""

    @property
    @abstractmethod
    def family(self) -> socket.AddressFamily:
        """Which addresses the socket reaches."""

    @property
    @abstractmethod
    def entropy(self) -> Entropy:
        """For nonces."""

    @abstractmethod
    def now(self) -> float:
        """Seconds."""

    @abstractmethod
    def may_probe(self, host: str, *, is_stranger: bool) -> bool:
        """Whether one more ping may go to a host that has not answered; asking counts as sending."""

    @abstractmethod
    def carry(self, datagrams: Sequence[bytes], to: Source) -> None:
        """Send datagrams, by the socket or by the relay."""

    @abstractmethod
    def route_key(self, key_id: bytes, prober: "Prober | None") -> None:
        """Probes under that key are for this prober; None for nobody."""


class Prober:
    """Watches the ways to one peer.

    Args:
        host: The transport.
        follows: Of equal ways take that which the peer takes.
    """

    def __init__(self, host: ProbeHost, *, follows: bool = False) -> None:
        self.host = host
        self.table = PairTable(host.entropy.draw, follows=follows)
        self.changed: Callable[[], None] | None = None
        self.heard: Callable[[float], None] | None = None
        self.troubled: Callable[[], None] | None = None
        self.offered: tuple[Candidate, ...] = ()
        self.unanswered_since: float | None = None
        self.is_closed = False
        self.is_stranger = False
        """Whether the peer has nothing to do with us, as far as we know."""
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0
        self._was_dark = False

    @property
    def active(self) -> Source | None:
        """Where packets go; None until something has answered."""
        pair = self.table.active
        return source_of(pair, self.host.family) if pair is not None else None

    @property
    def round_trip_s(self) -> float | None:
        """How long an answer takes on the way in use."""
        pair = self.table.active
        state = self.table.states.get(pair) if pair is not None else None
        return state.round_trip_s if state is not None else None

    def now(self) -> float:
        """Seconds."""
        return self.host.now()

    def add_key(self, key: ProbeKey, *, is_lasting: bool = False) -> None:
        """Take probes under one more key; see `PairTable.add_key`."""
        dropped = self.table.add_key(key, is_lasting=is_lasting)
        if dropped is not None:
            self.host.route_key(dropped, None)
        self.host.route_key(key.key_id, self)

    def absorb(self, other: "Prober") -> None:
        """Take over the ways and keys of another prober, which ends."""
        self.offered = self.offered or other.offered
        self.is_stranger = other.is_stranger
        for key_id in self.table.absorb(other.table):
            self.host.route_key(key_id, self)
        other.is_closed = True
        other.stop()

    def take_keys(self, other: "Prober") -> None:
        """Take probes under the keys of another prober, which has been closed, too."""
        for key_id in self.table.take_keys(other.table):
            self.host.route_key(key_id, self)

    def receive(self, data: bytes, source: Source) -> None:
        """Take a probe.

        Raises:
            ProbeError: It is not the peer's.
        """
        now, before = self.now(), self.table.heard_at
        answers = self.table.receive(data, pair_of(source), now)
        if self.table.heard_at > before:  # anybody can send once more what the peer has sent
            self.unanswered_since = None
            if self.heard is not None:
                self.heard(now)
        self._send(answers)
        self.poke()

    def hear(self, source: Source, size_bytes: int) -> None:
        """Something for this peer's connection came from elsewhere than where its packets go."""
        self.table.hear(pair_of(source), size_bytes, self.now())
        self.poke()

    def doubt(self) -> None:
        """Ask at once whether the ways still work."""
        self.unanswered_since = None
        self.table.doubt(self.now())
        self.poke()

    def poke(self) -> None:
        """Send what is due, and set the timer for the rest."""
        if self.is_closed:
            return
        self._send([each for each in self.table.due(self.now()) if self._may_ask(each)])
        self._set_timer()
        is_dark = self.table.is_dark
        if is_dark and not self._was_dark and self.troubled is not None:
            self.troubled()
        self._was_dark = is_dark
        if self.changed is not None:
            self.changed()

    def _may_ask(self, ping: Outgoing) -> bool:
        """Whether a ping may go out: who names addresses of a third party does not make all of us flood it."""
        has_answered = self.table.states[ping.pair].answered_at is not None
        host = ping.pair.address.host
        return has_answered or self.host.may_probe(host, is_stranger=self.is_stranger)

    def close(self) -> None:
        """Probe no more, and take no more probes."""
        if self.is_closed:
            return
        self.is_closed = True
        self.stop()
        for key_id in self.table.key_ids:
            self.host.route_key(key_id, None)

    def stop(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _send(self, probes: Sequence[Outgoing]) -> None:
        for pair, data in probes:
            to = source_of(pair, self.host.family)
            if to is not None:
                self.host.carry([data], to)

    def _set_timer(self) -> None:
        at = self.table.next_at()
        if at is None:
            self.stop()
            return
        if self._timer is not None and self._timer_at <= at:
            return
        self.stop()
        self._timer_at = at
        self._timer = self.host.loop.call_later(max(0.0, at - self.now()), self._fire)

    def _fire(self) -> None:
        self._timer = None
        self.poke()
