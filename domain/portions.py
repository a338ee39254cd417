"""Edits of a text in portions: how many there may be at once, and where to cut, so that none takes long.

It does not know who makes the edits or stores them. What it keeps: however the edits are joined or cut, they turn
the text into the same one.
"""

import heapq
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

from domain.limits import PORTION_BYTES_MAX, PORTION_EDITS_MAX, TEXT_EDITS_MAX
from domain.ports.mirror import TextEdit

_EDIT_BYTES: Final = 64  # what an edit costs in an update besides the text that it inserts


def coarsened(
    text: str, edits: Sequence[TextEdit], count_max: int = TEXT_EDITS_MAX
) -> tuple[TextEdit, ...]:
    """Join neighbours into one replaced passage until there are at most `count_max` edits of `text`.

    Half of the count is spread evenly, so that no passage has too many of them. The other half keeps apart what is
    furthest apart, so that little is replaced that has not changed.
    """
    if len(edits) <= count_max:
        return tuple(edits)
    run = -(-len(edits) // max(1, count_max // 2))
    starts = set(range(0, len(edits), run))
    gaps = ((_gap(edits, index), index) for index in range(1, len(edits)) if index not in starts)
    starts.update(index for _, index in heapq.nlargest(count_max - len(starts), gaps))
    bounds = [*sorted(starts), len(edits)]
    return tuple(_join(text, edits[first:end]) for first, end in pairwise(bounds))


def portions(
    edits: Sequence[TextEdit],
    *,
    bytes_max: int = PORTION_BYTES_MAX,
    count_max: int = PORTION_EDITS_MAX,
) -> Iterator[tuple[TextEdit, ...]]:
    """Cut edits of a text into portions that are made one after the other, first to last.

    Each portion has at most `count_max` edits and about `bytes_max` bytes; its positions are those of the text that
    the portions before it have made. A long insertion is cut after a line feed where there is one.
    """
    portion: list[TextEdit] = []
    room = bytes_max
    shift = 0  # by how much the portions before this one have moved what follows them
    for edit in edits:
        position, deleted, rest = edit.position, edit.deleted, edit.inserted
        while deleted or rest:
            head = _head(rest, room - _EDIT_BYTES)
            if portion and (len(portion) == count_max or (rest and not head)):
                shift += sum(len(each.inserted) - each.deleted for each in portion)
                yield tuple(portion)
                portion, room = [], bytes_max
                continue
            head = head or rest[:1]
            portion.append(TextEdit(position=position + shift, deleted=deleted, inserted=head))
            room -= _EDIT_BYTES + len(head.encode("utf-8", "surrogatepass"))
            position, deleted, rest = edit.position + edit.deleted, 0, rest[len(head) :]
            if rest:
                room = 0  # it was cut: the next piece stands in the text that this one has made
    if portion:
        yield tuple(portion)


def _gap(edits: Sequence[TextEdit], index: int) -> int:
    """How many code points stay between an edit and the one before it."""
    before = edits[index - 1]
    return edits[index].position - before.position - before.deleted


def _join(text: str, edits: Sequence[TextEdit]) -> TextEdit:
    """Make one edit of several neighbours."""
    first, last = edits[0], edits[-1]
    parts: list[str] = []
    position = first.position
    for edit in edits:
        parts += text[position : edit.position], edit.inserted
        position = edit.position + edit.deleted
    end = last.position + last.deleted
    return TextEdit(position=first.position, deleted=end - first.position, inserted="".join(parts))


def _head(text: str, bytes_max: int) -> str:
    """Take the beginning of a text that has at most so many bytes, up to a line feed if it must be cut."""
    head = text[: max(0, bytes_max)]
    if not head.isascii():
        data = head.encode("utf-8", "surrogatepass")
        end = min(len(data), bytes_max)
        while end < len(data) and data[end] & 0xC0 == 0x80:  # noqa: PLR2004 - inside of a character
            end -= 1
        head = data[:end].decode("utf-8", "surrogatepass")
    if len(head) == len(text):
        return head
    return head[: head.rfind("\n") + 1] or head
