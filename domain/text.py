"""Differences between texts: what an editor did to a file, as edits that a replica can make.

Positions count code points, as Python does; `utf8_offsets` turns them into the UTF-8 bytes that pycrdt counts.
Lines are aligned first (anchored at lines that occur once on either side, as in the patience diff by Bram
Cohen), then the words of the lines that differ (E. W. Myers, "An O(ND) Difference Algorithm and Its Variations",
1986), then the characters at both ends of a changed word. The work is bounded: beyond
`DIFFERENCE_STEPS_MAX` a passage is replaced as a whole, which is coarser but as true.

It does not know files, documents or who is right. What it keeps: applying `difference(a, b)` to `a` gives `b`,
edits are sorted and apart from each other, and no edit begins or ends inside of a character that is made of
several code points (combining marks, joined emoji, flags, CR LF) unless that has more than
`CLUSTER_CODE_POINTS_MAX` of them.
"""

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from domain.errors import UsageError
from domain.limits import CLUSTER_CODE_POINTS_MAX, DIFFERENCE_STEPS_MAX
from domain.ports.mirror import TextEdit

ALIGN_DEPTH_MAX: Final = 8
"""Anchors within anchors; each level reads the whole text once, and texts need two or three."""

DISTANCE_MAX: Final = 256
"""Lines or words by which a passage without anchors may differ; memory grows with its square."""

ZERO_WIDTH_JOINER: Final = "\u200d"
# What continues a character, apart from the marks (categories Mn, Mc, Me): joiners, Hangul vowels and finals,
# skin tones, tags.
EXTENDING: Final = re.compile(
    "[\u200c\u200d\u1160-\u11ff\ud7b0-\ud7fb\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f]"
)
REGIONAL_INDICATOR: Final = re.compile("[\U0001f1e6-\U0001f1ff]")
LINE: Final = re.compile(r"[^\n]*\n|[^\n]+")
# Thai, Lao and everything from the CJK radicals on is written without blanks: there a character is a word.
WORD: Final = "[^\\W\u0e00-\u0eff\u1160-\u11ff\u2e80-\U0010ffff]"


def difference(before: str, after: str) -> tuple[TextEdit, ...]:
    """Find edits that turn `before` into `after`; none if they are equal.

    Takes well under a second for texts of a million code points, whatever they are.
    """
    if before == after:
        return ()
    budget = _Budget(steps=DIFFERENCE_STEPS_MAX)
    edits = _Edits()
    start, end = _common_lines(before, after)
    before_lines: list[str] = LINE.findall(before, start, len(before) - end)
    after_lines: list[str] = LINE.findall(after, start, len(after) - end)
    blocks = _align(before_lines, after_lines, budget)
    for old_start, old, new in _gaps(before_lines, after_lines, blocks, start):
        _refine(old_start, old, new, budget, edits)
    return edits.finish()


def apply_edits(text: str, edits: Sequence[TextEdit]) -> str:
    """Make the edits.

    Raises:
        UsageError: They are not sorted, overlap, or reach beyond the text.
    """
    parts: list[str] = []
    position = 0
    for edit in edits:
        if edit.deleted < 0 or not position <= edit.position <= len(text) - edit.deleted:
            raise UsageError(
                "edits of a text must be sorted, apart from each other and inside of it"
            )
        parts.append(text[position : edit.position])
        parts.append(edit.inserted)
        position = edit.position + edit.deleted
    parts.append(text[position:])
    return "".join(parts)


def utf8_offsets(text: str, positions: Sequence[int]) -> tuple[int, ...]:
    """Turn sorted positions in code points into offsets in UTF-8 bytes, reading the text once.

    Raises:
        UsageError: They are not sorted, or reach beyond the text.
    """
    if any(after < before for before, after in zip((0, *positions), positions, strict=False)):
        raise UsageError("positions in a text must be sorted and not negative")
    if positions and positions[-1] > len(text):
        raise UsageError(f"position {positions[-1]} is beyond a text of {len(text)}")
    if text.isascii():
        return tuple(positions)
    offsets: list[int] = []
    position = offset = 0
    for wanted in positions:
        offset += len(text[position:wanted].encode("utf-8", "surrogatepass"))
        position = wanted
        offsets.append(offset)
    return tuple(offsets)


def three_way(base: str, ours: str, theirs: str) -> tuple[TextEdit, ...]:
    """Find edits to `ours` that bring in what `theirs` changed since `base`.

    Nothing that `ours` inserted is deleted, wherever it stands; a change that both made is made once; where both
    inserted something else at one place, ours comes first.
    """
    if theirs in (base, ours):
        return ()
    wanted = difference(base, theirs)
    return wanted if ours == base else _rebase(wanted, difference(base, ours))


