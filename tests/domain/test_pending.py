"""Which of the edits that were ever made were refused."""

from hypothesis import given
from hypothesis import strategies as st

from domain.limits import REFUSALS_KEPT_MAX
from domain.pending import PendingEdits

UPDATE = b"\1\1\1\0\0"


@given(st.lists(st.sampled_from(["take", "stage", "refuse"]), max_size=40))
def test_refused_are_counted_exactly(steps: list[str]) -> None:
    pending, fates = PendingEdits(1), list[str]()
    for step in steps:
        if step == "take":
            pending.take(UPDATE)
            fates.append("waits")
        elif step == "stage":
            pending.next_group()
            fates = ["staged" if fate == "waits" else fate for fate in fates]
        else:
            refused = pending.refuse(())
            assert len(refused) == fates.count("waits")
            fates = ["refused" if fate == "waits" else fate for fate in fates]
    assert pending.staged_count == len(fates) - fates.count("waits")
    for first in range(len(fates) + 1):
        for end in range(first, len(fates) + 1):
            assert pending.count_refused(first, end) == fates[first:end].count("refused")


def test_refusals_that_are_long_ago_become_one() -> None:
    pending = PendingEdits(1)
    for _ in range(3 * REFUSALS_KEPT_MAX):
        pending.take(UPDATE)
        pending.refuse(())
        pending.take(UPDATE)
        pending.next_group()
    assert len(pending.refused) <= REFUSALS_KEPT_MAX
    assert pending.count_refused(pending.total_count - 4, pending.total_count) == 2
    assert pending.count_refused(0, 1) == 1
