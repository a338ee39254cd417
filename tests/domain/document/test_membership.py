"""Documents whose members change: one membership and one document, whatever the order, and nothing honest is lost."""

import random
from typing import Any

import pytest
from hypothesis import given, settings

from domain.crdt.walker import decode_state_vector
from domain.document import Document
from domain.errors import NotPermittedError
from domain.events import DocumentReloaded, EditsRefused
from domain.operations.control import Leave, Remove, Role, SetRole
from domain.operations.kind import Kind
from tests.domain.document.editors import (
    Editor,
    exchange,
    found_editors,
    newcomer,
    read,
)
from tests.strategies import seeds

STEPS = 40
READERS = 5


class Quarrel:
    """Editors that edit, give each other roles, remove each other, and hand on what they have, at random."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.seed = seed
        self.editors = found_editors(self.chance.randint(3, 5), seed)
        founder = self.editors[0]
        for editor in self.editors[1:]:
            if self.chance.random() < 0.6:
                role = self.chance.choice((Role.MANAGE, Role.MANAGE, Role.READ))
                change(founder, SetRole(member=editor.document.key.peer, role=role))
        for editor in self.editors[1:]:
            editor.receive(founder.log)
        for _ in range(STEPS):
            self._step()

    def _step(self) -> None:
        editor, other = self.chance.sample(self.editors, 2)
        match self.chance.randrange(10):
            case 0 if self.chance.random() < 0.5:
                self._change(editor, other)
            case 1 | 2 | 3:
                count = self.chance.randint(0, len(editor.log))
                other.receive(self.chance.sample(editor.log, count))
            case 4 | 5:
                other.receive(editor.log)
            case _:
                editor.edit(self.chance)
                editor.flush()

    def _change(self, editor: Editor, other: Editor) -> None:
        peer = other.document.key.peer
        role = self.chance.choice(tuple(Role))
        body = self.chance.choice(
            (Remove(member=peer), Remove(member=peer), SetRole(member=peer, role=role), Leave())
        )
        try:
            change(editor, body)
        except NotPermittedError:
            return

    def all_operations(self) -> list[Any]:
        return list(
            {one.operation_id: one for editor in self.editors for one in editor.log}.values()
        )


def change(editor: Editor, body: Remove | SetRole | Leave) -> Any:  # noqa: ANN401 - an operation
    kinds = {Remove: Kind.REMOVE, SetRole: Kind.SET_ROLE, Leave: Kind.LEAVE}
    editor.flush()
    return editor.write_control(kinds[type(body)], body)


def outcome(editor: Editor) -> dict[str, Any]:
    document = editor.document
    state = decode_state_vector(document.ydoc.get_state())
    ours = document.pending.client
    return {
        "content": read(editor),
        "members": document.ledger.membership.members(),
        "heights": document.heights,
        "state": {client: clock for client, clock in state.items() if client != ours},
    }


@given(seeds)
@settings(max_examples=40)
def test_any_causal_order_gives_one_membership_and_one_document(seed: int) -> None:
    quarrel = Quarrel(seed)
    operations = quarrel.all_operations()
    expected = None
    for number in range(READERS):
        reader = newcomer(quarrel.editors[0], 20 + number, seed)
        waiting = quarrel.chance.sample(operations, len(operations))
        while waiting:
            size = quarrel.chance.randint(1, 30)
            reader.receive(waiting[:size])
            waiting = waiting[size:]
        assert len(reader.document.gate) == 0
        expected = expected or outcome(reader)
        assert outcome(reader) == expected
    assert outcome(newcomer_who_is_told(quarrel)) == expected


def newcomer_who_is_told(quarrel: Quarrel) -> Editor:
    """Somebody who gets from an editor that has everything only what that one tells others."""
    whole = newcomer(quarrel.editors[0], 30, quarrel.seed)
    whole.receive(quarrel.all_operations())
    heights = whole.document.heights
    told = [
        one
        for one in whole.log
        if one.log in heights and one.header.seq_num < heights[one.log].count
    ]
    reader = newcomer(quarrel.editors[0], 31, quarrel.seed)
    assert len(reader.receive(told).entered) == len(told)
    return reader


@given(seeds)
@settings(max_examples=25)
def test_editors_end_alike_and_come_up_again_alike(seed: int) -> None:
    quarrel = Quarrel(seed)
    exchange(quarrel.editors)
    exchange(quarrel.editors)
    first = outcome(quarrel.editors[0])
    for editor in quarrel.editors:
        assert outcome(editor)["content"] == first["content"]
        assert outcome(editor)["heights"] == first["heights"]
        again = editor.reopened()
        assert read(again) == read(editor)
        snapshot = editor.document.snapshot()
        assert snapshot is not None
        old = editor.document
        restored = Document(old.key, old.document, old.record, old.keyring)
        restored.restore(snapshot)
        restored.open_ydoc()
        assert restored.ledger.membership.members() == first["members"]


def three() -> list[Editor]:
    return found_editors(3)


def test_removed_text_goes_and_honest_text_inside_it_stays() -> None:
    founder, removed, honest = three()
    removed.text.insert(0, "void words")
    void = removed.flush()
    honest.receive(void)
    honest.text.insert(5, "KEPT")
    kept = honest.flush()
    assert str(honest.text) == "void KEPTwords"
    change(founder, Remove(member=removed.document.key.peer))
    exchange([founder, removed, honest])
    for editor in (founder, removed, honest):
        assert str(editor.text) == "KEPT"
    late = newcomer(founder, 9)
    late.receive([*kept, *founder.log])
    assert str(late.text) == "KEPT"


def test_removed_text_on_which_nothing_builds_is_neither_applied_nor_told() -> None:
    founder, removed, honest = three()
    removed.text.insert(0, "seen")
    founder.receive(removed.flush())
    change(founder, Remove(member=removed.document.key.peer))
    removed.text.insert(4, " unseen")
    unseen = removed.flush()
    for reader in (founder, honest):
        reader.receive([*removed.log, *founder.log])
        assert str(reader.text) == "seen"
        assert reader.document.heights[removed.content_log].count == 1
        assert reader.document.stored[removed.content_log].count == 1 + len(unseen)
        state = decode_state_vector(reader.document.ydoc.get_state())
        assert state[removed.document.pending.client] == len("seen")


def test_deletion_by_the_removed_is_undone() -> None:
    founder, removed, honest = three()
    founder.text.insert(0, "honest words")
    founder.flush()
    exchange([founder, removed, honest])
    del removed.text[0:12]
    removed.text.insert(0, "x")
    honest.receive(removed.flush())
    assert str(honest.text) == "x"
    honest.text.insert(1, "!")
    honest.flush()
    change(founder, Remove(member=removed.document.key.peer))
    exchange([founder, removed, honest])
    for editor in (founder, removed, honest):
        assert str(editor.text).replace("!", "") == "honest words"


def test_formatting_by_the_removed_is_undone_where_something_builds_on_it() -> None:
    founder, removed, honest = three()
    founder.text.insert(0, "plain")
    founder.flush()
    exchange([founder, removed, honest])
    removed.text.format(0, 5, {"bold": True})
    honest.receive(removed.flush())
    honest.text.insert(5, " more")
    honest.flush()
    change(founder, Remove(member=removed.document.key.peer))
    exchange([founder, removed, honest])
    for editor in (founder, removed, honest):
        assert str(editor.text) == "plain more"
        assert not any(attributes for _, attributes in editor.text.diff())


def test_map_key_written_by_the_removed_is_gone_everywhere() -> None:
    founder, removed, honest = three()
    founder.map["kept"] = 1
    founder.flush()
    exchange([founder, removed, honest])
    removed.map["void"] = 2
    honest.receive(removed.flush())
    honest.map["after"] = 3
    honest.flush()
    change(founder, Remove(member=removed.document.key.peer))
    exchange([founder, removed, honest])
    for editor in (founder, removed, honest):
        assert editor.map.to_py() == {"kept": 1, "after": 3}


def test_document_says_that_it_was_reloaded_and_that_we_may_not_write() -> None:
    founder, removed, _ = three()
    removed.text.insert(0, "mine")
    removed.flush()
    founder.receive([one for one in removed.log if one.author != removed.document.key.peer])
    change(founder, Remove(member=removed.document.key.peer))
    before = removed.document.ydoc
    removed.receive(founder.log)
    assert removed.document.role is None
    assert removed.document.ydoc is not before
    assert any(isinstance(event, DocumentReloaded) for event in removed.document.events)
    removed.document.events.clear()
    removed.text.insert(0, "more")
    assert removed.flush() == []
    refused = [one for one in removed.document.events if isinstance(one, EditsRefused)]
    assert len(refused) == 1
    assert len(refused[0].updates) == 1
    assert str(removed.text) == ""
    with pytest.raises(NotPermittedError, match="no member"):
        change(removed, Leave())


def test_what_is_not_allowed_is_never_signed() -> None:
    founder, member, other = three()
    peers = [editor.document.key.peer for editor in (founder, member, other)]
    for body in (Remove(member=peers[2]), SetRole(member=peers[1], role=Role.MANAGE)):
        with pytest.raises(NotPermittedError, match="ask somebody who manages"):
            change(member, body)
    with pytest.raises(NotPermittedError, match="give another member the role manage first"):
        change(founder, Leave())
    for editor in (founder, member):
        assert editor.reopened().document.heights == editor.document.heights