def union(ours: str, theirs: str) -> tuple[TextEdit, ...]:
    """Find edits to `ours` that insert the lines of `theirs` that it lacks, each after the line that it follows.

    Nothing is deleted. Used where two texts have no common past that tells which of them is newer.
    """
    budget = _Budget(steps=DIFFERENCE_STEPS_MAX)
    our_lines, their_lines = _closed_lines(ours), _closed_lines(theirs)
    edits = _Edits()
    for start, old, new in _gaps(our_lines, their_lines, _align(our_lines, their_lines, budget), 0):
        position = min(start + len(old), len(ours))
        if new and position and ours[position - 1] != "\n":
            edits.add(position, 0, "\n" + new)
        elif new:
            edits.add(position, 0, new)
    return edits.finish()


def size(edits: Sequence[TextEdit]) -> int:
    """How many code points the edits delete and insert."""
    return sum(edit.deleted + len(edit.inserted) for edit in edits)


def _closed_lines(text: str) -> list[str]:
    """Split into lines that all end in a line feed, the last one too."""
    return LINE.findall(text if not text or text.endswith("\n") else text + "\n")


@dataclass(slots=True, kw_only=True)
class _Budget:
    """What is left of the work that one comparison may do."""

    steps: int


class _Block(NamedTuple):
    """`length` items from `old` on are those from `new` on."""

    old: int
    new: int
    length: int


class _Range(NamedTuple):
    """A passage of both sequences, ends excluded."""

    old: int
    old_end: int
    new: int
    new_end: int


class _Edits:
    """Collects edits in order, joining those that touch."""

    def __init__(self) -> None:
        self._edits: list[TextEdit] = []

    def add(self, position: int, deleted: int, inserted: str) -> None:
        if not deleted and not inserted:
            return
        if self._edits and position == self._edits[-1].position + self._edits[-1].deleted:
            last = self._edits.pop()
            position, deleted = last.position, last.deleted + deleted
            inserted = last.inserted + inserted
        self._edits.append(TextEdit(position=position, deleted=deleted, inserted=inserted))

    def finish(self) -> tuple[TextEdit, ...]:
        return tuple(self._edits)


def _refine(position: int, old: str, new: str, budget: _Budget, edits: _Edits) -> None:
    """Add the edits that turn the passage `old`, which starts at `position`, into `new`, word by word."""
    if not old or not new:
        edits.add(position, len(old), new)
        return
    token = _token_pattern(old, new)
    old_tokens: list[str] = token.findall(old)
    new_tokens: list[str] = token.findall(new)
    blocks = _align(old_tokens, new_tokens, budget)
    for start, old_part, new_part in _gaps(old_tokens, new_tokens, blocks, position):
        prefix, suffix = _common_ends(old_part, new_part)
        edits.add(
            start + prefix,
            len(old_part) - prefix - suffix,
            new_part[prefix : len(new_part) - suffix],
        )


def _gaps(
    old: Sequence[str], new: Sequence[str], blocks: Sequence[_Block], position: int
) -> Iterator[tuple[int, str, str]]:
    """Yield what lies between the blocks: where it starts (the old items begin at `position`), old and new text."""
    old_index = new_index = 0
    for block in (*blocks, _Block(len(old), len(new), 0)):
        old_text = "".join(old[old_index : block.old])
        new_text = "".join(new[new_index : block.new])
        if old_text or new_text:
            yield position, old_text, new_text
        position += len(old_text) + sum(map(len, old[block.old : block.old + block.length]))
        old_index, new_index = block.old + block.length, block.new + block.length


# --- Characters -----------------------------------------------------------------------------------


def _token_pattern(old: str, new: str) -> re.Pattern[str]:
    """Make the pattern that splits both texts into words, blanks and single characters."""
    if old.isascii() and new.isascii():
        return re.compile(rf"\r\n|{WORD}++|.", re.DOTALL)
    marks = "".join(map(re.escape, sorted(filter(_extends, set(old) | set(new)))))
    extend = f"[{marks}{ZERO_WIDTH_JOINER}]"
    flag = REGIONAL_INDICATOR.pattern + "{2}"
    return re.compile(
        rf"\r\n|[\r\n]|{WORD}++(?:{extend}++{WORD}*+)*+|{flag}"
        rf"|.(?:{ZERO_WIDTH_JOINER}[^\r\n]|{extend})*+",
        re.DOTALL,
    )


def _extends(character: str) -> bool:
    """Whether a code point continues the character before it (roughly UAX 29)."""
    return unicodedata.category(character).startswith("M") or bool(EXTENDING.match(character))


