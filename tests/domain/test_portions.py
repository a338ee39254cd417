"""However edits are joined or cut, they make the same text."""

from hypothesis import given
from hypothesis import strategies as st

from domain.limits import TEXT_EDITS_MAX
from domain.portions import coarsened, portions
from domain.ports.mirror import TextEdit
from domain.text import apply_edits, difference

TEXTS = st.text(st.sampled_from("ab\n é😀漢"), max_size=60)


@given(TEXTS, TEXTS, st.integers(0, 6))
def test_joined_edits_make_the_same_text(before: str, after: str, count_max: int) -> None:
    edits = coarsened(before, difference(before, after), count_max)
    assert len(edits) <= max(1, count_max)
    assert apply_edits(before, edits) == after


@given(TEXTS, TEXTS, st.integers(70, 300), st.integers(1, 4))
def test_portions_one_after_the_other_make_the_same_text(
    before: str, after: str, bytes_max: int, count_max: int
) -> None:
    text = before
    for portion in portions(difference(before, after), bytes_max=bytes_max, count_max=count_max):
        assert 0 < len(portion) <= count_max
        assert (
            len(portion) == 1 or sum(len(each.inserted.encode()) for each in portion) <= bytes_max
        )
        text = apply_edits(text, portion)
    assert text == after


def test_a_long_insertion_is_cut_after_a_line_feed() -> None:
    (edit,) = difference("", "one\ntwo\nthree\n")
    cut = portions([edit], bytes_max=64 + 10)
    assert [each.inserted for portion in cut for each in portion] == ["one\ntwo\n", "three\n"]


def test_few_edits_stay_as_they_are() -> None:
    edits = difference("one\ntwo\nthree\n", "One\ntwo\nThree\n")
    assert coarsened("one\ntwo\nthree\n", edits) == edits


def test_joined_passages_are_even_and_leave_long_gaps_alone() -> None:
    """A letter changed in each of very many lines, and one far away from them."""
    before = "line with some words\n" * 20_000 + "long" * 10_000 + "\nlast\n"
    after = before.replace("line", "Line").replace("last", "Last")
    edits = coarsened(
        before,
        [
            TextEdit(position=at, deleted=1, inserted=after[at])
            for at in range(len(before))
            if before[at] != after[at]
        ],
    )
    assert len(edits) <= TEXT_EDITS_MAX
    assert apply_edits(before, edits) == after
    assert max(edit.deleted for edit in edits) < 2_000
    assert edits[-1].deleted == 1
