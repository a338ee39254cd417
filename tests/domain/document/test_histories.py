"""Any history of membership and content, in any causal order, gives one membership and one document.

`CULM_TEST_HISTORIES` says how many histories; a battery makes 20,000 of them.
"""

import os

from hypothesis import given, settings

from tests.domain.document.editors import Editor, newcomer
from tests.domain.document.quarrel import Quarrel, outcome
from tests.strategies import seeds

HISTORIES = int(os.environ.get("CULM_TEST_HISTORIES", "30"))
READERS = 5


@given(seeds)
@settings(max_examples=HISTORIES)
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
