"""A device that was restored from a backup: what it had written comes back, what it writes now stays."""

import random
from typing import Any

from hypothesis import example, given
from pycrdt import Doc, Text

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


@given(seeds)
def test_what_was_imported_before_and_after_the_backup_is_kept(seed: int) -> None:
    """Structs of a source have its client id, which the writer has claimed for a log that it leaves."""
    chance = random.Random(seed)
    founder, writer = found_editors(2, seed)
    source = Doc[Any](client_id=4_711)
    words = source.get("text", type=Text)

    def import_more(editor: Editor, word: str) -> None:
        words.insert(0, f"{word} ")
        update = source.get_update(editor.document.ydoc.get_state())
        editor.document.check_import(update)
        editor.document.ydoc.apply_update(update)

    import_more(writer, "first")
    writer.flush()
    backup = writer.reopened()
    if chance.random() < 0.7:
        writer.text.insert(0, "lost ")
        writer.flush()
    founder.receive(writer.log)
    import_more(backup, "second")
    if chance.random() < 0.5:
        backup.flush()
    backup.text.insert(3, "typed ")
    backup.receive(founder.log)
    backup.flush()
    exchange([founder, backup])
    assert read(backup) == read(founder)
    assert read(backup.reopened()) == read(backup)
    assert {"first", "second"} <= set(str(founder.text).replace("typed ", "").split())
