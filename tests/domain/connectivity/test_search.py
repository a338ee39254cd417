"""Who knows a peer is asked, wherever it stands among those who do not."""

from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from domain.connectivity.search import Search, rank
from domain.limits import SIGNAL_LINKS_ASKED_MAX, SIGNAL_ROUTES_MAX

TAGS = [bytes([number]) * 32 for number in range(4)]
tags = st.integers(1, 4).map(lambda count: TAGS[:count])
links = st.lists(st.integers(0, 60), unique=True, max_size=60)


@given(tags, links, st.data())
def test_everybody_is_asked_under_each_tag_once_while_all_know_nobody(
    under: list[bytes], among: list[int], data: st.DataObject
) -> None:
    search = Search(under, among)
    open_questions = search.begin()
    assert len(open_questions) == min(SIGNAL_ROUTES_MAX, len(among))
    asked = list(open_questions)
    while open_questions:
        at = data.draw(st.integers(0, len(open_questions) - 1))
        link, tag = open_questions.pop(at)
        following = search.nobody(link, tag)
        if following is not None:
            open_questions.append(following)
            asked.append(following)
        assert search.nobody(link, tag) is None  # saying it twice opens nothing
        assert len(open_questions) <= SIGNAL_ROUTES_MAX
    assert len(asked) == len(set(asked))
    expected = among[:SIGNAL_LINKS_ASKED_MAX]
    assert set(asked) == {(link, tag) for link in expected for tag in under}
    for link in expected:
        assert [tag for each, tag in asked if each == link] == under


@given(tags, links)
def test_who_comes_meanwhile_is_asked_at_once_and_not_twice(
    under: list[bytes], among: list[int]
) -> None:
    search = Search(under, among)
    search.begin()
    assert search.add(99) == (99, under[0])
    found = search.add(99)
    assert found is None or found[0] != 99


def test_what_was_not_asked_is_no_answer() -> None:
    search = Search(TAGS, [1, 2])
    search.begin()
    assert search.nobody(3, TAGS[0]) is None
    assert search.nobody(1, TAGS[1]) is None
    assert search.nobody(1, TAGS[0]) == (1, TAGS[1])


@given(links, st.integers(0, 100), st.data())
def test_servers_and_who_is_near_are_asked_at_first_and_nobody_is_left_out(
    among: list[int], turn: int, data: st.DataObject
) -> None:
    kinds = [data.draw(st.sampled_from("sno")) for _ in among]
    servers, near, others = (
        [link for link, kind in zip(among, kinds, strict=True) if kind == each] for each in "sno"
    )
    ranked = rank(servers, near, others, turn=turn)
    assert sorted(ranked) == sorted(among)
    first = ranked[:SIGNAL_ROUTES_MAX]
    assert not servers or set(servers) & set(first)
    assert not near or set(near) & set(first)


def test_each_search_begins_with_others() -> None:
    starts = deque(rank([], [], [1, 2, 3], turn=turn)[0] for turn in range(3))
    assert sorted(starts) == [1, 2, 3]


@given(links, st.sets(st.integers(0, 60)))
def test_of_those_who_knew_nobody_a_few_are_asked_each_time_others(
    among: list[int], vain: set[int]
) -> None:
    asked: set[int] = set()
    for turn in range(60):
        ranked = rank([], among, [], turn=turn, vain=vain)
        assert len(vain.intersection(ranked)) <= SIGNAL_ROUTES_MAX // 2
        assert set(among) - vain <= set(ranked)
        asked.update(ranked)
    assert asked == set(among)


@given(tags, links)
def test_a_search_is_hopeless_once_all_who_were_asked_know_nobody(
    under: list[bytes], among: list[int]
) -> None:
    search = Search(under, among)
    open_questions = deque(search.begin())
    while open_questions:
        assert not search.is_hopeless
        following = search.nobody(*open_questions.popleft())
        if following is not None:
            open_questions.append(following)
    assert search.is_hopeless
