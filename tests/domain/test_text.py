import random
import time
from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import UsageError
from domain.ports.mirror import TextEdit
from domain.text import apply_edits, difference, size, three_way, union, utf8_offsets

PIECES = [
    "a", "b", "word", " ", "\n", "\r\n", "\r", "é", "e\u0301", "\u0301", "😀", "👩‍👩‍👧", "👍🏽", "🇫🇷", "🇩",
    "\u200d", "漢", "字", "각", "क्षि", "\x00", "\ufeff", "\u2028",
]  # fmt: skip
texts = st.one_of(
    st.lists(st.sampled_from(PIECES), max_size=40).map("".join),
    st.text(alphabet="ab\n", max_size=60),
    st.text(max_size=40),
)


@st.composite
def edited(draw: st.DrawFn, base: str) -> str:
    text = base
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(text)))
        end = draw(st.integers(start, min(len(text), start + 8)))
        text = text[:start] + draw(st.sampled_from(["", *PIECES])) + text[end:]
    return text


@st.composite
def families(draw: st.DrawFn) -> tuple[str, str, str]:
    base = draw(texts)
    return base, draw(edited(base)), draw(edited(base))


@given(texts, texts)
def test_edits_of_a_difference_turn_one_text_into_the_other(before: str, after: str) -> None:
    edits = difference(before, after)
    assert apply_edits(before, edits) == after
    for edit, following in pairwise(edits):
        assert edit.position + edit.deleted < following.position
    assert all(edit.deleted or edit.inserted for edit in edits)


@given(families())
def test_edits_of_a_difference_turn_a_text_into_its_edited_form(
    family: tuple[str, str, str],
) -> None:
    _, before, after = family
    assert apply_edits(before, difference(before, after)) == after


@given(texts)
def test_equal_texts_do_not_differ(text: str) -> None:
    assert difference(text, text) == ()


@pytest.mark.parametrize(
    ("before", "after", "edits"),
    [
        ("", "abc", [(0, 0, "abc")]),
        ("abc", "", [(0, 3, "")]),
        ("hello world", "hello brave world", [(6, 0, "brave ")]),
        ("one\ntwo\nthree\n", "one\n2\nthree\n", [(4, 3, "2")]),
        ("colour", "color", [(4, 1, "")]),
        ("e\u0301", "e\u0300", [(0, 2, "e\u0300")]),
        ("a👍🏽b", "a👍🏿b", [(1, 2, "👍🏿")]),
        ("👩‍👩‍👧", "👩‍👩‍👦", [(0, 5, "👩‍👩‍👦")]),
        ("🇫🇷", "🇫🇮", [(0, 2, "🇫🇮")]),
        ("a\r\nb", "a\nb", [(1, 2, "\n")]),
        ("漢字です", "漢文です", [(1, 1, "文")]),
    ],
)
def test_a_difference_is_small_and_cuts_no_character(
    before: str, after: str, edits: list[tuple[int, int, str]]
) -> None:
    found = [(edit.position, edit.deleted, edit.inserted) for edit in difference(before, after)]
    assert found == edits


def test_two_edits_of_a_long_text_are_found_apart() -> None:
    lines = [f"line {number} of the text\n" for number in range(5_000)]
    before = "".join(lines)
    lines[100] = "line 100 of that text\n"
    del lines[4_000:4_010]
    lines.insert(20, "a new line\n")
    edits = difference(before, "".join(lines))
    assert len(edits) == 3
    assert size(edits) < 260


COUNT = 1_000_000


def _noise(alphabet: str, seed: int) -> str:
    return "".join(random.Random(seed).choices(alphabet, k=COUNT))


def _numbers(seed: int) -> str:
    return "".join(f"{number}\n" for number in random.Random(seed).sample(range(150_000), 150_000))