def _is_boundary(text: str, position: int) -> bool:
    """Whether a character ends and another one begins at `position`."""
    if not 0 < position < len(text):
        return True
    before, after = text[position - 1], text[position]
    if before in "\r\n":
        return before == "\n" or after != "\n"
    if before == ZERO_WIDTH_JOINER or _extends(after):
        return False
    return not (REGIONAL_INDICATOR.match(before) and REGIONAL_INDICATOR.match(after))


def _common_ends(old: str, new: str) -> tuple[int, int]:
    """How many code points two texts have in common at their beginning and, of the rest, at their end."""
    prefix = _common_prefix(old, new, min(len(old), len(new)))
    snapped = prefix
    for _ in range(CLUSTER_CODE_POINTS_MAX):
        if _is_boundary(old, snapped) and _is_boundary(new, snapped):
            prefix = snapped
            break
        snapped -= 1
    suffix = _common_suffix(old, new, min(len(old), len(new)) - prefix)
    snapped = suffix
    for _ in range(CLUSTER_CODE_POINTS_MAX):
        if _is_boundary(old, len(old) - snapped) and _is_boundary(new, len(new) - snapped):
            suffix = snapped
            break
        snapped -= 1
    return prefix, suffix


def _common_lines(before: str, after: str) -> tuple[int, int]:
    """How many code points of whole lines two texts have in common at their beginning and at their end."""
    shorter = min(len(before), len(after))
    start = before.rfind("\n", 0, _common_prefix(before, after, shorter)) + 1
    end = _common_suffix(before, after, shorter - start)
    line_end = before.find("\n", len(before) - end)
    return start, 0 if line_end < 0 else len(before) - line_end - 1


def _common_prefix(old: str, new: str, limit: int) -> int:
    """Length of the common beginning, at most `limit`, by halving: comparing slices is fast, characters not."""
    known, beyond = 0, limit
    while known < beyond:
        middle = (known + beyond + 1) // 2
        if old[known:middle] == new[known:middle]:
            known = middle
        else:
            beyond = middle - 1
    return known


def _common_suffix(old: str, new: str, limit: int) -> int:
    """Length of the common end, at most `limit`."""
    known, beyond = 0, limit
    while known < beyond:
        middle = (known + beyond + 1) // 2
        old_part = old[len(old) - middle : len(old) - known]
        if old_part == new[len(new) - middle : len(new) - known]:
            known = middle
        else:
            beyond = middle - 1
    return known


# --- Alignment of lines or words ------------------------------------------------------------------


def _align(old: Sequence[str], new: Sequence[str], budget: _Budget) -> list[_Block]:
    """Find blocks of equal items, in order, such that what lies between them is the difference."""
    blocks: list[_Block] = []
    _align_range(old, new, _Range(0, len(old), 0, len(new)), ALIGN_DEPTH_MAX, (budget, blocks))
    return blocks


def _align_range(
    old: Sequence[str],
    new: Sequence[str],
    part: _Range,
    depth: int,
    sink: tuple[_Budget, list[_Block]],
) -> None:
    budget, blocks = sink
    start, end = _common_items(old, new, part)
    if start:
        blocks.append(_Block(part.old, part.new, start))
    rest = _Range(part.old + start, part.old_end - end, part.new + start, part.new_end - end)
    if rest.old < rest.old_end and rest.new < rest.new_end:
        anchors = _anchors(old, new, rest) if depth else []
        if anchors:
            for old_index, new_index in (*anchors, (rest.old_end, rest.new_end)):
                gap = rest._replace(old_end=old_index, new_end=new_index)
                _align_range(old, new, gap, depth - 1, sink)
                if old_index < rest.old_end:
                    blocks.append(_Block(old_index, new_index, 1))
                rest = rest._replace(old=old_index + 1, new=new_index + 1)
        else:
            blocks.extend(_shortest(old, new, rest, budget))
    if end:
        blocks.append(_Block(part.old_end - end, part.new_end - end, end))


def _common_items(old: Sequence[str], new: Sequence[str], part: _Range) -> tuple[int, int]:
    """How many items a passage has in common at its beginning and, of the rest, at its end."""
    shorter = min(part.old_end - part.old, part.new_end - part.new)
    start = 0
    while start < shorter and old[part.old + start] == new[part.new + start]:
        start += 1
    end = 0
    while end < shorter - start and old[part.old_end - end - 1] == new[part.new_end - end - 1]:
        end += 1
    return start, end


