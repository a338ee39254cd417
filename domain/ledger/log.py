"""What is kept in memory of one log: its end, and what its operations build on in other logs.

A branch of a forked log is a log as well. Its numbers go on from those of what it branched from.
"""

from bisect import bisect_left
from collections.abc import Iterable
from typing import Self

from domain import codec, limits
from domain.identifiers import LogId, LogKey, OperationId, PeerId, SecretId
from domain.ledger.reach import Reach, Vector


class LogState:
    """One log of a document.

    Args:
        slot: The number of the log in this ledger (in order of appearance, so it differs from replica to replica).
        key: Whose log it is, and which.
        is_content: Whether it holds content, or control operations.
        root: The log that its headers name: itself, unless it is a branch.
    """

    __slots__ = (
        "_reach",
        "_secrets",
        "base",
        "count",
        "is_content",
        "key",
        "parent",
        "root",
        "slot",
        "timestamp",
        "tip",
    )

    def __init__(
        self,
        slot: int,
        key: LogKey,
        *,
        is_content: bool,
        root: LogKey,
    ) -> None:
        self.slot = slot
        self.key = key
        self.is_content = is_content
        self.root = root
        self.base = 0
        """The sequence number of its first operation."""
        self.parent: int | None = None
        """The slot of what it branched from; None also for a branch that begins with the log."""
        self.count = 0
        """The sequence number of the next operation."""
        self.tip: OperationId | None = None
        self.timestamp = 0
        self._secrets: list[tuple[int, SecretId]] = []
        self._reach = Reach(slot)

    def go_on_from(self, parent: "LogState") -> None:
        """Begin where another ends, of which this is a branch."""
        self.parent, self.base, self.count = parent.slot, parent.count, parent.count
        self.timestamp = parent.timestamp
        if parent.secret is not None:
            self._secrets.append((self.base - 1, parent.secret))

    @property
    def is_branch(self) -> bool:
        """Whether its log forked, and it is one of the branches."""
        return self.key != self.root

    def vector_before(self, count: int) -> Vector:
        """Give the causal past of the first `count` operations, themselves included."""
        vector = self._reach.before(count)
        if count:
            vector[self.slot] = count
        return vector

    def heights_before(self, count: int, slots: Iterable[int]) -> Vector:
        """Give `vector_before(count)` for some logs alone; the log itself is not among them."""
        return self._reach.before_of(count, slots)

    def steps_of(self, slots: Iterable[int]) -> list[int]:
        """List the first operation, and those that are the first to build on more of some logs; ascending."""
        return sorted({self.base, *self._reach.steps_of(slots)})

    def first_that_reaches(self, slot: int, height: int) -> int:
        """Find the first operation that builds on so many of another log; the count of this one where none does."""
        return self._reach.first_at(slot, height, self.count)

    @property
    def secret(self) -> SecretId | None:
        """The secret that seals the last operation."""
        return self._secrets[-1][1] if self._secrets else None

    def secret_before(self, count: int) -> SecretId | None:
        """Give the secret that operation `count` uses if it names none: that of the operation before."""
        index = bisect_left(self._secrets, count, key=lambda entry: entry[0])
        return self._secrets[index - 1][1] if index else None

    def append(
        self, operation_id: OperationId, timestamp: int, secret: SecretId | None, vector: Vector
    ) -> None:
        """Take the next operation; `vector` is its causal past, itself included."""
        seq_num = self.count
        self._reach.extend(seq_num, vector)
        self.count = seq_num + 1
        self.tip = operation_id
        self.timestamp = timestamp
        if secret is not None:
            self._secrets.append((seq_num, secret))

    def to_value(self) -> codec.Value:
        """Give what `from_value` reads."""
        return (
            self.key.author,
            self.key.log_id,
            self.is_content,
            self.count,
            self.tip,
            self.timestamp,
            self._secrets,
            self._reach.to_value(),
            self.root.log_id,
            self.base,
            self.parent,
        )

    @classmethod
    def from_value(cls, slot: int, value: object) -> Self:
        """Read what `to_value` gave."""
        author, log_id, is_content, *state, root, base, parent = codec.take_list(value, maximum=11)
        count, tip, timestamp, secrets, reach = state
        peer = PeerId(codec.take_bytes(author, maximum=32))
        log = cls(
            slot,
            LogKey(peer, LogId(codec.take_bytes(log_id, maximum=32))),
            is_content=codec.take_bool(is_content),
            root=LogKey(peer, LogId(codec.take_bytes(root, maximum=32))),
        )
        log.base = codec.take_int(base, maximum=limits.SEQ_NUM_MAX)
        log.parent = None if parent is None else codec.take_int(parent, maximum=slot - 1)
        log.count = codec.take_int(count, maximum=limits.SEQ_NUM_MAX + 1)
        log.tip = None if tip is None else OperationId(codec.take_bytes(tip, maximum=32))
        log.timestamp = codec.take_int(timestamp, maximum=limits.TIMESTAMP_MAX)
        for entry in codec.take_list(secrets, maximum=2**32):
            seq_num, secret = codec.take_list(entry, maximum=2)
            log._secrets.append(
                (
                    codec.take_int(seq_num, maximum=limits.SEQ_NUM_MAX),
                    SecretId(codec.take_bytes(secret, maximum=32)),
                )
            )
        log._reach = Reach.from_value(slot, reach)
        return log
