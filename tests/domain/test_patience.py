"""What has held without a break for long is told, once, and again only after it has been well in between."""

from hypothesis import given
from hypothesis import strategies as st

from domain.patience import Patience

STUCK_S = 10.0
STEPS = st.lists(st.tuples(st.integers(1, 4), st.frozensets(st.sampled_from("abc"))), max_size=40)


@given(STEPS)
def test_told_is_exactly_what_has_held_long_enough_and_was_not_told(
    steps: list[tuple[int, frozenset[str]]],
) -> None:
    patience: Patience[str] = Patience(STUCK_S)
    began: dict[str, float] = {}
    told: set[str] = set()
    now = 0.0
    for wait_s, holding in steps:
        now += wait_s
        began = {matter: began.get(matter, now) for matter in holding}
        told &= holding
        expected = {matter for matter in holding - told if now - began[matter] >= STUCK_S}
        assert set(patience.look(holding, now=now)) == expected
        told |= expected
        untold = [when for matter, when in began.items() if matter not in told]
        assert patience.next_due == (min(untold) + STUCK_S if untold else None)
        assert all(patience.held_s(matter, now=now) == now - began[matter] for matter in holding)


def test_what_comes_and_goes_is_never_told() -> None:
    patience: Patience[str] = Patience(STUCK_S)
    for second in range(100):
        assert patience.look(["a"] if second % 9 else [], now=float(second)) == []
    assert patience.held_s("b", now=100.0) == 0.0
