"""Which way to a peer is tried beside which other one, when, and which were found poor.

One trial at a time, and not more than one in `TRIAL_PAUSE_S`. A way that was found poor is tried again after a while,
beside the one in use, and after twice as long each time that it is still clearly worse: so nobody goes to and fro.
"""

from collections.abc import Callable, Mapping

from domain.connectivity.pair import NEVER, Pair, PairState
from domain.connectivity.quality import Trial
from domain.limits import POOR_S_MAX, POOR_S_MIN, TRIAL_PAUSE_S

Rank = Callable[[Pair], tuple[float, ...]]


class Trials:
    """Those of one peer.

    Args:
        states: The ways to the peer, as they are at any time.
    """

    def __init__(self, states: Mapping[Pair, PairState]) -> None:
        self._states = states
        self._trial: Trial[Pair] | None = None
        self._next_at = 0.0

    @property
    def next_at(self) -> float:
        """When `due` has something to do."""
        return self._trial.next_at if self._trial is not None else NEVER

    def suspect(self, active: Pair | None, rank: Rank, now: float) -> None:
        """The way in use may have become bad: try it beside the best other one, unless that was done lately.

        `rank` gives what is least for the best way.
        """
        state = self._states.get(active) if active is not None else None
        if active is None or state is None or state.is_poor:
            return
        others = [
            pair
            for pair, known in self._states.items()
            if known.is_sound and not known.is_poor and pair != active
        ]
        if others:
            self._begin(active, min(others, key=rank), state.round_trip_s, now)

    def due(self, active: Pair | None, now: float) -> tuple[Pair, ...]:
        """The ways to ping now; asking for them counts as sending them."""
        if self._trial is None:
            self._try_again(active, now)
        if self._trial is None:
            return ()
        return tuple(pair for pair in self._trial.due(now) if pair in self._states)

    def note_sent(self, pair: Pair, nonce: bytes, now: float) -> None:
        """A ping of the trial went out on a way."""
        if self._trial is not None:
            self._trial.note_sent(pair, nonce, now)

    def take(self, pair: Pair, nonce: bytes, now: float) -> bool:
        """Take an answer; False if it is to no ping of a trial."""
        return self._trial is not None and self._trial.take(pair, nonce, now)

    def end(self, now: float) -> None:
        """Judge, if a trial is over."""
        trial = self._trial
        if trial is None or not trial.is_over(now):
            return
        self._trial = None
        state = self._states.get(trial.subject)
        if state is None or trial.other not in self._states:
            return
        is_worse = not trial.is_subject_as_good if state.is_poor else trial.is_subject_worse
        state.poor_s = min(max(POOR_S_MIN, 2 * state.poor_s), POOR_S_MAX) if is_worse else 0.0
        state.poor_until = now + state.poor_s

    def _begin(self, subject: Pair, other: Pair, usual_s: float | None, now: float) -> None:
        if self._trial is None and now >= self._next_at:
            self._next_at = now + TRIAL_PAUSE_S
            self._trial = Trial(subject, other, usual_s=usual_s, now=now)

    def _try_again(self, active: Pair | None, now: float) -> None:
        """Look whether a way that was left for another is as good as that by now."""
        if active is None or active not in self._states:
            return
        for pair, state in self._states.items():
            if state.is_poor and state.is_sound and now >= state.poor_until and pair != active:
                self._begin(pair, active, None, now)
                return
