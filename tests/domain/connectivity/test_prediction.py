"""Which ports come next, as a table."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.connectivity.prediction import PORT_MIN, STEP_MAX, predict_ports
from domain.limits import PREDICTED_AFTER_MAX, PREDICTED_BEFORE_MAX


@pytest.mark.parametrize(
    ("seen", "first", "last"),
    [
        ((5_000, 5_001, 5_002), 5_003, 4_996),
        ((5_000, 5_002, 5_004), 5_006, 4_992),
        ((5_000, 5_001, 5_004), 5_005, 4_996),
        ((5_004, 5_003, 5_002), 5_001, 5_008),
    ],
)
def test_a_box_that_counts_goes_on_counting(seen: tuple[int, ...], first: int, last: int) -> None:
    found = predict_ports(seen)
    assert (found[0], found[-1]) == (first, last)
    assert len(found) == PREDICTED_AFTER_MAX + PREDICTED_BEFORE_MAX


@pytest.mark.parametrize(
    "seen",
    [
        (),
        (5_000,),
        (5_000, 5_000, 5_000),
        (5_000, 5_001, 5_000),
        (40_000, 12_345, 60_000),
        (5_000, 5_001, 5_002 + STEP_MAX),
        (65_534, 65_535, 1_024),
    ],
)
def test_where_a_box_does_not_count_nothing_is_guessed(seen: tuple[int, ...]) -> None:
    assert predict_ports(seen) == ()


@given(st.lists(st.integers(PORT_MIN, 65_535), max_size=4))
def test_guesses_are_ports_and_few(seen: list[int]) -> None:
    found = predict_ports(seen)
    assert len(found) <= PREDICTED_AFTER_MAX + PREDICTED_BEFORE_MAX
    assert all(PORT_MIN <= each <= 65_535 for each in found)
    assert not set(found) & set(seen) or any(b - a > 1 for a, b in pairwise(sorted(seen)))
