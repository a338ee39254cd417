"""Editors who edit, give each other roles and remove each other at the same time: histories made from a seed."""

import random
from typing import Any

from domain.crdt.walker import decode_state_vector
from domain.errors import NotPermittedError
from domain.operations.control import Leave, Remove, Role, SetRole
from domain.operations.kind import Kind
from tests.domain.document.editors import Editor, found_editors, read

STEPS = 40


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
