"""A device that gives places in its logs to several operations: all who hear of both agree, and nothing honest is lost.

`CULM_TEST_HISTORIES` says how many histories; a battery makes 2,000 of them.
"""

import copy
import os
from typing import Any

from hypothesis import given, settings

from domain.document import Document
from domain.operations.control import Remove, Role, SetRole
from domain.operations.operation import Operation
from tests.domain.document.editors import Editor, exchange, found_editors, newcomer, read
from tests.domain.document.quarrel import Quarrel, change, outcome
from tests.strategies import SeededEntropy, seeds

HISTORIES = int(os.environ.get("CULM_TEST_HISTORIES", "12"))
READERS = 5


def twin_of(editor: Editor, number: int = 0) -> Editor:
    """The same device a second time, with the same keys and logs: what both write from now on are forks."""
    old = editor.document
    document = Document(old.key, old.document, old.record, copy.deepcopy(old.keyring))
    twin = Editor(document, SeededEntropy(("twin", number, len(editor.log))))
    twin.now_us, twin.log, twin.team = editor.now_us, list(editor.log), editor.team
    twin.replay()
    return twin


class Equivocation(Quarrel):
    """A quarrel in which some are two or three that look like one, and never notice."""

    def _step(self) -> None:
        if self.chance.random() < 0.1 and len(self.editors) < 8:
            twin = twin_of(self.chance.choice(self.editors), len(self.editors))
            self.editors.append(twin)
            twin.team.append(twin)
        super()._step()


def delivered(quarrel: Quarrel, operations: list[Operation], number: int) -> Editor:
    """Somebody who gets everything in any order and in batches of any size, again and again until all is in."""
    reader = newcomer(quarrel.editors[0], number, quarrel.seed)
    for _ in range(20):
        waiting = quarrel.chance.sample(operations, len(operations))
        while waiting:
            size = quarrel.chance.randint(1, 30)
            reader.receive(waiting[:size])
            waiting = waiting[size:]
        if len(reader.log) == len(operations):
            break
    assert len(reader.log) == len(operations)
    assert len(reader.document.gate) == 0
    return reader


@given(seeds)
@settings(max_examples=HISTORIES)
def test_any_causal_order_gives_one_membership_and_one_document(seed: int) -> None:
    quarrel = Equivocation(seed)
    operations = quarrel.all_operations()
    expected: dict[str, Any] | None = None
    for number in range(READERS):
        reader = delivered(quarrel, operations, 20 + number)
        expected = expected or outcome(reader)
        assert outcome(reader) == expected
        again = reader.reopened()
        assert read(again) == read(reader)
        assert again.document.heights == reader.document.heights


@given(seeds)
@settings(max_examples=8)
def test_editors_end_alike_whatever_they_saw_first(seed: int) -> None:
    quarrel = Equivocation(seed)
    for _ in range(
        6
    ):  # who learns of a fork of its own logs writes in new ones, which the others hear of next
        exchange(quarrel.editors)
    expected = read(quarrel.editors[0])
    members = quarrel.editors[0].document.ledger.membership.members()
    for editor in quarrel.editors:
        assert editor.document.heights == quarrel.editors[0].document.heights
        assert editor.document.ledger.membership.members() == members
        assert read(editor) == expected


def fork_of(writer: Editor, *readers: Editor) -> None:
    """Let a device write one thing for each reader, at the same place."""
    for number, reader in enumerate(readers):
        twin = twin_of(writer, number)
        twin.text.insert(len(str(twin.text)), f"<{number}>")
        reader.receive(twin.flush())


def test_text_inside_of_either_branch_survives_and_stays_where_it_was() -> None:
    founder, writer, *readers = found_editors(4)
    writer.text.insert(0, "begun ")
    writer.flush()
    exchange([founder, writer, *readers])
    fork_of(writer, *readers)
    for number, reader in enumerate(readers):
        reader.text.insert(7, f"kept {number}")
        reader.flush()
    exchange([founder, *readers])
    exchange([founder, *readers])
    text = str(founder.text)
    assert "<kept 00>" in text
    assert "<kept 11>" in text
    assert text.startswith("begun ")
    assert {str(reader.text) for reader in readers} == {text}
    change(founder, Remove(member=writer.document.key.peer))
    exchange([founder, *readers])
    assert {str(reader.text) for reader in readers} == {text}


def test_what_a_manager_does_in_either_branch_counts() -> None:
    founder, manager, first, second = found_editors(4)
    peers = [each.document.key.peer for each in (first, second)]
    change(founder, SetRole(member=manager.document.key.peer, role=Role.MANAGE))
    manager.receive(founder.log)
    for reader in (first, second):
        reader.receive(founder.log)
    for number, reader in enumerate((first, second)):
        twin = twin_of(manager, number)
        change(twin, SetRole(member=peers[number], role=Role.READ))
        reader.receive(twin.log)
    exchange([founder, first, second])
    exchange([founder, first, second])
    for each in (founder, first, second):
        members = each.document.ledger.membership.members()
        assert [members[peer] for peer in peers] == [Role.READ, Role.READ]
        assert members[manager.document.key.peer] == Role.MANAGE


def test_a_late_rival_of_the_removed_takes_nothing_from_others() -> None:
    founder, manager, member = found_editors(3)
    change(founder, SetRole(member=manager.document.key.peer, role=Role.MANAGE))
    manager.receive(founder.log)
    rival = twin_of(manager)
    change(manager, SetRole(member=member.document.key.peer, role=Role.MANAGE))
    exchange([founder, manager, member])
    member.text.insert(0, "honest")
    member.flush()
    exchange([founder, manager, member])
    change(founder, Remove(member=manager.document.key.peer))
    change(rival, Remove(member=member.document.key.peer))
    for editor in (founder, member):
        editor.receive([*rival.log, *founder.log, *member.log])
        assert len(editor.document.ledger.forks.logs) == 1
        assert str(editor.text) == "honest"
        members = editor.document.ledger.membership.members()
        assert members[member.document.key.peer] == Role.MANAGE
