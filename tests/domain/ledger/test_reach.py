"""What the ledger keeps of causal pasts, against plain lists."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import codec
from domain.ledger.reach import Reach, Vector, join
from domain.ledger.staircase import Staircase

SLOT = 2
SLOTS = range(6)
pasts = st.lists(
    st.dictionaries(st.sampled_from(SLOTS), st.integers(0, 9), max_size=len(SLOTS)), max_size=12
)


@given(pasts, st.sets(st.sampled_from(SLOTS)), st.integers(0, 12))
def test_reach_gives_the_causal_past_of_any_count(
    pasts: list[Vector], slots: set[int], height: int
) -> None:
    reach, vectors = Reach(SLOT), list[Vector]([{}])
    for seq_num, past in enumerate(pasts):
        vectors.append(dict(vectors[-1]))
        join(vectors[-1], {slot: height for slot, height in past.items() if slot != SLOT})
        reach.extend(seq_num, past)
    changes = [
        {slot for slot in after if after[slot] != before.get(slot)}
        for before, after in itertools.pairwise(vectors)
    ]
    for each in (reach, Reach.from_value(SLOT, codec.decode(codec.encode(reach.to_value())))):
        for count, vector in enumerate(vectors):
            assert each.before(count) == vector
            some = {slot: vector[slot] for slot in slots & vector.keys()}
            assert each.before_of(count, slots) == some
        assert each.steps_of(slots) == {n for n, some in enumerate(changes) if some & slots}
        for slot in SLOTS:
            reaching = (n for n, vector in enumerate(vectors) if vector.get(slot, 0) > height)
            assert each.first_at(slot, height + 1, 99) + 1 == next(reaching, 100)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=30))
def test_staircase_gives_the_number_after_any_count(steps: list[tuple[int, int]]) -> None:
    staircase, plain, seq_num, value = Staircase(), [0], 0, 0
    for wait, rise in steps:
        seq_num, value = seq_num + wait, value + rise
        staircase.raise_to(seq_num, value)
        plain += [plain[-1]] * (seq_num + 1 - len(plain))
        plain = [*plain[: seq_num + 1], value]
    for count in range(len(plain) + 2):
        assert staircase.before(count) == plain[min(count, len(plain) - 1)]
    assert staircase.last == value
    assert staircase.first == (staircase.steps[0] if staircase.steps else None)
    back = Staircase.from_value(codec.decode(codec.encode(staircase.to_value())))
    assert [back.before(n) for n in range(99)] == [staircase.before(n) for n in range(99)]


@pytest.mark.parametrize("is_big_endian", [False, True])
def test_staircase_is_written_in_one_order_of_bytes(
    monkeypatch: pytest.MonkeyPatch, is_big_endian: bool
) -> None:
    staircase = Staircase()
    staircase.raise_to(1, 258)
    steps = staircase.to_value()
    monkeypatch.setattr("domain.ledger.staircase.IS_BIG_ENDIAN", is_big_endian)
    swapped = staircase.to_value()
    back = Staircase.from_value(codec.decode(codec.encode(swapped)))
    assert (swapped != steps) == is_big_endian
    assert (back.before(1), back.before(2), staircase.last) == (0, 258, 258)


def test_staircase_of_other_bytes_is_refused() -> None:
    with pytest.raises(ValueError, match="multiple"):
        Staircase.from_value(b"1")
