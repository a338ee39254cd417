"""What one step of an owner stores, and who is told of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from domain.identifiers import OperationId, PeerId
from domain.operations.operation import Operation


@dataclass(slots=True)
class Batch:
    """What one step stores: our own operations, those of others, and who sent the latter."""

    staged: list[Operation] = field(default_factory=list)
    entered: list[Operation] = field(default_factory=list)
    sources: dict[OperationId, PeerId] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """Whether there is something to store."""
        return bool(self.staged or self.entered)


CommitListener = Callable[[Sequence[Operation], Mapping[OperationId, PeerId]], None]
"""Told of operations that are now durable, and who sent each, as far as that is known."""
