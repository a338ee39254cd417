"""What is moved to another client id says the same."""

import random
from typing import Any

from hypothesis import given
from pycrdt import Doc, Text

from domain.crdt.reissue import rename
from domain.crdt.walker import walk_update
from tests.domain.document.editors import Editor, content
from tests.strategies import seeds

OLD, NEW = 77, 78


class Desk(Editor):
    """An editor whose document is a bare one."""

    def __init__(self, ydoc: "Doc[Any]") -> None:
        self.ydoc = ydoc

    @property
    def document(self) -> "Desk":  # type: ignore[override]
        return self


@given(seeds)
def test_moved_edits_make_the_same_document(seed: int) -> None:
    chance = random.Random(seed)
    shared = Doc[Any](client_id=1)
    for _ in range(5):
        Desk(shared).edit(chance)
    mine = Doc[Any](client_id=OLD)
    mine.apply_update(shared.get_update())
    desk = Desk(mine)
    for _ in range(chance.randrange(4)):
        desk.edit(chance)
    before = mine.get_update()
    since = walk_clock(before)
    updates: list[bytes] = []
    subscription = mine.observe(lambda event: updates.append(event.update))
    for _ in range(6):
        desk.edit(chance)
    mine.unobserve(subscription)
    other = Doc[Any](client_id=NEW)
    other.apply_update(before)
    for update in updates:
        moved = rename(update, {OLD: [(since, NEW)]})
        assert OLD not in {section.client for section in walk_update(moved).sections}
        other.apply_update(moved)
    assert content(other) == content(mine)


def walk_clock(state: bytes) -> int:
    ends = {section.client: section.end for section in walk_update(state).sections}
    return ends.get(OLD, 0)


def test_range_of_deletions_over_the_border_is_split() -> None:
    doc = Doc[Any](client_id=OLD)
    doc["text"] = text = Text("old")
    since = walk_clock(doc.get_update())
    before = doc.get_update()
    text.insert(3, "new")
    updates = []
    subscription = doc.observe(lambda event: updates.append(event.update))
    del text[0:6]
    doc.unobserve(subscription)
    moved = walk_update(rename(updates[0], {OLD: [(since, NEW)]}))
    assert moved.deletes == {OLD: 3, NEW: 3}
    assert walk_update(before).deletes == {}
