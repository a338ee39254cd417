"""The ledger of one document: which operations this replica has, and what each builds on.

It holds a causally closed set: an operation enters only after everything that it lists. Checks depend on the operation
and its causal past alone, never on what else has arrived or when, so every replica accepts the same operations. Bodies
of content are not looked at: no key is needed here.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Self

from domain import codec, limits
from domain.errors import OperationError
from domain.identifiers import DocumentId, LogKey, OperationId, PeerId, Position
from domain.identity import can_be_sealed_to
from domain.ledger.announcements import Announcements, LedgerPlace
from domain.ledger.branch import Fork, Forks, branch_of
from domain.ledger.claim import Claims, ExplicitClaim
from domain.ledger.counting import Counting
from domain.ledger.form import LogEnd, check_form, is_genesis
from domain.ledger.log import LogState
from domain.ledger.membership import CHANGING_KINDS, Membership, Place
from domain.ledger.newer import Newer
from domain.ledger.permission import Permission
from domain.ledger.reach import Vector, join
from domain.operations.control import (
    Add,
    Claim,
    ControlBody,
    Genesis,
    Role,
    decode_body,
)
from domain.operations.distribution import PrekeyNotice, SecretDistribution
from domain.operations.kind import Kind, is_content
from domain.operations.operation import Operation

TAKING_KINDS = frozenset({Kind.REMOVE, Kind.SET_ROLE, Kind.LEAVE})
KNOWN_CONTROL_KINDS = CHANGING_KINDS | {
    Kind.CLAIM,
    Kind.PREKEY,
    Kind.SECRET_DISTRIBUTION,
}


class Standing(Enum):
    """How an operation stands to the ledger."""

    READY = "ready"
    """It may enter now."""
    HELD = "held"
    """It is in already."""
    OLD = "old"
    """Its place in its log is taken; whether by itself or by another has to be looked up."""
    MISSING = "missing"
    """Something that it builds on is not here."""


@dataclass(frozen=True, slots=True)
class Admission:
    """What the ledger says to an operation.

    Args:
        standing: How it stands to the ledger.
        missing: One thing that is not here.
        past: Its causal past.
        need: For a change of membership, the role that its author needs for it.
    """

    standing: Standing
    missing: Position | OperationId | None = None
    past: Vector = field(default_factory=dict)
    need: Role = Role.PULL


@dataclass(frozen=True, slots=True, kw_only=True)
class Height:
    """How far a log goes: the number of operations and the id of the last."""

    count: int
    tip: OperationId


class Ledger:
    """The logs of one document, as far as this replica has them.

    Args:
        document: The document; its genesis operation is the first to be added.
    """

    def __init__(self, document: DocumentId) -> None:
        self.document = document
        self.membership = Membership()
        self._permission = Permission(document, self.membership)
        self.claims = Claims()
        self.announcements = Announcements()
        self.control_count = 0
        """How many control operations are in: what follows from them stays as it is while this does."""
        self._newer = Newer(self.membership)
        self._logs: dict[LogKey, LogState] = {}
        self._by_slot: list[LogState] = []
        self.forks = Forks()
        self.counting = Counting(self.membership, self._by_slot)
        self._tips: dict[OperationId, Position] = {}
        self._positions: OrderedDict[OperationId, Position] = OrderedDict()

    # -- Looking up --

    @property
    def tips(self) -> frozenset[OperationId]:
        """The operations that no other builds on."""
        return frozenset(self._tips)

    @property
    def tip_positions(self) -> Mapping[OperationId, Position]:
        """The same, each with its place."""
        return self._tips

    def heights(self) -> dict[LogKey, Height]:
        """Give how far each log goes."""
        return {
            log.key: Height(count=log.count, tip=log.tip)
            for log in self._by_slot
            if log.tip is not None
        }

    @property
    def read_only_reason(self) -> str | None:
        """Why nobody may write here, as something needs a newer culm; None where nothing does."""
        return self._newer.reason(self.counting, self.control_count)

    @property
    def timestamp_us(self) -> int:
        """The latest time that an operation claims, in microseconds since 1970 UTC; for people, and decides nothing."""
        return max((log.timestamp for log in self._logs.values()), default=0)

    def log(self, key: LogKey) -> LogState | None:
        """Find a log."""
        return self._logs.get(key)

    def log_in(self, slot: int) -> LogState:
        """Find the log with that slot of a causal past."""
        return self._by_slot[slot]

    def holds(self, operation_id: OperationId) -> bool:
        """Whether an operation is known to be in (old ones may be in though their places are forgotten)."""
        return operation_id in self._positions

    def past_of(self, position: Position) -> Vector:
        """Give the causal past of an operation that is in, itself included."""
        return self._logs[position.log].vector_before(position.seq_num + 1)

    def past_at(self, place: LedgerPlace) -> Vector:
        """Give the causal past of an operation that is in, itself included, by its slot."""
        return self._by_slot[place.slot].vector_before(place.seq_num + 1)

    def implies(self, log: LogKey, operation_id: OperationId) -> bool:
        """Whether an operation belongs to the causal past of a log, as far as its place is known."""
        state, place = self._logs.get(log), self._positions.get(operation_id)
        if state is None or place is None:
            return False
        return place.seq_num < state.vector_before(state.count).get(self._logs[place.log].slot, 0)

    def is_in_past_of(self, operation_ids: Iterable[OperationId], place: LedgerPlace) -> bool:
        """Whether an operation is in the causal past of one of some, as far as their places are known."""
        positions = (self._positions.get(operation_id) for operation_id in operation_ids)
        return any(
            place.is_in(self.past_of(position)) for position in positions if position is not None
        )

    def present(self) -> Vector:
        """Give everything that is in, as a causal past."""
        return {log.slot: log.count for log in self._by_slot}

    def built_on(self, position: Position) -> dict[LogKey, int]:
        """Give the operation at that place and all that build on it: of each log, from which sequence number on."""
        slot = self._logs[position.log].slot
        ends = {position.log: position.seq_num}
        for log in self._by_slot:
            if log.slot != slot:
                first = log.first_that_reaches(slot, position.seq_num + 1)
                if first < log.count:
                    ends[log.key] = first
        return ends

    def farewell(self, peer: PeerId) -> dict[LogKey, int]:
        """Give how far the logs go that a former member may have: to its removals, with all that these build on."""
        past: Vector = {}
        if self.membership.role(peer) is None:
            for removal in self.membership.removals_of(peer):
                join(past, {**removal.past, removal.slot: removal.seq_num + 1})
        return {self._by_slot[slot].key: count for slot, count in past.items() if count}

    def unplaced(self, operation: Operation) -> list[OperationId]:
        """List what it builds on whose places are not in memory; look them up and `place` them before `examine`."""
        built_on = list(operation.extension.previous)
        if operation.root in self.forks.logs and operation.header.backlink is not None:
            built_on.append(operation.header.backlink)
        return [each for each in built_on if each not in self._positions]

    def place(self, operation_id: OperationId, position: Position) -> None:
        """Remember the place of an operation, if it is in (a store may hold more than has been replayed)."""
        log = self._logs.get(position.log)
        if log is None or position.seq_num >= log.count:
            return
        self._positions[operation_id] = position
        self._positions.move_to_end(operation_id)

    def trim(self) -> None:
        """Forget places beyond the bound, the oldest first; never in the middle of a batch."""
        while len(self._positions) > limits.POSITIONS_CACHED_MAX:
            operation_id, position = self._positions.popitem(last=False)
            if operation_id in self._tips:
                self._positions[operation_id] = position

    # -- Forks --

    def locate(self, operation: Operation) -> Operation | None:
        """Find the branch of an operation of a forked log; None where what comes before it is not here.

        An operation of another log is given back as one of that log, whatever branch it is said to be in.
        """
        if operation.root not in self.forks.logs:
            return operation.in_branch(operation.root)
        branch = self.forks.find(operation)
        if branch is None and operation.header.backlink is not None:
            place = self._positions.get(operation.header.backlink)
            branch = None if place is None else place.log
        return None if branch is None else operation.in_branch(branch)

    def note_fork(self, operation: Operation) -> None:
        """Learn that a log forked right before an operation, which is said to begin a branch; before it enters."""
        self.forks.note(operation, self._logs.get(operation.root))

    def examine_rival(
        self, operation: Operation, held: Operation, before: Operation | None
    ) -> Fork | None:
        """Say whether an operation whose place is taken may have it nevertheless, so that its log forks there.

        Args:
            operation: The operation, signed; it follows the same one as what has its place.
            held: What has its place, as it is stored.
            before: What both follow, as it is stored; None where they begin their log.

        Returns:
            The fork; None while something that the operation builds on is not here.

        Raises:
            OperationError: It may never enter, on any replica.
        """
        log, root, first = self._logs[held.log], operation.root, operation.header.seq_num
        past: Vector = {}
        end = None
        if before is not None:
            past = self.past_of(before.position)
            secret = self._logs[before.log].secret_before(first)
            end = LogEnd(log.is_content, before.extension.timestamp, secret)
        if self._join_previous(operation, past) is not None:
            return None
        check_form(operation, self.document, end, self._count_logs(operation.author, past))
        self._check_permission(operation, past)
        rival = operation.in_branch(branch_of(root, operation.operation_id))
        return Fork(log=log.key, first=first, held=branch_of(root, held.operation_id), rival=rival)

    # -- Entering --

    def examine(self, operation: Operation) -> Admission:
        """Say whether an operation may enter; its signature has been checked, and it was located.

        Raises:
            OperationError: It may never enter, on any replica.
        """
        position = operation.position
        if operation.operation_id in self._positions:
            return Admission(Standing.HELD)
        log = self._logs.get(position.log) or self.forks.parent_of(operation)
        count = log.count if log is not None else 0
        if position.seq_num < count:
            return Admission(Standing.OLD)
        if position.seq_num > count:
            return Admission(Standing.MISSING, missing=Position(position.log, position.seq_num - 1))
        if not self._by_slot and not is_genesis(operation, self.document):
            return Admission(Standing.MISSING, missing=OperationId(self.document))
        if log is not None and operation.header.backlink != log.tip:
            raise OperationError(
                "wrong-backlink", "it does not follow the operation before it in its log"
            )
        past = log.vector_before(count) if log is not None else {}
        missing = self._join_previous(operation, past)
        if missing is not None:
            return Admission(Standing.MISSING, missing=missing)
        end = LogEnd(log.is_content, log.timestamp, log.secret) if log is not None else None
        check_form(operation, self.document, end, self._count_logs(operation.author, past))
        need = self._check_permission(operation, past)
        return Admission(Standing.READY, past=past, need=need)

    def _join_previous(self, operation: Operation, past: Vector) -> OperationId | None:
        """Add what `previous` lists to the causal past of the log; give one that is not here, if there is one."""
        before = dict(past)
        for previous in operation.extension.previous:
            place = self._positions.get(previous)
            if place is None:
                return previous
            slot = self._logs[place.log].slot
            if place.seq_num < before.get(slot, 0):
                raise OperationError(
                    "redundant-previous", "`previous` lists what the author's log implies already"
                )
            join(past, self.past_of(place))
        return None

    def logs_of(self, author: PeerId) -> int:
        """Count the logs of a device that are here, each branch by itself."""
        return sum(log.author == author for log in self._logs)

    def _count_logs(self, author: PeerId, past: Vector) -> int:
        """Count the logs of a device in a causal past, each with its branches once."""
        return len({log.root for slot in past if (log := self._by_slot[slot]).key.author == author})

    def _check_permission(self, operation: Operation, past: Vector) -> Role:
        """Check what the author may do at that place; give the role that it needs for it."""
        kind, author = operation.extension.kind, operation.author
        if kind == Kind.GENESIS:
            decode_body(kind, operation.body)
            if operation.extension.previous or operation.header.seq_num:
                raise OperationError("wrong-genesis", "a genesis operation builds on nothing")
            if not can_be_sealed_to(author):
                raise OperationError("wrong-genesis", "nothing can be sealed to its author")
            return Role.PULL
        role = self.membership.role_at(author, past)
        if role is None:
            raise OperationError("not-a-member", f"{author.short} is not a member there")
        if is_content(kind):
            if role < Role.WRITE:
                raise OperationError("not-permitted", f"{author.short} may not write there")
            return Role.WRITE
        if kind not in KNOWN_CONTROL_KINDS:
            return Role.PULL
        return self._check_control(author, decode_body(kind, operation.body), role, past)

    def _check_control(self, author: PeerId, body: ControlBody, role: Role, past: Vector) -> Role:
        match body:
            case Genesis():
                raise OperationError("wrong-genesis", "a document is founded once")
            case Claim():
                self.claims.check(body.clients, LogKey(author, body.log_id), past)
            case PrekeyNotice():
                self.announcements.check_prekey(author, body)
            case SecretDistribution():
                self.announcements.check_distribution(body, role, past)
            case _:
                pass
        return self._permission.check(author, body, past)

    def check_change(self, author: PeerId, body: ControlBody, past: Vector) -> None:
        """Check that a change of membership may stand where it has that causal past.

        Raises:
            OperationError: Every replica would refuse it.
        """
        if self.membership.role_at(author, past) is None:
            raise OperationError("not-a-member", f"{author.short} is not a member there")
        self._permission.check(author, body, past)

    def add(self, operation: Operation, admission: Admission) -> None:
        """Take in an operation that `examine` found ready, with what it said."""
        position, past = operation.position, admission.past
        log = self._logs.get(position.log)
        if log is None:
            log = self._start_log(operation)
        past[log.slot] = position.seq_num + 1
        log.append(
            operation.operation_id, operation.extension.timestamp, operation.extension.secret, past
        )
        if operation.header.backlink is not None:
            self._tips.pop(operation.header.backlink, None)
        for previous in operation.extension.previous:
            self._tips.pop(previous, None)
        self._tips[operation.operation_id] = position
        self.place(operation.operation_id, position)
        if not log.is_content:
            self._take_control(operation, log.slot, admission)
        self.counting.take(log, past)

    def _start_log(self, operation: Operation) -> LogState:
        parent = self.forks.parent_of(operation)
        log = LogState(
            len(self._by_slot),
            operation.log,
            is_content=is_content(operation.extension.kind),
            root=operation.root,
        )
        if parent is not None:
            log.go_on_from(parent)
        self._keep_log(log)
        return log

    def _keep_log(self, log: LogState) -> None:
        self._logs[log.key] = log
        self._by_slot.append(log)
        if log.is_content:
            self.claims.derive(log.root)
        if log.is_branch:
            self.forks.logs[log.root].append(log)
            self._derive_branches([log])

    def _derive_branches(self, logs: Iterable[LogState]) -> None:
        for log in logs:
            if log.is_branch and log.is_content:
                self.claims.derive_branch(log.root, log.key)

    def _take_control(self, operation: Operation, slot: int, admission: Admission) -> None:
        kind, author, seq_num = operation.extension.kind, operation.author, operation.header.seq_num
        self.control_count += 1
        if kind not in KNOWN_CONTROL_KINDS:
            self._newer.note(kind, author, slot, seq_num, admission.past)
            return
        body = decode_body(kind, operation.body)
        if isinstance(body, Claim):
            entry = ExplicitClaim(
                operation.operation_id, slot, seq_num, LogKey(author, body.log_id)
            )
            self.claims.claim(body.clients, entry)
            self._derive_branches(self.forks.logs.get(entry.log, ()))
            return
        at = LedgerPlace(slot, seq_num)
        if isinstance(body, PrekeyNotice):
            self.announcements.publish(author, body, at)
            return
        if isinstance(body, SecretDistribution):
            self.announcements.distribute(author, body, at, admission.past)
            return
        if isinstance(body, Add):
            self.announcements.additions[body.member] = (operation.operation_id, at)
        if isinstance(body, Genesis):
            self._newer.found(body.format)
        past = {**admission.past, slot: seq_num}
        place = Place(slot, seq_num, past)
        self.membership.take(operation.operation_id, author, body, place, admission.need)
        if kind in TAKING_KINDS or self.membership.is_at_odds:
            self.counting.recount()

    # -- Keeping --

    def to_value(self) -> codec.Value:
        """Give what `from_value` reads."""
        tips = [
            (tip, self._logs[place.log].slot, place.seq_num) for tip, place in self._tips.items()
        ]
        return (
            [log.to_value() for log in self._by_slot],
            tips,
            self.membership.to_value(),
            self.claims.to_value(),
            self.announcements.to_value(),
            self.control_count,
            self._newer.to_value(),
        )

    @classmethod
    def from_value(cls, document: DocumentId, value: object) -> Self:
        """Read what `to_value` gave."""
        logs, tips, membership, claims, announcements, count, newer = codec.take_list(
            value, maximum=7
        )
        ledger = cls(document)
        for slot, entry in enumerate(codec.take_list(logs, maximum=limits.HAVE_LOGS_MAX)):
            log = LogState.from_value(slot, entry)
            if log.is_branch:
                ledger.forks.restore(
                    log, None if log.parent is None else ledger._by_slot[log.parent]
                )
            ledger._keep_log(log)
        for entry in codec.take_list(tips, maximum=limits.HAVE_LOGS_MAX):
            tip, place, seq_num = codec.take_list(entry, maximum=3)
            key = ledger._by_slot[codec.take_int(place, maximum=len(ledger._by_slot) - 1)].key
            position = Position(key, codec.take_int(seq_num, maximum=limits.SEQ_NUM_MAX))
            ledger._tips[OperationId(codec.take_bytes(tip, maximum=32))] = position
        for operation_id, position in ledger._tips.items():
            ledger.place(operation_id, position)
        ledger.membership.restore(membership)
        ledger.counting.recount()
        ledger.claims.restore(claims)
        ledger.announcements.restore(announcements)
        ledger._derive_branches(ledger._by_slot)  # for the ids that are claimed
        ledger.control_count = codec.take_int(count, maximum=2**63)
        ledger._newer = Newer.from_value(ledger.membership, newer)
        return ledger

    def managers(self) -> list[PeerId]:
        """List who manages the document."""
        return [peer for peer, role in self.membership.members().items() if role == Role.MANAGE]
