"""The waits before a peer is dialled again."""

from hypothesis import given
from hypothesis import strategies as st

from domain.connectivity.backoff import back_off_s, failed_retry_s, has_failed
from domain.limits import BACK_OFF_S_MAX, BACK_OFF_S_MIN, FAILED_RETRY_S, RETRIES_MAX

SHARES = st.floats(0, 1)


@given(st.integers(0, 10**6), SHARES)
def test_a_wait_is_anything_up_to_a_ceiling_that_doubles_to_its_bound(
    failures: int, share: float
) -> None:
    ceiling = back_off_s(failures, share=1.0)
    assert BACK_OFF_S_MIN <= ceiling <= BACK_OFF_S_MAX
    assert back_off_s(failures, share=share) == ceiling * share
    assert back_off_s(failures + 1, share=1.0) in {ceiling, 2 * ceiling, BACK_OFF_S_MAX}


def test_the_ceilings_are_those_that_were_promised() -> None:
    ceilings = [back_off_s(failures, share=1.0) for failures in range(1, 10)]
    assert ceilings == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


@given(st.integers(0, 100), SHARES, st.floats(0, 100))
def test_a_floor_holds_and_is_spread_too(failures: int, share: float, floor_s: float) -> None:
    wait_s = back_off_s(failures, share=share, floor_s=floor_s)
    assert floor_s <= wait_s <= max(BACK_OFF_S_MAX, 1.5 * floor_s)


@given(SHARES)
def test_a_failed_peer_is_dialled_at_least_every_quarter_of_an_hour(share: float) -> None:
    assert 0.8 * FAILED_RETRY_S < failed_retry_s(share=share) <= FAILED_RETRY_S


def test_a_peer_fails_once_all_tries_are_used_up() -> None:
    assert [has_failed(RETRIES_MAX), has_failed(RETRIES_MAX + 1)] == [False, True]
