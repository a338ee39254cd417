"""Checks of the order in which a store returns operations."""

from collections.abc import Collection, Mapping, Sequence

from domain.identifiers import LogKey
from domain.ports.storage import Arrival


def check_batches_whole(
    arrivals: Sequence[Arrival], batches: Mapping[LogKey, tuple[int, bool]]
) -> None:
    """Check that each batch (a log each) is stored wholly or not at all, surely if it returned."""
    assert [each.index for each in arrivals] == list(range(1, len(arrivals) + 1))
    counts: dict[LogKey, int] = {}
    for arrival in arrivals:
        log = arrival.operation.log
        counts[log] = counts.get(log, 0) + 1
    assert counts.keys() <= batches.keys()
    for log, (size, returned) in batches.items():
        assert counts.get(log, 0) in ({size} if returned else {0, size})


def check_logs_gapless(arrivals: Collection[Arrival]) -> None:
    """Check that each log arrived in its order, from its beginning."""
    heights: dict[LogKey, int] = {}
    for arrival in arrivals:
        operation = arrival.operation
        assert operation.seq_num == heights.get(operation.log, 0)
        heights[operation.log] = operation.seq_num + 1