def _anchors(old: Sequence[str], new: Sequence[str], part: _Range) -> list[tuple[int, int]]:
    """Find the longest rising sequence of items that occur once in either passage, as pairs of indexes."""
    old_places = _single_places(old, part.old, part.old_end)
    new_places = _single_places(new, part.new, part.new_end)
    pairs = [
        (place, new_places[item])
        for item, place in old_places.items()
        if place >= 0 and new_places.get(item, -1) >= 0
    ]
    tails: list[int] = []  # the smallest new index that ends a rising sequence of each length
    ends: list[int] = []  # the pair that it belongs to
    before: list[int] = []  # the pair that precedes each pair in its sequence
    for index, (_, new_place) in enumerate(pairs):
        length = bisect_left(tails, new_place)
        before.append(ends[length - 1] if length else -1)
        tails[length : length + 1] = [new_place]
        ends[length : length + 1] = [index]
    chain: list[tuple[int, int]] = []
    index = ends[-1] if ends else -1
    while index >= 0:
        chain.append(pairs[index])
        index = before[index]
    return chain[::-1]


def _single_places(items: Sequence[str], start: int, end: int) -> dict[str, int]:
    """Map each item to its index, in order of first occurrence, or to -1 if it occurs more than once."""
    places: dict[str, int] = {}
    for index in range(start, end):
        places[items[index]] = -1 if items[index] in places else index
    return places


def _shortest(
    old: Sequence[str], new: Sequence[str], part: _Range, budget: _Budget
) -> list[_Block]:
    """Align a passage with the fewest deletions and insertions (Myers 1986), or not at all beyond the budget."""
    width, height = part.old_end - part.old, part.new_end - part.new
    reached = {1: 0}  # the furthest x on each diagonal x - y
    history: list[dict[int, int]] = []
    for distance in range(min(width + height, DISTANCE_MAX) + 1):
        history.append(reached.copy())
        budget.steps -= 2 * distance + 1
        if budget.steps < 0:
            return []
        for diagonal in range(-distance, distance + 1, 2):
            down = _goes_down(reached, diagonal, distance)
            first = x = reached[diagonal + 1] if down else reached[diagonal - 1] + 1
            y = x - diagonal
            while x < width and y < height and old[part.old + x] == new[part.new + y]:
                x += 1
                y += 1
            budget.steps -= x - first
            reached[diagonal] = x
            if x >= width and y >= height:
                return _walk_back(history, part, distance)
    return []


def _goes_down(reached: dict[int, int], diagonal: int, distance: int) -> bool:
    """Whether the furthest path on a diagonal comes from the one above: by an insertion."""
    if diagonal in (-distance, distance):
        return diagonal == -distance
    return reached[diagonal - 1] < reached[diagonal + 1]


def _walk_back(history: list[dict[int, int]], part: _Range, distance: int) -> list[_Block]:
    """Read the blocks of equal items off the furthest points of each distance, from the end to the beginning."""
    blocks: list[_Block] = []
    x, y = part.old_end - part.old, part.new_end - part.new
    for step in range(distance, -1, -1):
        reached = history[step]
        diagonal = x - y
        down = _goes_down(reached, diagonal, step)
        came_x = reached[diagonal + 1] if down else reached[diagonal - 1]
        came_y = came_x - (diagonal + 1 if down else diagonal - 1)
        after_x = came_x if down else came_x + 1
        if step == 0:
            came_x = came_y = after_x = 0
        if x > after_x:
            count = x - after_x
            blocks.append(_Block(part.old + after_x, part.new + y - count, count))
        x, y = came_x, came_y
    return blocks[::-1]


# --- Merge ----------------------------------------------------------------------------------------


def _rebase(edits: Sequence[TextEdit], over: Sequence[TextEdit]) -> tuple[TextEdit, ...]:
    """Move edits of a text to what the edits `over` have made of it; those that both have are dropped."""
    done = set(over)
    moved = _Edits()
    index = shift = (
        0  # `over[:index]` end at or before the position looked at, and move it by `shift`
    )
    for edit in edits:
        if edit in done:
            continue
        position, end = edit.position, edit.position + edit.deleted
        while index < len(over) and over[index].position + over[index].deleted <= position:
            shift += len(over[index].inserted) - over[index].deleted
            index += 1
        place = position + shift
        if index < len(over) and over[index].position <= position:
            # What it stands in was replaced: it follows what took the place.
            place += over[index].position - position + len(over[index].inserted)
        moved.add(place, 0, edit.inserted)
        ahead, ahead_shift = index, shift
        while position < end:
            if ahead == len(over) or over[ahead].position >= end:
                moved.add(position + ahead_shift, end - position, "")
                break
            other = over[ahead]
            if position < other.position:
                moved.add(position + ahead_shift, other.position - position, "")
            position = max(position, other.position + other.deleted)
            ahead_shift += len(other.inserted) - other.deleted
            ahead += 1
    return moved.finish()
