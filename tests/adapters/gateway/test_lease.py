"""The clock of a router tells that it has restarted, and nothing else does."""

from hypothesis import given
from hypothesis import strategies as st

from adapters.gateway.lease import EpochWatch

starts = st.integers(0, 10**6)
spans = st.floats(0.0, 10**6)


@given(epoch_s=starts, span_s=spans, drift=st.floats(-0.05, 0.05))
def test_clock_that_goes_a_little_wrong_is_no_restart(
    epoch_s: int, span_s: float, drift: float
) -> None:
    watch = EpochWatch()
    assert not watch.has_restarted(epoch_s, now=0.0)
    assert not watch.has_restarted(epoch_s + int(span_s * (1 + drift)), now=span_s)


@given(epoch_s=st.integers(10, 10**6), span_s=spans)
def test_clock_that_starts_again_is_a_restart(epoch_s: int, span_s: float) -> None:
    watch = EpochWatch()
    watch.has_restarted(epoch_s, now=0.0)
    assert watch.has_restarted(min(epoch_s - 5, int(span_s)), now=span_s)


@given(epoch_s=starts, span_s=st.floats(60.0, 10**6))
def test_clock_that_stood_still_or_leapt_is_a_restart(epoch_s: int, span_s: float) -> None:
    for later in (epoch_s, epoch_s + int(2 * span_s)):
        watch = EpochWatch()
        watch.has_restarted(epoch_s, now=0.0)
        assert watch.has_restarted(later, now=span_s)
