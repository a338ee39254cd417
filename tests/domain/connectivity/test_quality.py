"""Which of two ways is clearly worse, as a table and as laws, and how trials go."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.connectivity.quality import Answers, Trial, has_grown, is_as_good, is_clearly_worse
from domain.limits import TRIAL_HEAR_S, TRIAL_PING_S, TRIAL_PINGS


def row(text: str, trip_s: float = 0.05) -> Answers:
    """A digit is an answer after that share of the round trip; a dot is none."""
    return [None if each == "." else trip_s * int(each) for each in text]


GOOD, SLOW, VERY_SLOW = row("1" * 20), row("2" * 20), row("9" * 20)
HALF = row("1.11..1.1..1.1.11...")
THIRD = row("1.111.11.1.111.11.11")
TENTH = row("1111111.111111111.11")
OUTAGE = row("111111.......1111111")
GONE = row("111111" + "." * 14)
SILENT = row("." * 20)
ANSWERS = st.lists(st.none() | st.floats(0.001, 2.0), min_size=TRIAL_PINGS, max_size=TRIAL_PINGS)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (GOOD, GOOD, False),
        (HALF, GOOD, True),
        (THIRD, GOOD, True),
        (HALF, TENTH, True),
        (TENTH, GOOD, False),
        (HALF, THIRD, False),
        (HALF, HALF, False),
        (THIRD, TENTH, False),
        (OUTAGE, GOOD, False),
        (GONE, GOOD, False),
        (SILENT, GOOD, False),
        (GOOD, SILENT, False),
        (HALF, SILENT, False),
        (GOOD, HALF, False),
        (SLOW, GOOD, False),
        (VERY_SLOW, GOOD, True),
        (VERY_SLOW, HALF, False),
        (VERY_SLOW, SLOW, True),
        (VERY_SLOW, VERY_SLOW, False),
    ],
)
def test_a_way_is_clearly_worse(one: Answers, other: Answers, *, expected: bool) -> None:
    assert is_clearly_worse(one, other) is expected


def test_a_round_trip_that_was_always_long_is_no_reason() -> None:
    assert not is_clearly_worse(VERY_SLOW, GOOD, usual_s=0.4)
    assert is_clearly_worse(VERY_SLOW, GOOD, usual_s=0.06)
    assert not has_grown(0.14, 0.05)
    assert has_grown(0.16, 0.05)


@given(ANSWERS, ANSWERS)
def test_never_are_both_clearly_worse(one: Answers, other: Answers) -> None:
    assert not (is_clearly_worse(one, other) and is_clearly_worse(other, one))


@given(ANSWERS)
def test_no_way_is_worse_than_itself(one: Answers) -> None:
    assert not is_clearly_worse(one, one)


def drawn(random: Random, loss: float) -> Answers:
    return [None if random.random() < loss else 0.05 for _ in range(TRIAL_PINGS)]


@pytest.mark.parametrize(
    ("loss", "other", "least", "most"),
    [(0.51, 0.0, 0.95, 1.0), (0.3, 0.0, 0.6, 1.0), (0.1, 0.1, 0.0, 0.012), (0.3, 0.3, 0.0, 0.012)],
)
def test_chance_decides_as_seldom_as_is_said(
    loss: float, other: float, least: float, most: float
) -> None:
    random = Random(7)
    rounds = 4_000
    worse = sum(is_clearly_worse(drawn(random, loss), drawn(random, other)) for _ in range(rounds))
    assert least <= worse / rounds <= most


def test_a_trial_pings_both_in_turn_and_hears_the_last_answers() -> None:
    trial: Trial[str] = Trial("one", "other", usual_s=None, now=100.0)
    now, sent = 100.0, 0
    while not trial.is_over(now):
        for number, way in enumerate(trial.due(now)):
            nonce = bytes([sent, number])
            trial.note_sent(way, nonce, now)
            if way == "other" or sent % 2:
                assert trial.take(way, nonce, now + 0.05)
                assert not trial.take(way, nonce, now + 0.05)
        assert trial.due(now) == ()
        sent += 1
        now = trial.next_at
    assert sent == TRIAL_PINGS
    assert now == pytest.approx(100.0 + TRIAL_PINGS * TRIAL_PING_S + TRIAL_HEAR_S)
    assert not trial.take("one", b"unknown", now)
    assert trial.is_subject_worse
    assert not trial.is_subject_as_good


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (GOOD, GOOD, True),
        (TENTH, GOOD, True),
        (THIRD, GOOD, False),
        (HALF, HALF, True),
        (THIRD, HALF, True),
        (VERY_SLOW, GOOD, False),
        (SLOW, GOOD, True),
        (OUTAGE, GOOD, False),
        (SILENT, SILENT, False),
    ],
)
def test_a_way_that_was_left_has_to_be_about_as_good(
    one: Answers, other: Answers, *, expected: bool
) -> None:
    assert is_as_good(one, other) is expected