def _foxes(seed: int) -> str:
    lines = ["the quick brown fox\n"] * 9 + ["the slow fox\n"]
    return "".join(random.Random(seed).choices(lines, k=COUNT // 20))


LARGE_TEXTS: dict[str, Callable[[int], str]] = {
    "noise": lambda seed: _noise("ab\n", seed),
    "noise in one line": lambda seed: _noise("ab ", seed),
    "ideographs": lambda seed: _noise("漢字文書", seed),
    "shuffled lines": _numbers,
    "one character": lambda seed: "a" * COUNT + "bc"[seed],
    "marks": lambda seed: "e" + "\u0301\u0300"[seed] * COUNT,
    "emoji": lambda seed: ("👍🏽", "👍🏿")[seed] * (COUNT // 2),
    "many small edits": _foxes,
}


@pytest.mark.parametrize("name", LARGE_TEXTS)
def test_a_difference_of_a_million_code_points_takes_bounded_time(name: str) -> None:
    before, after = LARGE_TEXTS[name](0), LARGE_TEXTS[name](1)
    start = time.process_time()
    edits = difference(before, after)
    seconds = time.process_time() - start
    assert apply_edits(before, edits) == after
    assert seconds < 2.0  # one second on an idle machine


@pytest.mark.parametrize(
    "edit",
    [
        TextEdit(position=-1, deleted=0, inserted="x"),
        TextEdit(position=4, deleted=0, inserted="x"),
        TextEdit(position=2, deleted=2, inserted=""),
        TextEdit(position=1, deleted=-1, inserted=""),
    ],
)
def test_an_edit_outside_of_the_text_is_refused(edit: TextEdit) -> None:
    with pytest.raises(UsageError):
        apply_edits("abc", [edit])


def test_edits_out_of_order_are_refused() -> None:
    edit = TextEdit(position=1, deleted=1, inserted="")
    with pytest.raises(UsageError):
        apply_edits("abc", [edit, edit])


@given(texts, st.data())
def test_offsets_count_the_utf8_bytes_before_each_position(text: str, data: st.DataObject) -> None:
    positions = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    offsets = utf8_offsets(text, positions)
    assert offsets == tuple(len(text[:position].encode()) for position in positions)


@pytest.mark.parametrize("positions", [[4], [2, 1], [-1]])
def test_offsets_of_wrong_positions_are_refused(positions: list[int]) -> None:
    with pytest.raises(UsageError):
        utf8_offsets("äbc", positions)


@given(families())
def test_a_merge_with_an_unchanged_side_is_the_other_side(family: tuple[str, str, str]) -> None:
    base, ours, theirs = family
    assert apply_edits(base, three_way(base, base, theirs)) == theirs
    assert apply_edits(ours, three_way(base, ours, base)) == ours
    assert three_way(base, ours, ours) == ()


@st.composite
def marked(draw: st.DrawFn, base: str, marks: str) -> str:
    """An edited form of `base` in which every inserted character is unique."""
    text = base
    for mark in marks[: draw(st.integers(0, 4))]:
        start = draw(st.integers(0, len(text)))
        end = draw(st.integers(start, min(len(text), start + 6)))
        text = text[:start] + mark + text[end:]
    return text


@given(st.data())
def test_a_merge_keeps_what_either_side_inserted_and_deletes_what_either_deleted(
    data: st.DataObject,
) -> None:
    base = "".join(chr(0x5000 + index) for index in range(data.draw(st.integers(0, 20))))
    ours = data.draw(marked(base, "ABCD"))
    theirs = data.draw(marked(base, "WXYZ"))
    merged = apply_edits(ours, three_way(base, ours, theirs))
    inserted = (set(ours) | set(theirs)) - set(base)
    assert set(merged) == inserted | (set(ours) & set(theirs))
    assert len(merged) == len(set(merged))


@given(families())
def test_a_merge_is_inside_of_our_text(family: tuple[str, str, str]) -> None:
    base, ours, theirs = family
    merged = apply_edits(ours, three_way(base, ours, theirs))
    assert three_way(theirs, merged, theirs) == ()


def test_a_change_that_both_sides_made_is_made_once() -> None:
    base, ours = "one\ntwo\nthree\n", "one\n2\nthree\nfour\n"
    assert apply_edits(ours, three_way(base, ours, "ONE\n2\nthree\n")) == "ONE\n2\nthree\nfour\n"


@given(texts, texts)
def test_a_union_deletes_nothing_and_holds_every_line(ours: str, theirs: str) -> None:
    edits = union(ours, theirs)
    assert all(edit.deleted == 0 for edit in edits)
    lines = set(apply_edits(ours, edits).split("\n"))
    assert set(theirs.split("\n")) - {""} <= lines
    assert set(ours.split("\n")) - {""} <= lines


def test_a_union_holds_common_lines_once() -> None:
    ours, theirs = "title\na\nend", "title\nb\nend\nmore"
    assert apply_edits(ours, union(ours, theirs)) == "title\na\nb\nend\nmore\n"
