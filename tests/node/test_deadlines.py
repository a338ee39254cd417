"""The heap of deadlines: what is due comes out once, in order, and what was moved is not in the way."""

from hypothesis import given
from hypothesis import strategies as st

from node.deadlines import STALE_MIN, Deadlines

KEYS = st.integers(0, 5)
ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("set"), KEYS, st.integers(0, 20)),
        st.tuples(st.just("forget"), KEYS, st.just(0)),
        st.tuples(st.just("take"), st.just(0), st.integers(0, 20)),
    )
)


@given(ACTIONS)
def test_it_behaves_as_a_plain_table_does(actions: list[tuple[str, int, int]]) -> None:
    deadlines: Deadlines[int] = Deadlines()
    table: dict[int, float] = {}
    for action, key, when in actions:
        match action:
            case "set":
                deadlines.set(key, when)
                table[key] = when
            case "forget":
                deadlines.forget(key)
                table.pop(key, None)
            case _:
                due = sorted(each for each in table if table[each] <= when)
                taken = deadlines.take_due(when)
                assert sorted(taken) == due
                assert [table[each] for each in taken] == sorted(table[each] for each in due)
                table = {each: at for each, at in table.items() if at > when}
        assert len(deadlines) == len(table)
        assert deadlines.next() == min(table.values(), default=None)
        assert all(deadlines.at(each) == table.get(each) for each in range(6))


def test_a_deadline_that_is_moved_for_ever_does_not_fill_memory() -> None:
    deadlines: Deadlines[int] = Deadlines()
    for when in range(10_000):
        deadlines.set(when % 3, when)
        assert len(deadlines._heap) <= STALE_MIN + 3 * len(deadlines)
