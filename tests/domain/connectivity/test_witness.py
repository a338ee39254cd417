from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from domain.connectivity.address import Address
from domain.connectivity.candidate import is_probable
from domain.connectivity.witness import choose_witnessed
from domain.limits import WITNESSED_MAX

HERE, LIE = Address("203.0.113.1", 4_433), Address("198.51.100.77", 1)
PUBLIC = st.builds(
    Address, st.sampled_from(["203.0.113.1", "198.51.100.77", "2001:db8::1"]), st.integers(1, 9)
)
ANYWHERE = st.one_of(
    PUBLIC,
    st.builds(Address, st.sampled_from(["127.0.0.1", "224.0.0.1", "10.0.0.1", "::"]), st.just(7)),
)


@given(st.lists(ANYWHERE), st.lists(ANYWHERE), st.integers(0, 99))
def test_few_are_told_none_twice_and_none_where_nobody_can_be(
    seen: list[Address], told: list[Address], turn: int
) -> None:
    chosen = choose_witnessed(seen, told=told, outside=(), turn=turn)
    assert len(chosen) <= WITNESSED_MAX
    assert len(set(chosen)) == len(chosen)
    assert set(chosen) <= set(seen) - set(told)
    assert all(map(is_probable, chosen))


@given(st.lists(PUBLIC, min_size=1), st.integers(0, 99))
def test_what_most_say_is_told_first_and_everything_in_its_turn(
    seen: list[Address], turn: int
) -> None:
    voices = Counter(seen)
    chosen = choose_witnessed(seen, told=(), outside=(), turn=turn)
    assert voices[chosen[0]] == max(voices.values())
    turns = [
        choose_witnessed(seen, told=(), outside=(), turn=turn + each) for each in range(len(seen))
    ]
    assert {address for each in turns for address in each} == set(seen)


def test_a_member_does_not_know_better_than_a_server() -> None:
    assert choose_witnessed([LIE], told=[HERE], outside=[HERE], turn=0) == ()
    inner, other = Address("100.64.0.5", 4_433), Address("2001:db8::1", 4_433)
    assert set(choose_witnessed([inner, other], told=[HERE], outside=[HERE], turn=0)) == {
        inner,
        other,
    }
