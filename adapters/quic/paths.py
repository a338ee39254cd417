"""All ways of a node to its peers: routes probes, opens ways to peers that were offered, and gives connections theirs.

A punch is the attempt to reach one peer whose offer we have: both sides probe all candidates of the other at once.
What it finds serves the connection that is dialled on it, or that exists already.
"""

import asyncio
import socket
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from ipaddress import ip_address
from typing import Final

from adapters.quic.path import Path, PathOwner
from adapters.quic.prober import ProbeHost, Prober
from adapters.quic.source import Source
from domain.connectivity.address import Address
from domain.connectivity.admission import prefix_of
from domain.connectivity.bucket import TokenBucket
from domain.connectivity.candidate import Candidate, is_public
from domain.connectivity.probe import ProbeError, ProbeKey, key_id_of
from domain.errors import DialError
from domain.identifiers import PeerId
from domain.limits import (
    CANDIDATES_MAX,
    HOST_PROBES_BURST,
    HOST_PROBES_PER_S,
    OFFER_S_MAX,
    PROBED_HOSTS_MAX,
    PUNCHES_MAX,
    STRANGER_HOST_PROBES_BURST,
    STRANGER_HOST_PROBES_PER_S,
)
from domain.ports.environment import Clock, Entropy

RELAY_PATIENCE_S: Final = 0.35
"""So long a direct way may take longer than a relayed one before the relay is used."""

HOUSE_BYTES: Final = 8
"""Of an address of IPv6, what a house has to itself; an IPv4 address is shorter."""

Carrier = Callable[[Sequence[bytes], Source], None]


class Punch:
    """The attempt to open a way to one peer.

    Args:
        prober: Its prober.
        loop: The event loop.
    """

    def __init__(self, prober: Prober, loop: asyncio.AbstractEventLoop) -> None:
        self.prober = prober
        self.ready: asyncio.Future[None] = loop.create_future()
        self.is_hopeless_directly = False
        self.is_stranger = False
        self._patience: asyncio.TimerHandle | None = None
        self._expiry: asyncio.TimerHandle | None = None
        self._loop = loop
        prober.changed = self._follow

    def expire_with(self, expire: Callable[[PeerId, "Punch"], None], peer: PeerId) -> None:
        """Call that once the offer is over, unless it is forgotten before; also when it has been closed."""
        self._expiry = self._loop.call_later(OFFER_S_MAX, expire, peer, self)

    def _follow(self) -> None:
        active = self.prober.table.active
        if active is None or self.ready.done():
            return
        if not self.prober.table.is_relayed(active) or self.is_hopeless_directly:
            self._be_ready()
        elif self._patience is None:
            self._patience = self._loop.call_later(RELAY_PATIENCE_S, self._be_ready)

    def _be_ready(self) -> None:
        if not self.ready.done():
            self.ready.set_result(None)

    def close(self) -> None:
        """Give up."""
        if self._patience is not None:
            self._patience.cancel()
        if not self.ready.done():
            self.ready.cancel()
        self.prober.close()

    def forget(self) -> None:
        """Give up, and wait for no end either: the timer holds the whole network in memory."""
        if self._expiry is not None:
            self._expiry.cancel()
        self.close()


