"""A device that was restored from a backup: what it had written comes back, what it writes now stays."""

import random

from hypothesis import example, given

from tests.domain.document.editors import Editor, exchange, found_editors, read
from tests.strategies import seeds


def write(editor: Editor, mark: int, chance: random.Random) -> None:
    """Write a mark, in the map or in the text."""
    if chance.random() < 0.3:
        editor.map[f"m{mark}"] = str(mark)
    else:
        editor.text.insert(0, f"<{mark}>")


@given(seeds)
@example(1)
def test_edits_that_wait_while_operations_come_back_are_kept(seed: int) -> None:
    chance = random.Random(seed)
    founder, writer = found_editors(2, seed)
    for mark in range(chance.randrange(4)):
        write(writer, mark, chance)
        writer.flush()
    backup = writer.reopened()
    for mark in range(10, 10 + chance.randint(1, 4)):
        write(writer, mark, chance)
        writer.flush()
        founder.receive(writer.log)
        founder.edit(chance)
        founder.flush()
        writer.receive(founder.log)
    founder.receive(writer.log)
    marks = {str(mark) for mark in range(20, 20 + chance.randint(1, 6))}
    sent = founder.log[len(backup.log) :]
    for name in sorted(marks):
        write(backup, int(name), chance)
        count = chance.randrange(3)
        backup.receive(sent[:count])
        sent = sent[count:]
    backup.receive(founder.log)
    backup.flush()
    exchange([founder, backup])
    assert read(backup) == read(founder)
    assert read(backup.reopened()) == read(backup)
    everything = str(read(founder))
    assert {mark for mark in marks if mark in everything} == marks
