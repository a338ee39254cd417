"""Operations that build on what never comes take no more memory than the gate has for them, however many they are.

`CULM_TEST_ORPHANS` says how many are sent; a battery sends a million.
"""

import os
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import pytest

from domain import limits
from domain.identifiers import OperationId
from domain.operations.kind import Kind
from domain.operations.operation import Operation
from tests.domain.ledger.devices import Device, found_team

ORPHANS: Final = int(os.environ.get("CULM_TEST_ORPHANS", "30000"))
BATCH: Final = 256
MEMORY_BYTES_MAX: Final = 24 * limits.MIB  # 4,096 operations of a few KB, and what finds them


def operation_id(number: int) -> OperationId:
    return OperationId(number.to_bytes(OperationId.LENGTH, "big"))


def orphans(hostile: Device, *, with_gaps: bool) -> Iterator[list[Operation]]:
    """Operations whose past never comes: each builds on another one that nobody has, or leaves a gap in its log."""
    template = hostile.draft(Kind.UPDATE, b"body")
    for first in range(0, ORPHANS, BATCH):
        batch = []
        for number in range(first, min(first + BATCH, ORPHANS)):
            extension = replace(template.extension, previous=(operation_id(2**64 + number),))
            header = replace(template.header, seq_num=number + 5 if with_gaps else 0)
            made = replace(
                template, operation_id=operation_id(number), header=header, extension=extension
            )
            batch.append(made)
        yield batch


@pytest.mark.timeout(900)
@pytest.mark.parametrize("with_gaps", [False, True])
def test_orphans_without_number_are_bounded_and_stop_nobody(*, with_gaps: bool) -> None:
    [founder, hostile], written = found_team(2)
    victim = Device(3, founder.document)
    victim.take(written)
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    for batch in orphans(hostile, with_gaps=with_gaps):
        admitted = victim.take(batch)
        assert not admitted.entered
        assert not admitted.refused
        assert len(victim.gate) <= limits.PARKED_OPERATIONS_MAX
    after, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert max(after, peak) - before < MEMORY_BYTES_MAX
    assert victim.gate.dropped == ORPHANS - limits.PARKED_OPERATIONS_MAX
    assert len(victim.gate.waiting_for()) <= limits.PARKED_OPERATIONS_MAX
    honest = founder.write(Kind.UPDATE, b"honest")
    assert victim.take([honest]).entered == [honest]
