"""What file and document had in common is told right after a crash, whatever both are by chance."""

from hypothesis import given
from hypothesis import strategies as st

from adapters.files.common_text import CommonText

LINES = st.lists(st.sampled_from(["a\n", "b\n", "word\n", "another word\n"]), max_size=8).map(
    "".join
)
MARKED = st.lists(st.sampled_from("一二三四五六七八九十百千万"), min_size=6, unique=True).map(
    lambda marks: "".join(mark * 20 + "\n" for mark in marks)
)


@given(LINES, MARKED, LINES)
def test_the_text_before_is_chosen_until_both_sides_have_the_change(
    before: str, change: str, others: str
) -> None:
    """Whichever side had the change, and whatever little others wrote on the other one."""
    common = CommonText(text=before, following=before + change)
    for sides in ((before + change, others), (others, before + change)):
        assert common.choose(sides) == before
    assert common.choose((before + change, others + before + change)) == before + change


@given(LINES, st.none() | LINES, st.integers(0, 3))
def test_what_was_encoded_is_decoded(text: str, following: str | None, void_count: int) -> None:
    common = CommonText(text=text, following=following, void_count=void_count)
    assert CommonText.decode(common.encode()) == common
