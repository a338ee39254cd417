"""How good a way is, found out by a trial: a row of pings on two ways at once, and which of them did clearly worse.

A way that is silent is not judged here: that it has died is seen sooner (`pairs`). This is about one that lives and
loses much, or takes much longer than it used to, while another one does not. What chance may do is no reason to
change: of two equal ways neither is clearly worse.

Pure: times come in as `now`.
"""

from collections.abc import Hashable, Sequence
from typing import Final, Generic, TypeVar

from domain.limits import TRIAL_HEAR_S, TRIAL_PING_S, TRIAL_PINGS

LOST_MORE: Final = 5
"""A way is clearly worse if it loses so many of 20 more than twice what the other loses: of two ways that both lose a
tenth, one is taken for worse in one trial of 200; one that loses half, beside one that loses none, in 49 of 50."""
LOST_MORE_AT_MOST: Final = 2
"""A way that was left may lose so many more of 20: one that loses a third does not once in 25 trials."""
LOSSES_APART_MIN: Final = 3
"""Losses in fewer pieces are an outage, which ends or kills the way."""
GROWN_FACTOR: Final = 2.0
GROWN_S: Final = 0.05
"""A round trip has grown, or is worse, if it is twice as long and 50 ms more: the queues of a busy line are shorter."""

Way = TypeVar("Way", bound=Hashable)
Answers = Sequence[float | None]
"""For each ping in turn: how many seconds the answer took, None where none came."""


def is_clearly_worse(one: Answers, other: Answers, *, usual_s: float | None = None) -> bool:
    """Whether the first way did clearly worse than the other in the same time.

    Args:
        one: How it answered.
        other: How the other answered, to as many pings.
        usual_s: The round trip that the first one used to have: only if it has grown is a longer one a reason; None
            where it does not matter.
    """
    heard, heard_other = _heard(one), _heard(other)
    if not heard or not heard_other:
        return False
    lost, lost_other = len(one) - len(heard), len(other) - len(heard_other)
    if lost >= LOST_MORE + 2 * lost_other:
        return _pieces(one) >= LOSSES_APART_MIN
    if lost_other >= LOST_MORE + 2 * lost:
        return False
    trip_s, other_s = _middle(heard), _middle(heard_other)
    return has_grown(trip_s, other_s) and (usual_s is None or has_grown(trip_s, usual_s))


def is_as_good(one: Answers, other: Answers) -> bool:
    """Whether the first way, which was left, did about as well as the other: less than that brings nobody back."""
    heard, heard_other = _heard(one), _heard(other)
    if not heard or not heard_other:
        return False
    return len(heard) + LOST_MORE_AT_MOST >= len(heard_other) and not has_grown(
        _middle(heard), _middle(heard_other)
    )


def has_grown(round_trip_s: float, usual_s: float) -> bool:
    """Whether a round trip is much longer than another."""
    return round_trip_s > GROWN_FACTOR * usual_s + GROWN_S


def _heard(answers: Answers) -> list[float]:
    return [each for each in answers if each is not None]


def _middle(round_trips_s: Sequence[float]) -> float:
    return sorted(round_trips_s)[len(round_trips_s) // 2]


def _pieces(answers: Answers) -> int:
    """In how many pieces losses came."""
    before = [0.0, *answers[:-1]]
    return sum(now is None and then is not None for then, now in zip(before, answers, strict=True))


class Trial(Generic[Way]):
    """A row of pings on two ways at once.

    Args:
        subject: The way in question.
        other: The one that it is compared with.
        usual_s: The round trip that the subject used to have; None where it does not matter.
        now: When it begins.
    """

    def __init__(self, subject: Way, other: Way, *, usual_s: float | None, now: float) -> None:
        self.subject = subject
        self.other = other
        self._usual_s = usual_s
        self._began = now
        self._rounds = 0
        self._sent: dict[tuple[Way, bytes], tuple[int, float]] = {}
        self._answers: dict[Way, list[float | None]] = {
            subject: [None] * TRIAL_PINGS,
            other: [None] * TRIAL_PINGS,
        }

    @property
    def next_at(self) -> float:
        """When it goes on, or is over."""
        if self._rounds < TRIAL_PINGS:
            return self._began + self._rounds * TRIAL_PING_S
        return self._began + TRIAL_PINGS * TRIAL_PING_S + TRIAL_HEAR_S

    def is_over(self, now: float) -> bool:
        """Whether all pings are sent, and had their time to be answered."""
        return self._rounds == TRIAL_PINGS and now >= self.next_at

    def due(self, now: float) -> tuple[Way, ...]:
        """The ways to ping now; asking for them counts as sending them."""
        if self._rounds == TRIAL_PINGS or now < self.next_at:
            return ()
        self._rounds += 1
        return (self.subject, self.other)

    def note_sent(self, pair: Way, nonce: bytes, now: float) -> None:
        """A ping of this round went out on a way."""
        self._sent[pair, nonce] = (self._rounds - 1, now)

    def take(self, pair: Way, nonce: bytes, now: float) -> bool:
        """Take an answer; False if it is to no ping of this trial."""
        sent = self._sent.pop((pair, nonce), None)
        if sent is None:
            return False
        number, at = sent
        self._answers[pair][number] = now - at
        return True

    @property
    def is_subject_worse(self) -> bool:
        """Whether the way in question is clearly the worse."""
        one, other = self._answers[self.subject], self._answers[self.other]
        return is_clearly_worse(one, other, usual_s=self._usual_s)

    @property
    def is_subject_as_good(self) -> bool:
        """Whether the way in question did about as well as the other."""
        return is_as_good(self._answers[self.subject], self._answers[self.other])
