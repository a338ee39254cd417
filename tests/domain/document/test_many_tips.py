"""Who finds more open ends than an operation may list builds at least on what its own role hangs on."""

import pytest

from domain.operations.kind import Kind
from tests.domain.document.editors import found_editors, newcomer
from tests.strategies import key


@pytest.mark.parametrize("seed", range(3))
def test_first_operation_of_a_newcomer_counts(seed: int) -> None:
    founder, *others = editors = found_editors(72, seed)
    [invite] = [one for one in founder.log if one.extension.kind == Kind.INVITE]
    before = list(founder.log)
    for number, editor in enumerate(others):
        editor.text.insert(0, f"{number} ")
        editor.flush()
    founder.admit(key(200), invite.operation_id)
    late = newcomer(founder, 200, seed)
    late.team = editors
    late.receive(founder.log)
    for editor in others:
        late.receive(editor.log[len(before) :])
    late.text.insert(0, "late ")
    written = late.flush()
    assert len(written) > 1, "it had to merge first"
    for editor in others:
        founder.receive(editor.log[len(before) :])
    founder.receive(written)
    assert founder.document.heights[late.content_log].count == len(written)
    assert str(founder.text).count("late") == 1
