import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.connectivity.admission import Admission, Verdict, prefix_of
from domain.connectivity.bucket import TokenBucket
from domain.limits import (
    DIALLERS_BURST,
    DIALLERS_PER_S,
    HALF_OPEN_MAX,
    HALF_OPEN_RETRY,
    PREFIX_DIALLERS_BURST,
    PREFIX_DIALLERS_PER_S,
    PREFIX_HALF_OPEN_MAX,
    PREFIXES_KEPT_MAX,
)

PREFIXES = [bytes([10, 0, number]) for number in range(20)]


@given(
    rate=st.floats(0.1, 100),
    burst=st.floats(1, 100),
    gaps=st.lists(st.floats(0, 3), min_size=1, max_size=200),
)
def test_a_bucket_gives_no_more_than_burst_and_rate(
    rate: float, burst: float, gaps: list[float]
) -> None:
    bucket, now, given_out = TokenBucket(rate=rate, burst=burst, now=0.0), 0.0, 0
    for gap in gaps:
        now += gap
        given_out += bucket.take(now)
    assert given_out <= burst + rate * now + 1e-6


def test_a_clock_that_goes_back_neither_fills_nor_empties_a_bucket() -> None:
    bucket = TokenBucket(rate=1, burst=2, now=100.0)
    assert [bucket.take(now) for now in (100.0, 50.0, 50.0, 50.9, 51.1)] == [
        True, True, False, False, True,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("192.0.2.1", "192.0.2.254", True),
        ("192.0.2.1", "192.0.3.1", False),
        ("::ffff:192.0.2.1", "192.0.2.7", True),
        ("2001:db8:0:aa00::1", "2001:db8:0:aaff::2", True),
        ("2001:db8:0:aa00::1", "2001:db8:0:ab00::1", False),
        ("127.0.0.1", "::1", True),
    ],
)
def test_a_site_has_one_prefix(one: str, other: str, is_same: bool) -> None:
    assert (prefix_of(one) == prefix_of(other)) == is_same


def test_the_first_come_in_at_once_and_then_all_have_to_prove_their_address() -> None:
    admission = Admission(0.0)
    verdicts = []
    for number in range(HALF_OPEN_RETRY + 10):
        prefix = PREFIXES[number % 20]
        verdicts.append(admission.judge(prefix, is_proven=False, now=0.0))
        if verdicts[-1] is Verdict.ADMIT:
            admission.begun(prefix)
    assert verdicts == [Verdict.ADMIT] * HALF_OPEN_RETRY + [Verdict.RETRY] * 10


def test_made_up_addresses_lock_nobody_out() -> None:
    admission = Admission(0.0)
    for number in range(10_000):
        admission.judge(PREFIXES[number % 20], is_proven=False, now=number / 1e4)
    assert admission.judge(PREFIXES[0], is_proven=False, now=1.0) is Verdict.RETRY
    assert admission.judge(PREFIXES[0], is_proven=True, now=1.0) is Verdict.ADMIT


def test_one_site_does_not_lock_others_out() -> None:
    admission = Admission(0.0)
    admitted = 0
    for number in range(2_000):
        now = number / 200
        if admission.judge(PREFIXES[0], is_proven=True, now=now) is Verdict.ADMIT:
            admitted += 1  # each handshake is over at once
        assert admission.judge(PREFIXES[1 + number % 19], is_proven=False, now=now) in {
            Verdict.ADMIT, Verdict.RETRY,
        }  # fmt: skip
    assert admitted <= PREFIX_DIALLERS_BURST + 10 * PREFIX_DIALLERS_PER_S + 1
    assert admission.judge(PREFIXES[1], is_proven=True, now=10.0) is Verdict.ADMIT


def test_handshakes_of_one_site_are_bounded() -> None:
    admission = Admission(0.0)
    for _ in range(PREFIX_HALF_OPEN_MAX):
        assert admission.judge(PREFIXES[0], is_proven=True, now=0.0) is Verdict.ADMIT
        admission.begun(PREFIXES[0])
    assert admission.judge(PREFIXES[0], is_proven=True, now=0.0) is Verdict.DROP
    admission.ended(PREFIXES[0])
    assert admission.judge(PREFIXES[0], is_proven=True, now=0.0) is Verdict.ADMIT


@given(st.lists(st.tuples(st.sampled_from(PREFIXES), st.booleans(), st.booleans()), max_size=600))
def test_handshakes_are_bounded_whoever_knocks(knocks: list[tuple[bytes, bool, bool]]) -> None:
    admission, open_now = Admission(0.0), []
    for prefix, is_proven, ends in knocks * 3:
        if admission.judge(prefix, is_proven=is_proven, now=0.0) is Verdict.ADMIT:
            admission.begun(prefix)
            open_now.append(prefix)
        if ends and open_now:
            admission.ended(open_now.pop())
        assert len(open_now) <= HALF_OPEN_MAX
        assert sum(admission._half_open.values()) == len(open_now)


def test_a_thousand_peers_of_many_sites_are_back_within_seconds() -> None:
    admission, waiting, now = Admission(0.0), list(range(1_000)), 0.0
    while waiting:
        waiting = [
            number
            for number in waiting
            if admission.judge(number.to_bytes(3, "big"), is_proven=True, now=now)
            is not Verdict.ADMIT
        ]
        now += 0.5
    assert now <= (1_000 - DIALLERS_BURST) / DIALLERS_PER_S + 2


def test_what_is_remembered_of_prefixes_is_bounded() -> None:
    admission = Admission(0.0)
    for number in range(PREFIXES_KEPT_MAX + 100):
        admission.judge(number.to_bytes(3, "big"), is_proven=True, now=number)
    assert len(admission._prefixes) == PREFIXES_KEPT_MAX
