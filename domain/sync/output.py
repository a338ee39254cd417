"""What a session tells of what its peer has said."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from domain.identifiers import LogKey, OperationId
from domain.operations.operation import Operation
from domain.sync.message import Join


@dataclass(frozen=True, slots=True)
class OperationArrived:
    """The peer sent an operation; its signature is not checked yet."""

    operation: Operation


@dataclass(frozen=True, slots=True)
class HeightsChanged:
    """What the peer holds is now known better: `counts` as it said, not clamped to what we have.

    Where that is complete, `tips` gives the last operation of each log there; where it is not, `is_wanted` whether the
    peer wants more of those logs from us at once, or only what does not come otherwise, unless it leaves that as it is.
    """

    counts: Mapping[LogKey, int]
    is_complete: bool
    tips: Mapping[LogKey, OperationId] = field(default_factory=dict)
    is_wanted: bool | None = None


@dataclass(frozen=True, slots=True)
class OperationsAnnounced:
    """So many operations are coming."""

    operations: int


@dataclass(frozen=True, slots=True)
class ExchangeDone:
    """The peer has sent all that we lacked when we said our heights for the `exchange`-th time."""

    exchange: int


@dataclass(frozen=True, slots=True)
class ForkSuspected:
    """The peer has another operation than we at that place, the end of a log."""

    log: LogKey
    seq_num: int


@dataclass(frozen=True, slots=True)
class JoinAsked:
    """The peer holds an invite and asks to be made a member."""

    join: Join


@dataclass(frozen=True, slots=True)
class StrangerIgnored:
    """Who is no member said something else than that it wants to be one."""


@dataclass(frozen=True, slots=True)
class JoiningRefused:
    """The peer will not make us a member."""

    reason: str


@dataclass(frozen=True, slots=True)
class JoiningPending:
    """The peer makes us a member once two people have compared a code."""

    nonce: bytes


@dataclass(frozen=True, slots=True)
class SendingPaused:
    """The peer twice found the same operation damaged."""

    log: LogKey
    seq_num: int
    reason: str


Output = (
    OperationArrived
    | HeightsChanged
    | OperationsAnnounced
    | ExchangeDone
    | ForkSuspected
    | JoinAsked
    | StrangerIgnored
    | JoiningRefused
    | JoiningPending
    | SendingPaused
)
