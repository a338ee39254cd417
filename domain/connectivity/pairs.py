"""The ways to one peer: which of them live, which one carries the packets, and when to ask again.

A way is a pair of our end (the socket, or our port at a relay) and an address of the peer. A pair lives once the peer
has answered a ping on it. The rules:

- What is sent goes to a pair with a recent answer, or nowhere: a peer cannot make us flood a third party.
- A candidate gets at most `PUNCH_PROBES_MAX` pings until it answers, or the peer offers it again; how many go to one
  host is bounded beside this (`adapters/quic/paths.py`). A source that no offer named is learnt from an
  authentic ping alone, and gets one ping more than came from there, since that may be forged; any other gets nothing.
- Direct beats relayed; of equals the one in use stays, or that which the peer uses. A doubted pair gives way to one
  that has just answered.
- A pair in use that lives but may have become bad is tried beside the best other one (`quality`). If it is clearly
  worse it is poor: any pair that is not goes before it, until another trial finds it as good again.
- The pair in use is asked every `PROBE_ACTIVE_S`, two more every `PROBE_WARM_S`, and at once if what was sent stays
  unanswered. After a miss it is asked again by `PROBE_MISSED_S`, then it is dead. Who follows leaves it to the peer to
  ask about the pair in use, as long as that one does.

No I/O, no clock: `now` is an argument, what is to be sent comes out of `due`.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

from domain.connectivity.address import Address
from domain.connectivity.candidate import Candidate, CandidateKind, is_probable, is_public
from domain.connectivity.pair import NEVER, Pair, PairState
from domain.connectivity.probe import (
    PROBE_BYTES,
    RANDOM_BYTES,
    Ping,
    Pong,
    ProbeError,
    ProbeKey,
    ReplayWindow,
    key_id_of,
    make_nonce,
)
from domain.connectivity.quality import has_grown
from domain.connectivity.trials import Trials
from domain.limits import (
    CANDIDATES_MAX,
    HELLO_S_MAX,
    LEARNT_PAIRS_MAX,
    PAIRS_MAX,
    PROBE_ACTIVE_S,
    PROBE_COLD_S,
    PROBE_FOLLOWED_S,
    PROBE_KEYS_MAX,
    PROBE_LEFT_S,
    PROBE_MISSED_S,
    PROBE_WARM_S,
    PROBES_OUTSTANDING_MAX,
    PUNCH_ANSWER_S_MAX,
    PUNCH_FAST_PROBES,
    PUNCH_FAST_S,
    PUNCH_PROBES_MAX,
    PUNCH_SLOW_S,
    STRANGER_PROBE_S,
    TRIAL_PAUSE_S,
    WARM_PAIRS_MAX,
)

UNHEARD_MISSES_MAX: Final = len(PROBE_MISSED_S) + math.ceil(HELLO_S_MAX / PROBE_MISSED_S[-1])
"""Pings that a dialler may miss before the first that it answers: by then its hello has taken too long."""


@dataclass(slots=True)
class _Key:
    """A key for probes.

    `is_proven` once the peer has used it: before, it may not have it. `is_lasting` for that of the hello.
    """

    key: ProbeKey
    window: ReplayWindow
    is_proven: bool
    is_lasting: bool


class Outgoing(NamedTuple):
    """A probe that is to be sent."""

    pair: Pair
    data: bytes


class PairTable:
    """The ways to one peer.

    Args:
        draw: Gives so many random bytes, for nonces.
        follows: Of equal ways take that which the peer takes. One side does: the listener, so that they agree.
    """

    def __init__(self, draw: Callable[[int], bytes], *, follows: bool = False) -> None:
        self._draw = draw
        self._follows = follows
        self._heard: Pair | None = None
        self._keys: dict[bytes, _Key] = {}
        self._states: dict[Pair, PairState] = {}
        self._ports: dict[Address, None] = {}
        self._counter = 0
        self._stranger_at = 0.0
        self._trials = Trials(self._states)
        self._used_since = 0.0
        self.heard_at = -NEVER
        """When a probe came last that shows that the peer lives."""
        self.active: Pair | None = None
        self.observed: Address | None = None

    # --- What there is ---

    @property
    def states(self) -> dict[Pair, PairState]:
        """All pairs."""
        return self._states

    @property
    def key_ids(self) -> tuple[bytes, ...]:
        """The names of the keys under which probes are taken."""
        return tuple(self._keys)

    def is_relayed(self, pair: Pair) -> bool:
        """Whether somebody forwards on that way."""
        state = self._states.get(pair)
        return pair.by_relay or (state is not None and state.kind is CandidateKind.RELAYED)

    @property
    def is_dark(self) -> bool:
        """Whether no pair has answered lately."""
        return not any(state.is_sound for state in self._states.values())

    @property
    def can_send(self) -> bool:
        """Whether packets may go out: the pair in use has answered, and is not dead.

        The listener is done with the hello first: the dialler answers no probe before it gets more of what we send.
        """
        state = self._states.get(self.active) if self.active is not None else None
        if state is None or self.heard_at != -NEVER or not self._follows:
            return state is not None and state.is_alive
        return state.misses < UNHEARD_MISSES_MAX

    def add_key(self, key: ProbeKey, *, is_lasting: bool = False) -> bytes | None:
        """Take probes under one more key; the id of the oldest, if it had to go.

        Args:
            key: The key.
            is_lasting: The peer certainly has it, and it stays.
        """
        if key.key_id in self._keys:
            return None
        self._keys[key.key_id] = _Key(key, ReplayWindow(), is_lasting, is_lasting)
        if len(self._keys) <= PROBE_KEYS_MAX:
            return None
        oldest = next(each for each, entry in self._keys.items() if not entry.is_lasting)
        del self._keys[oldest]
        return oldest

    def add(self, candidates: Iterable[Candidate], *, by_relay: bool, now: float) -> None:
        """Try to reach the peer at these, from the socket or from our port at a relay."""
        for kind, address in candidates:
            if not (is_public(address) if by_relay else is_probable(address)):
                continue
            self._name(kind, address)
            state = self._states.get(Pair(address, by_relay))
            if state is None:
                self._insert(Pair(address, by_relay), kind, now)
            elif not state.is_alive:
                state.pinged, state.next_at = 0, now
                state.is_learnt, state.granted = False, PUNCH_PROBES_MAX

    def _name(self, kind: CandidateKind, address: Address) -> None:
        """The peer says what an address is: that holds for both of our ends, and though a probe had come from there."""
        is_port = kind is CandidateKind.RELAYED
        if is_port:
            self._ports[address] = None
            if len(self._ports) > CANDIDATES_MAX:
                del self._ports[next(iter(self._ports))]
        for by_relay in (False, True):
            state = self._states.get(Pair(address, by_relay))
            if state is not None and (is_port or state.kind is CandidateKind.PEER_REFLEXIVE):
                state.kind = kind

    def adopt(self, pair: Pair, kind: CandidateKind, *, now: float) -> None:
        """Use a pair on which a handshake has just succeeded."""
        state = self._states.get(pair) or self._insert(pair, kind, now)
        if state is None:
            return
        if self.active is None:
            self.active, self._used_since = pair, now
        self._answer(pair, state, now)
        state.next_at = now  # the answer tells how long it takes, and as what we are seen there

    def absorb(self, other: "PairTable") -> list[bytes]:
        """Take over what another table, which ends, knows about the same peer; the ids of the keys that came."""
        for address in other._ports:  # noqa: SLF001 - one of us
            self._name(CandidateKind.RELAYED, address)
        for pair, state in other._states.items():  # noqa: SLF001
            if len(self._states) < PAIRS_MAX:
                known = self._states.setdefault(pair, state)
                known.kind = min(known.kind, state.kind, key=_certainty)
        return self.take_keys(other)

    def take_keys(self, other: "PairTable") -> list[bytes]:
        """Take probes under the keys of another table, which ends, too; the ids of those that came."""
        for key_id, entry in other._keys.items():  # noqa: SLF001 - one of us
            if len(self._keys) < PROBE_KEYS_MAX:
                self._keys.setdefault(key_id, entry)
        self._counter = max(self._counter, other._counter)  # noqa: SLF001
        return [key_id for key_id in other.key_ids if key_id in self._keys]

    def drop_relay(self) -> list[Candidate]:
        """Our port at the relay is gone; where the peer answered it, for another port to try."""
        gone = {pair: state for pair, state in self._states.items() if pair.by_relay}
        for pair in gone:
            del self._states[pair]
        if self.active is not None and self.active.by_relay:
            self.active = None
            self._nominate(None)
        return [
            Candidate(CandidateKind.SERVER_REFLEXIVE, pair.address)
            for pair, state in gone.items()
            if state.answered_at is not None
        ]

    def _insert(self, pair: Pair, kind: CandidateKind, now: float) -> PairState | None:
        if len(self._states) >= PAIRS_MAX and not self._forget_one():
            return None
        if pair.address in self._ports:
            kind = CandidateKind.RELAYED
        state = self._states[pair] = PairState(kind=kind, next_at=now)
        return state

    def _forget_one(self) -> bool:
        for pair, state in self._states.items():
            if not state.is_alive and pair != self.active:
                del self._states[pair]
                return True
        return False

    # --- What passes ---

    def doubt(self, now: float) -> None:
        """Ask now whether the pairs in use and in reserve still work."""
        for state in self._states.values():
            if state.is_alive and not state.misses and not state.outstanding:
                state.next_at = now

    def learn(self, pair: Pair, *, now: float) -> bool:
        """Try a source that an authentic probe came from; False if there are too many of them."""
        if pair in self._states:
            return True
        learnt = [
            each
            for each, state in self._states.items()
            if state.kind is CandidateKind.PEER_REFLEXIVE
        ]
        if len(learnt) >= LEARNT_PAIRS_MAX:
            stale = next(
                (x for x in learnt if not self._states[x].is_alive and x != self.active), None
            )
            if stale is None:
                return False
            del self._states[stale]
        state = self._insert(pair, CandidateKind.PEER_REFLEXIVE, now)
        if state is not None:
            state.is_learnt, state.granted = True, 1
        return state is not None

    def receive(self, data: bytes, source: Pair, now: float) -> list[Outgoing]:
        """Take a probe, and answer it if it is a ping that has not come before.

        Raises:
            ProbeError: It is no probe of the peer; nothing has changed.
        """
        entry = self._keys.get(key_id_of(data) or b"")
        if entry is None:
            raise ProbeError("malformed", "no probe under a key of this peer")
        key = entry.key
        probe = key.open(data)
        entry.is_proven = True
        if not isinstance(probe, Ping):
            self._take_pong(probe, source, now)
            return []
        if not entry.window.admit(probe.nonce):
            return []
        self.heard_at = now
        if self.learn(source, now=now):
            state = self._states[source]
            state.granted = min(state.granted + 1, PUNCH_PROBES_MAX)
            if not state.is_alive and state.pinged >= min(PUNCH_FAST_PROBES, state.granted - 1):
                state.next_at = min(state.next_at, now)  # it was given up, and is here
            elif self._follows and source == self.active and not source.by_relay:
                self._leave_asking(state, now)  # but whether a relay of ours lives only we find out
        return [Outgoing(source, key.pong(probe.nonce, source.address))]

    def _leave_asking(self, state: PairState, now: float) -> None:
        """The peer asks about the pair in use: that one of us does is enough."""
        if state.answered_at is not None and not state.outstanding:
            due = min(now + PROBE_LEFT_S, state.answered_at + PROBE_FOLLOWED_S)
            state.next_at = max(state.next_at, due)

    def hear(self, pair: Pair, size_bytes: int, now: float) -> None:
        """Something for this peer's connection came on another way than that in use.

        An unknown source is asked once, now and then. Who follows takes the way that the peer takes, once it has
        answered there; who does not asks whether the way in use still works.
        """
        self._heard = pair
        if pair in self._states:
            self._nominate(now)
            if pair != self.active and now - self._used_since > TRIAL_PAUSE_S:
                # The peer may have left our way for a good reason.
                self._trials.suspect(self.active, self._rank, now)
            return
        if size_bytes < PROBE_BYTES or now < self._stranger_at or not self._keys:
            return
        self._stranger_at = now + STRANGER_PROBE_S
        self.learn(pair, now=now)
        if not self._follows:
            self.doubt(now)

    def _take_pong(self, probe: Pong, source: Pair, now: float) -> None:
        if self._trials.take(source, probe.nonce, now):
            self.heard_at = now
            return
        state = self._states.get(source)
        sent_at = state.outstanding.get(probe.nonce) if state is not None else None
        if state is None or sent_at is None:
            return  # an answer to nothing, or from elsewhere
        self.heard_at = now
        measured = now - sent_at
        smoothed = state.round_trip_s
        state.round_trip_s = measured if smoothed is None else smoothed + (measured - smoothed) / 8
        self._answer(source, state, now)
        if source == self.active and smoothed is not None and has_grown(measured, smoothed):
            self._trials.suspect(self.active, self._rank, now)
        if not source.by_relay:
            self.observed = probe.observed
        self._nominate(now)

    def _answer(self, pair: Pair, state: PairState, now: float) -> None:
        state.answered_at = now
        state.misses = state.pinged = 0
        state.outstanding.clear()
        is_active = self.active is None or pair == self.active
        state.next_at = now + (self._active_s if is_active else PROBE_WARM_S)

    @property
    def _active_s(self) -> float:
        return PROBE_LEFT_S if self._follows else PROBE_ACTIVE_S

    # --- What to do ---

    def due(self, now: float) -> list[Outgoing]:
        """The pings that are due; asking for them counts as sending them."""
        if not self._keys:
            return []
        self._trials.end(now)
        found: list[Outgoing] = []
        for pair, state in list(self._states.items()):
            if state.next_at > now:
                continue
            if state.outstanding and state.answered_at is not None:
                state.misses += 1
                if pair == self.active:
                    self._trials.suspect(self.active, self._rank, now)
            if self._is_hopeless(pair, state) or self._is_surplus(pair, state):
                del self._states[pair]
                continue
            ping = self._key_for(state).ping(self._make_nonce(state, now))
            found.append(Outgoing(pair, ping))
            state.next_at = now + self._wait_s(pair, state)
        self._nominate(now)
        return found + self._try(now)

    def next_at(self) -> float | None:
        """When `due` has something to do."""
        if not self._keys:
            return None
        at = min((state.next_at for state in self._states.values()), default=None)
        return at if at is None else min(at, self._trials.next_at)

    def _key_for(self, state: PairState) -> ProbeKey:
        """The newest key; for a pair where the peer has been heard, the newest that it is known to have."""
        keys = list(self._keys.values())
        proven = [entry for entry in keys if entry.is_proven]
        is_heard = state.is_learnt or state.answered_at is not None
        return (proven if proven and is_heard else keys)[-1].key

    def _draw_nonce(self) -> bytes:
        self._counter += 1
        return make_nonce(self._counter, self._draw(RANDOM_BYTES))

    def _make_nonce(self, state: PairState, now: float) -> bytes:
        nonce = self._draw_nonce()
        state.pinged += 1
        state.outstanding[nonce] = now
        if len(state.outstanding) > PROBES_OUTSTANDING_MAX:
            del state.outstanding[next(iter(state.outstanding))]
        return nonce

    def _wait_s(self, pair: Pair, state: PairState) -> float:
        if state.answered_at is None:
            if state.pinged >= state.granted:
                return PUNCH_ANSWER_S_MAX
            return PUNCH_FAST_S if state.pinged <= PUNCH_FAST_PROBES else PUNCH_SLOW_S
        if state.misses < len(PROBE_MISSED_S):
            return max(PROBE_MISSED_S[state.misses], 2 * (state.round_trip_s or 0.0))
        return PROBE_MISSED_S[-1] if pair == self.active else PROBE_COLD_S

    def _is_hopeless(self, pair: Pair, state: PairState) -> bool:
        if state.is_alive or pair == self.active:
            return False
        if state.answered_at is None:
            return state.pinged >= state.granted
        # A direct way that has worked is worth asking for while a relay carries everything.
        return self.is_relayed(pair) or self.active is None or not self.is_relayed(self.active)

    def _is_surplus(self, pair: Pair, state: PairState) -> bool:
        """Whether a pair that lives is not needed: one way of each sort is kept in reserve."""
        if pair == self.active or not state.is_sound:
            return False
        if state.is_poor and self.active is not None and self._is_nearer(pair, self.active):
            return False
        reserve = sorted(
            (
                each
                for each, known in self._states.items()
                if known.is_sound and each != self.active
            ),
            key=self._rank,
        )
        kept = reserve[:WARM_PAIRS_MAX]
        relayed = next((each for each in reserve if self.is_relayed(each)), None)
        if relayed is not None:
            kept = [*reserve[: WARM_PAIRS_MAX - 1], relayed]
        return pair not in kept

    def _nominate(self, now: float | None) -> None:
        sound = [pair for pair, state in self._states.items() if state.is_sound]
        best = min(sound, key=self._rank, default=None)
        if best is None:
            return
        if self.active in sound and self._cost(best) >= self._cost(self.active):
            is_followed = self._follows and self._heard in sound
            best = self._heard if is_followed and self._heard is not None else self.active
            if self._cost(best) > self._cost(self.active):
                return
        if best == self.active:
            return
        self.active, self._heard = best, None
        self._used_since = now if now is not None else self._used_since
        state = self._states[best]
        state.next_at = (state.answered_at or 0.0) + self._active_s
        if now is not None and state.answered_at != now and not state.outstanding:
            state.next_at = now

    def _relays(self, pair: Pair) -> int:
        return pair.by_relay + (self._states[pair].kind is CandidateKind.RELAYED)

    def _is_nearer(self, pair: Pair, other: Pair) -> bool:
        return other not in self._states or self._relays(pair) < self._relays(other)

    def _cost(self, pair: Pair) -> tuple[bool, int]:
        """What decides between ways that work."""
        return (self._states[pair].is_poor, self._relays(pair))

    def _rank(self, pair: Pair) -> tuple[bool, int, float]:
        measured = self._states[pair].round_trip_s
        return (*self._cost(pair), measured if measured is not None else NEVER)

    def _try(self, now: float) -> list[Outgoing]:
        found: list[Outgoing] = []
        for pair in self._trials.due(self.active, now):
            nonce = self._draw_nonce()
            self._trials.note_sent(pair, nonce, now)
            found.append(Outgoing(pair, self._key_for(self._states[pair]).ping(nonce)))
        return found


def _certainty(kind: CandidateKind) -> int:
    """What an offer says about an address counts more than that probes came from there."""
    return kind is CandidateKind.PEER_REFLEXIVE