class Paths(ProbeHost):
    """Those of one node.

    Args:
        loop: The event loop.
        clock: The time.
        entropy: For nonces.
        carry: Sends datagrams.
        family: What the socket reaches.
    """

    def __init__(
        self,
        *,
        loop: asyncio.AbstractEventLoop,
        clock: Clock,
        entropy: Entropy,
        carry: Carrier,
        family: Callable[[], socket.AddressFamily],
    ) -> None:
        self._loop = loop
        self._clock = clock
        self._entropy = entropy
        self._carry = carry
        self._family = family
        self._by_key: dict[bytes, Prober] = {}
        self._open: dict[PeerId, list[Path]] = {}
        self._punches: dict[PeerId, Punch] = {}
        self._met: dict[PeerId, Punch] = {}  # those of late that a connection has taken over
        self._probed: OrderedDict[tuple[bytes, bool], TokenBucket] = OrderedDict()
        self.troubled: Callable[[PeerId], None] | None = None
        self.has_relay = False

    # --- For probers ---

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        return self._loop

    @property
    def family(self) -> socket.AddressFamily:
        return self._family()

    @property
    def entropy(self) -> Entropy:
        return self._entropy

    def now(self) -> float:
        return self._clock.now()

    def may_probe(self, host: str, *, is_stranger: bool) -> bool:
        place = _place_of(host, is_stranger=is_stranger)
        bucket = self._probed.get((place, is_stranger))
        if bucket is None:
            rate, burst = (
                (STRANGER_HOST_PROBES_PER_S, STRANGER_HOST_PROBES_BURST)
                if is_stranger
                else (HOST_PROBES_PER_S, HOST_PROBES_BURST)
            )
            bucket = TokenBucket(rate=rate, burst=burst, now=self.now())
            self._probed[place, is_stranger] = bucket
            if len(self._probed) > PROBED_HOSTS_MAX:
                self._probed.popitem(last=False)
        self._probed.move_to_end((place, is_stranger))
        return bucket.take(self.now())

    def carry(self, datagrams: Sequence[bytes], to: Source) -> None:
        self._carry(datagrams, to)

    def route_key(self, key_id: bytes, prober: Prober | None) -> None:
        if prober is None:
            self._by_key.pop(key_id, None)
        else:
            self._by_key[key_id] = prober

    # --- What arrives ---

    def receive(self, data: bytes, source: Source) -> None:
        """Take a probe; one that nobody here can read is nothing."""
        prober = self._by_key.get(key_id_of(data) or b"")
        if prober is not None:
            try:
                prober.receive(data, source)
            except ProbeError:
                return

    # --- Connections ---

    def unlock(self, path: Path, key: ProbeKey, owner: PathOwner) -> None:
        """The hello of a connection is done."""
        prober = Prober(self, follows=not owner.is_dialler)
        punch = self._punches.pop(owner.peer, None)
        if punch is not None:
            prober.absorb(punch.prober)
            punch.close()
        prober.troubled = lambda: self._trouble(owner.peer)
        path.unlock(prober, key, owner)
        # Of two dials that lead here one is given up: what the first has taken over is for the second as well.
        if punch is not None:
            self._note_met(owner.peer, punch)
        elif (met := self._met.get(owner.peer)) is not None:
            self._offer(prober, met.prober.offered)
        self._open.setdefault(owner.peer, []).append(path)

    def end(self, path: Path) -> None:
        """A connection has ended."""
        path.close()
        if path.owner is None:
            return
        paths = self._open.get(path.owner.peer, [])
        if path in paths:
            paths.remove(path)
        if not paths:
            self._open.pop(path.owner.peer, None)

    def find(self, peer: PeerId) -> Path | None:
        """The way of the newest connection to a peer."""
        paths = self._open.get(peer)
        return paths[-1] if paths else None

    def observed_by(self, peer: PeerId) -> Address | None:
        """As what a connected peer sees us; None if it has not said so, or is not heard."""
        path = self.find(peer)
        if path is None or path.prober is None or path.prober.table.is_dark:
            return None
        return path.prober.table.observed

    async def until_observed(self, peers: Iterable[PeerId], within_s: float) -> None:
        """Wait until one of these connected peers has said as what it sees us, or the time is over."""
        paths = [path for path in map(self.find, peers) if path is not None]
        coming = [path.seen_us for path in paths if path.seen_us is not None]
        if coming:
            await asyncio.wait(coming, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)

    def _trouble(self, peer: PeerId) -> None:
        if self.troubled is not None:
            self.troubled(peer)

    # --- Punching ---

    def punch(
        self,
        peer: PeerId,
        key: ProbeKey,
        candidates: Iterable[Candidate],
        *,
        hopeless: bool,
        is_stranger: bool,
    ) -> None:
        """Probe a peer's candidates from now on; on the way of its connection if there is one, else for a minute.

        For a stranger few pings go to one host, and no punch is given up that was not a stranger's.
        """
        listed = tuple(candidates)
        path = self.find(peer)
        if path is not None and path.prober is not None:
            path.prober.is_stranger = is_stranger
            self._probe(path.prober, key, listed)
            return
        punch = self._punches.get(peer)
        if punch is None or punch.ready.done():
            is_stranger = is_stranger and (punch is None or punch.is_stranger)
            if not self._make_room(peer, is_stranger=is_stranger):
                return
            punch = self._start_punch(peer)
            punch.is_stranger = is_stranger
        punch.is_hopeless_directly = hopeless
        punch.is_stranger = punch.is_stranger and is_stranger
        punch.prober.is_stranger = punch.is_stranger
        self._probe(punch.prober, key, listed)

    def _probe(self, prober: Prober, key: ProbeKey, candidates: tuple[Candidate, ...]) -> None:
        prober.add_key(key)
        self._offer(prober, candidates)

    def _offer(self, prober: Prober, candidates: tuple[Candidate, ...]) -> None:
        """Let a prober try where the peer has said that it may be."""
        now = self.now()
        prober.offered = candidates or prober.offered
        prober.table.add(candidates, by_relay=False, now=now)
        if self.has_relay:
            prober.table.add(candidates, by_relay=True, now=now)
        prober.poke()

    def _make_room(self, peer: PeerId, *, is_stranger: bool) -> bool:
        """Give a punch up for a new one, if there are too many; False if none may be."""
        if peer in self._punches or len(self._punches) < PUNCHES_MAX:
            return True
        oldest = next((each for each, punch in self._punches.items() if punch.is_stranger), None)
        if oldest is None and is_stranger:
            return False
        self._punches.pop(oldest or next(iter(self._punches))).forget()
        return True

    def _start_punch(self, peer: PeerId) -> Punch:
        """Look for a way anew; what the peer sends under a key of the attempt before is answered still.

        Of two that make offers at once each may find a way, and begin anew, before the other has its answer.
        """
        punch = Punch(Prober(self), self._loop)
        if (old := self._punches.pop(peer, None)) is not None:
            old.forget()
            punch.prober.take_keys(old.prober)
        self._punches[peer] = punch
        punch.expire_with(self._expire, peer)
        return punch

    def _note_met(self, peer: PeerId, punch: Punch) -> None:
        if (old := self._met.pop(peer, None)) is not None:
            old.forget()
        self._met[peer] = punch
        if len(self._met) > PUNCHES_MAX:
            self._met.pop(next(iter(self._met))).forget()

    def _expire(self, peer: PeerId, punch: Punch) -> None:
        if self._met.get(peer) is punch:
            del self._met[peer]
        if self._punches.get(peer) is punch:
            del self._punches[peer]
            punch.close()

    async def punched(self, peer: PeerId, within_s: float) -> Path:
        """Wait until a way to a peer that is being punched is open, and give a locked path on it.

        Raises:
            DialError: None of its candidates answered.
        """
        punch = self._punches.get(peer)
        if punch is None:
            raise DialError("the peer has not said where it may be")
        done, _ = await asyncio.wait([punch.ready], timeout=within_s)
        active = punch.prober.table.active
        source = punch.prober.active
        if not done or active is None or source is None:
            raise DialError(f"none of the peer's addresses answered within {within_s:g} s")
        return Path(source, punch.prober.table.states[active].kind)

    # --- The relay ---

    def add_relay(self) -> None:
        """We have a port at a relay: whoever is being reached is tried from there too."""
        if self.has_relay:
            return
        self.has_relay = True
        for prober in self._probers():
            prober.table.add(prober.offered, by_relay=True, now=self.now())
            prober.poke()

    def drop_relay(self) -> None:
        """Our port at the relay is gone."""
        self.has_relay = False
        for prober in self._probers():
            found = prober.table.drop_relay()
            prober.offered = tuple(dict.fromkeys((*prober.offered, *found)))[-CANDIDATES_MAX:]
            prober.poke()

    def doubt(self) -> None:
        """Ask at once whether the ways to all peers still work."""
        for prober in self._probers():
            prober.doubt()

    def _probers(self) -> list[Prober]:
        paths = [path.prober for paths in self._open.values() for path in paths]
        punching = [punch.prober for punch in self._punches.values()]
        return [each for each in (*paths, *punching) if each is not None]

    def close(self) -> None:
        """Stop everything."""
        for punch in (*self._punches.values(), *self._met.values()):
            punch.forget()
        self._punches.clear()
        self._met.clear()
        for paths in self._open.values():
            for path in paths:
                path.close()
        self._open.clear()


def _place_of(host: str, *, is_stranger: bool) -> bytes:
    """Whose probes are counted together: who names one address may name all others of its network.

    A house has a network of IPv6 to itself. Strangers name no network in public, of either version, for anything else.
    """
    if is_stranger and is_public(Address(host, 1)):
        return prefix_of(host)
    return ip_address(host).packed[:HOUSE_BYTES]
