"""What has to hold in every scenario. A checker gives a list of complaints: none means that it holds."""

import logging
from abc import abstractmethod
from collections.abc import Collection, Sequence
from typing import Any, Final, Protocol

from domain import limits
from domain.identifiers import OperationId, PeerId, Position
from domain.ledger.claim import client_id
from domain.operations.operation import decode_header
from node import Document
from node.owner import DocumentOwner
from tests.simulation.edit import content, marks
from tests.simulation.member import Member

SHOWN_CHARACTERS_MAX: Final = 300


class Checker(Protocol):
    """Looks at the members when all is well."""

    @abstractmethod
    def check(self, members: Sequence[Member]) -> list[str]:
        """Complain about what does not hold."""


class EqualReplicas:
    """All replicas show the same, and have the same state vector.

    Args:
        without: A device whose part of the state vectors may differ: not all replicas have what does not count of it.
    """

    def __init__(self, without: PeerId | None = None) -> None:
        self._without = without

    def check(self, members: Sequence[Member]) -> list[str]:
        complaints = []
        first, *others = members
        assert first.document is not None
        expected = self._content(first.document)
        for other in others:
            assert other.document is not None
            found = self._content(other.document)
            complaints += [
                f"{other.name} and {first.name} differ in {part}: "
                f"{_difference(repr(found[part]), repr(expected[part]))}"
                for part in expected
                if found[part] != expected[part]
            ]
        return complaints

    def _content(self, document: Document) -> dict[str, Any]:
        found = content(document)
        ledger = document._owner.document.ledger
        for log in ledger.heights():
            if log.author == self._without:
                found["state"].pop(client_id(log), None)
        return found


class NothingLost:
    """Every edit that was said to be on disk is in every replica, once.

    Args:
        repeating: Members whose edits may come twice: what a restored device had shown to others it may write again.
    """

    def __init__(self, repeating: frozenset[str] = frozenset()) -> None:
        self._repeating = repeating

    def check(self, members: Sequence[Member]) -> list[str]:
        acknowledged = set().union(*(member.acknowledged for member in members))
        complaints = []
        for member in members:
            assert member.document is not None
            found = marks(member.document)
            lost = sorted(acknowledged.difference(found))
            if lost:
                complaints.append(f"{member.name} has lost {len(lost)} edits, {lost[0]} first")
            once = [mark for mark in found if mark[1:].rstrip("0123456789>") not in self._repeating]
            if len(once) != len(set(once)):
                complaints.append(f"{member.name} has an edit twice")
        return complaints


class SoundLogs:
    """On each disk logs are without gaps, and each operation follows the one before; no place is given to two.

    Args:
        without: Devices that give places to two.
    """

    def __init__(self, without: Collection[PeerId] = ()) -> None:
        self._taken: dict[Position, OperationId] = {}
        self._without = without

    def check(self, members: Sequence[Member]) -> list[str]:
        return [complaint for member in members for complaint in self._check_disk(member)]

    def _check_disk(self, member: Member) -> list[str]:
        complaints = []
        for ledger in member.machine.disk.content.ledgers.values():
            ends: dict[object, tuple[int, OperationId | None]] = {}
            for operation in ledger.operations:
                if operation.log.author in self._without:
                    continue
                count, tip = ends.get(operation.log, (0, None))
                header = decode_header(operation.header)
                if operation.seq_num != count or header.backlink != tip:
                    complaints.append(f"{member.name} stores a gap before {operation.seq_num}")
                ends[operation.log] = (operation.seq_num + 1, operation.operation_id)
                complaints += self._take(operation.log, operation.seq_num, operation.operation_id)
        return complaints

    def _take(self, log: object, seq_num: int, operation_id: OperationId) -> list[str]:
        position = Position(log, seq_num)  # type: ignore[arg-type]
        if self._taken.setdefault(position, operation_id) != operation_id:
            return [f"a fork: number {seq_num} of a log was given to two operations"]
        return []


class Bounds:
    """What waits in memory stays within its bounds; call `look` often."""

    def __init__(self) -> None:
        self.complaints: list[str] = []
        self.inbox_max = 0

    def look(self, members: Sequence[Member]) -> None:
        for member in members:
            if member.node is not None:
                for owner in member.node._documents:
                    self._look_at(member, owner)

    def _look_at(self, member: Member, owner: DocumentOwner) -> None:
        self.inbox_max = max(self.inbox_max, len(owner.inbox))
        found = {
            "inbox": (len(owner.inbox), limits.INBOX_OPERATIONS_MAX),
            "inbox bytes": (
                owner.inbox._bytes,
                limits.INBOX_BYTES_MAX + limits.BODY_BYTES_MAX,
            ),
            "parked": (len(owner.document.gate), limits.PARKED_OPERATIONS_MAX),
        }
        for what, (size, bound) in found.items():
            if size > bound:
                self.complaints.append(f"{member.name}: {what} {size}, more than {bound}")

    def check(self, members: Sequence[Member]) -> list[str]:
        return self.complaints


class Log(logging.Handler):
    """Collects what nodes log when a task of theirs ends with an error, or a peer is suspected.

    Args:
        is_rogue_about: Whether a member breaks the rules, so that to refuse what a peer says is no complaint.
        is_voided: Whether a member loses a right, so that to build a document again for it is none either.
    """

    FAULTS: Final = frozenset(
        {
            "runtime.task_failed",
            "runtime.task_crashed",
            "document.rebuild",
            "archive.rebuild",
            "archive.snapshot_unusable",
            "documents.damaged",
        }
    )
    SUSPICIONS: Final = frozenset({"owner.operation_refused", "exchange.paused"})
    VOIDED: Final = (
        "a change of membership has changed what counts",
        "edits were refused: this device may not write in the document",
    )
    """Why a document is built again, where that is no fault."""

    def __init__(self, *, is_rogue_about: bool = False, is_voided: bool = False) -> None:
        super().__init__()
        self.records: list[str] = []
        self._events = self.FAULTS if is_rogue_about else self.FAULTS | self.SUSPICIONS
        self._excuses = self.VOIDED if is_voided else ()

    def emit(self, record: logging.LogRecord) -> None:
        if record.msg in self._events and getattr(record, "reason", None) not in self._excuses:
            details = {
                key: value
                for key, value in vars(record).items()
                if key in ("task", "error", "reason", "operation", "peer")
            }
            self.records.append(f"{record.msg} {details} {record.exc_info or ''}")

    def check(self, members: Sequence[Member]) -> list[str]:
        return self.records


def _difference(found: str, expected: str) -> str:
    at = next(
        (i for i, (one, other) in enumerate(zip(found, expected, strict=False)) if one != other),
        min(len(found), len(expected)),
    )
    start = max(0, at - 40)
    return f"...{found[start : at + 80]!r}, not ...{expected[start : at + 80]!r}"
