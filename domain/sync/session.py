"""The conversation of two peers about one document: sans-IO, one mutation per call.

Each side says how far its logs go (`Have`), sends what the other lacks, in causal order, and says `Done`; then both are
live and go on sending as operations come. A `Have` is answered by a `Have` unless it answers one of ours, which are
counted: so both have said it equally often once nothing is on its way, and the exchange ends. What a
peer holds is known from its `Have`s (which replace what was known, downwards too: it may have restored a backup) and
its `Ack`s. Nothing is kept to be sent: the log is the queue, and `next_needed` says where a peer stands in it.

    QUIET ──open──> OPENING ──Have──> SYNCING ──both Done──> LIVE
      └────────────────Have─────────────^  ^──────Have/open────┘

What is said goes on one of two lanes, each ordered in itself and not with the other: on the live one everything but
large amounts of operations, which would hold up what comes after them. Operations may arrive in any order, since the
ledger holds each back until what it builds on is there; `Done` follows the operations that it speaks of on their lane.

A damaged operation is answered `Nack` and sent again from disk once; the second time the session pauses. Whatever the
protocol does not allow raises `PeerError`, which ends the connection.
"""

from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from typing import Final

from domain import limits
from domain.connectivity.close_codes import CloseCode
from domain.errors import OperationError, PeerError
from domain.identifiers import DocumentId, LogKey
from domain.ledger.ledger import Height
from domain.operations.operation import Operation
from domain.sync.frontier import lacking
from domain.sync.message import (
    Ack,
    BodyPart,
    CompactOperation,
    Digests,
    Done,
    Have,
    Heartbeat,
    Join,
    JoinPending,
    JoinRefused,
    LogReference,
    Message,
    Nack,
    PreSync,
    decode_message,
    encode_message,
)
from domain.sync.output import (
    ExchangeDone,
    ForkSuspected,
    HeightsChanged,
    JoinAsked,
    JoiningPending,
    JoiningRefused,
    OperationArrived,
    OperationsAnnounced,
    Output,
    SendingPaused,
    StrangerIgnored,
)
from domain.sync.wire import IncomingWire, OutgoingWire


class State(Enum):
    """Where the conversation stands."""

    QUIET = "quiet"
    """Nothing was said, or both have the same by their digests."""
    OPENING = "opening"
    """Our heights are on their way; theirs are awaited."""
    SYNCING = "syncing"
    """Both know both heights; what lacks is on its way."""
    LIVE = "live"
    """Both have said that all was sent; new operations follow as they come."""
    PAUSED = "paused"
    """The peer found an operation damaged twice; we send no more on this connection."""


class Lane(Enum):
    """Where something is said."""

    LIVE = "live"
    """The channel of the document: edits as they are made, and the conversation itself."""
    BULK = "bulk"
    """A channel of its own, for operations that are many or large."""


ON_BULK: Final = frozenset({CompactOperation, BodyPart, Done})
"""What may come on the bulk lane."""

ANY: Final = frozenset(State)
TALKING: Final = ANY - {State.QUIET}

ALLOWED: Final[Mapping[type[Message], frozenset[State]]] = {
    Have: ANY,
    PreSync: TALKING,
    CompactOperation: ANY,
    BodyPart: ANY,
    Done: TALKING,
    Ack: ANY,
    Nack: ANY,
    Join: ANY,
    JoinRefused: TALKING,
    JoinPending: TALKING,
}
"""In which states each message may come; `Digests` and `Heartbeat` belong to the control channel."""


class SyncSession:
    """One side of the conversation.

    Args:
        document: The document.
        heights: Gives how far our logs go, counting only what is on disk.
    """

    def __init__(
        self, document: DocumentId, heights: Callable[[], Mapping[LogKey, Height]]
    ) -> None:
        self.state = State.QUIET
        self.exchange = 0
        self.is_stranger = False
        """Whether the peer is no member, so that all it may do is to ask to become one."""
        self.owes_answer = False
        """Whether the peer has said how far it is, and waits to hear how far we are: `open` says it."""
        self._heights = heights
        self._outgoing = {lane: OutgoingWire() for lane in Lane}
        self._incoming = {lane: IncomingWire(document) for lane in Lane}
        self._theirs: dict[LogKey, int] = {}
        self._sent: dict[LogKey, int] = {}
        self._pages: dict[LogKey, Height] = {}
        self._answers_due = 0
        self._said: dict[LogKey, int] = {}
        self._is_known = False
        self._their_exchange = 0
        self._done_for = 0
        self._done_by_them = 0
        self._nacked: set[tuple[LogKey, int]] = set()
        self._offered: set[tuple[LogKey, int]] = set()
        self.rewinds = 0
        """How often the peer said where to go on from; what was read before that is outdated."""
        self._rewound: dict[LogKey, int] = {}
        """From where the peer is still to be sent a log again; heights that cross that know nothing of it."""
        self._lane: Lane | None = None
        self._messages: dict[Lane, list[bytes]] = {lane: [] for lane in Lane}

    # -- What we say --

    def take_messages(self, lane: Lane = Lane.LIVE) -> list[bytes]:
        """Take out what is to be sent on a lane, in order; call for both after every other call."""
        messages, self._messages[lane] = self._messages[lane], []
        return messages

    @property
    def backlog(self) -> int:
        """How many messages wait to be taken out."""
        return sum(map(len, self._messages.values()))

    def open(self) -> int:
        """Say how far our logs go: as the answer that we owe, or expecting one; give the number of this exchange."""
        self._say_have()
        state = State.SYNCING if self.owes_answer else State.OPENING
        if not self.owes_answer:
            self._answers_due += 1
        self.owes_answer = False
        if self.state is not State.PAUSED:
            self.state = state
        return self.exchange

    def held(self, log: LogKey) -> int:
        """How many operations of a log the peer has, as far as it has said."""
        return self._theirs.get(log, 0)

    def brings(self) -> dict[LogKey, int] | None:
        """Give how far the logs go there of which we lack something; None where the peer has not said that."""
        if not self._is_known:
            return None
        heights = self._heights()
        return {
            log: count
            for log, count in self._theirs.items()
            if log not in heights or heights[log].count < count
        }

    def assume_equal(self) -> None:
        """Take it that the peer has what we have, since its digest is ours."""
        self._is_known = True
        self._theirs = {log: height.count for log, height in self._heights().items()}

    def say(self, message: Message, lane: Lane = Lane.LIVE) -> None:
        """Say something that stands for itself (`Join`, `JoinRefused`)."""
        self._messages[lane].append(encode_message(message))

    def _say_have(self) -> None:
        self.exchange += 1
        heights = self._heights()
        self._said = {log: height.count for log, height in heights.items()}
        ordered = sorted(heights.items(), key=lambda entry: entry[0])
        step = limits.HAVE_PAGE_LOGS_MAX
        for at in range(0, max(len(ordered), 1), step):
            page = tuple((self._refer(log), height) for log, height in ordered[at : at + step])
            self.say(Have(is_last=at + step >= len(ordered), heights=page))

    def _say_what_came_since(self) -> None:
        """What we said may have waited with the peer for long: it takes our answer for how far we are now."""
        heights = sorted(self._heights().items(), key=lambda entry: entry[0])
        self.acknowledge(
            {log: height.count for log, height in heights if self._said.get(log) != height.count}
        )

    def acknowledge(self, logs: Mapping[LogKey, int], *, is_wanted: bool | None = None) -> None:
        """Say that so many operations of these logs are on our disk, and whether we want more from the peer."""
        listed = list(logs.items())
        for at in range(0, len(listed), limits.HAVE_PAGE_LOGS_MAX):
            page = tuple(
                (self._refer(log), count)
                for log, count in listed[at : at + limits.HAVE_PAGE_LOGS_MAX]
            )
            self.say(Ack(counts=page, is_wanted=is_wanted))

    def reject(self, log: LogKey, seq_num: int, reason: str) -> None:
        """Say that an operation came damaged or is not acceptable."""
        self.say(Nack(log=self._refer(log), seq_num=seq_num, reason=reason[:64]))

    def _refer(self, log: LogKey) -> LogReference:
        return self._outgoing[Lane.LIVE].refer(log)

    # -- What the peer lacks --

    @property
    def may_send(self) -> bool:
        """Whether we know what the peer lacks, and it takes what we send."""
        return self._is_known and self.state is not State.PAUSED

    def needed(self) -> dict[LogKey, int]:
        """Give the logs of which the peer lacks something, each with the number of operations that it needs none of."""
        heights = self._heights()
        return {
            log: max(count, self._sent.get(log, 0))
            for log, count in lacking(heights, self._theirs).items()
            if self._sent.get(log, 0) < heights[log].count
        }

    def known(self) -> dict[LogKey, int]:
        """Give how many operations per log the peer has or is being sent."""
        logs = self._theirs.keys() | self._sent.keys()
        return {log: max(self._theirs.get(log, 0), self._sent.get(log, 0)) for log in logs}

    def announce(self, operations: int) -> None:
        """Say how many operations are coming."""
        self.say(PreSync(operations=operations))

    def choose_lane(self, size_bytes: int) -> Lane:
        """Choose where that much of operations goes; until `finish` has said that it was all, more goes there too."""
        lane = self._lane
        if lane is None:
            lane = Lane.BULK if size_bytes > limits.LIVE_BYTES_MAX else Lane.LIVE
            if self.owes_done:
                self._lane = lane
        return lane

    def send(
        self, operation: Operation, lane: Lane = Lane.LIVE, *, rewinds: int | None = None
    ) -> None:
        """Send an operation, unless the peer needs none of its log up to there.

        Args:
            operation: The next of its log that the peer needs.
            lane: Where.
            rewinds: What `rewinds` was when that was so; since then the peer may have asked for an earlier one.
        """
        log, seq_num = operation.log, operation.header.seq_num
        is_outdated = rewinds is not None and rewinds != self.rewinds
        if is_outdated or seq_num < max(self._theirs.get(log, 0), self._sent.get(log, 0)):
            return
        self._sent[log] = seq_num + 1
        if seq_num >= self._rewound.get(log, limits.SEQ_NUM_MAX + 1):
            del self._rewound[log]
        for message in self._outgoing[lane].compact(operation):
            self.say(message, lane)

    def offer(self, log: LogKey, seq_num: int) -> None:
        """Send what we have of a log from a place on, though the peer has something there; once for each place."""
        if (log, seq_num) not in self._offered and len(
            self._offered
        ) < limits.PARKED_OPERATIONS_MAX:
            self._offered.add((log, seq_num))
            self._rewind(log, seq_num)

    def _rewind(self, log: LogKey, seq_num: int) -> None:
        self.rewinds += 1
        self._rewound[log] = min(self._rewound.get(log, seq_num), seq_num)
        self._theirs[log] = min(self._theirs.get(log, 0), seq_num)
        self._sent[log] = min(self._sent.get(log, 0), seq_num)

    @property
    def owes_done(self) -> bool:
        """Whether the peer waits to hear that it has been sent everything."""
        return self._done_for < self._their_exchange

    def finish(self) -> None:
        """Say that the peer has been sent all that it lacked."""
        self._done_for = self._their_exchange
        self.say(Done(exchange=self._their_exchange), self._lane or Lane.LIVE)
        self._lane = None
        self._settle()

    def _settle(self) -> None:
        is_their_done = self._done_by_them == self.exchange
        if self.state is State.SYNCING and is_their_done and not self.owes_done:
            self.state = State.LIVE

    # -- What the peer says --

    def receive(self, data: bytes, lane: Lane = Lane.LIVE) -> list[Output]:
        """Take one message that came on a lane.

        Raises:
            PeerError: The protocol does not allow it, or not now.
        """
        message = decode_message(data)
        if self.is_stranger and not isinstance(message, Join):
            return [StrangerIgnored()]
        allowed = ALLOWED.get(type(message))
        if allowed is None or self.state not in allowed:
            raise PeerError(
                CloseCode.PROTOCOL_ERROR,
                f"{type(message).__name__} is not allowed while {self.state.value}",
            )
        if lane is Lane.BULK and type(message) not in ON_BULK:
            raise PeerError(
                CloseCode.PROTOCOL_ERROR, f"{type(message).__name__} is not allowed in bulk"
            )
        return list(self._take(message, lane))

    def _take(self, message: Message, lane: Lane) -> Iterable[Output]:
        match message:
            case CompactOperation() | BodyPart():
                yield from self._receive_operation(message, lane)
            case Ack():
                counts = {self._resolve(log): count for log, count in message.counts}
                self._theirs.update(counts)
                yield HeightsChanged(counts, is_complete=False, is_wanted=message.is_wanted)
            case Have():
                yield from self._receive_have(message)
            case Done():
                yield from self._receive_done(message)
            case Nack():
                yield from self._receive_nack(message)
            case PreSync():
                yield OperationsAnnounced(message.operations)
            case Join():
                yield JoinAsked(message)
            case JoinPending() | JoinRefused():
                yield _answer_to_join(message)
            case Digests() | Heartbeat():
                raise AssertionError("not allowed in any state")

    def _resolve(self, log: LogReference) -> LogKey:
        return self._incoming[Lane.LIVE].resolve(log)

    def _receive_operation(self, message: CompactOperation | BodyPart, lane: Lane) -> list[Output]:
        wire = self._incoming[lane]
        try:
            if isinstance(message, BodyPart):
                log, operation = wire.take_part(message)
            else:
                log, operation = wire.take(message)
        except OperationError as error:
            raise PeerError(
                CloseCode.PROTOCOL_ERROR, f"an operation that is not well formed: {error}"
            ) from None
        if operation is None:
            return []
        self._theirs[log] = max(self._theirs.get(log, 0), operation.header.seq_num + 1)
        return [OperationArrived(operation)]

    def _receive_have(self, message: Have) -> list[Output]:
        mine = self._heights()
        outputs: list[Output] = []
        for reference, height in message.heights:
            log = self._resolve(reference)
            if log in self._pages or len(self._pages) >= limits.HAVE_LOGS_MAX:
                raise PeerError(
                    CloseCode.PROTOCOL_ERROR,
                    "a log twice, or too many logs, in one exchange of heights",
                )
            self._pages[log] = height
            known = mine.get(log)
            if known is not None and known.count == height.count and known.tip != height.tip:
                outputs.append(ForkSuspected(log, height.count - 1))
        if not message.is_last:
            return outputs
        pages, self._pages = self._pages, {}
        said = {log: height.count for log, height in pages.items()}
        has_lost = any(said.get(log, 0) < count for log, count in self._theirs.items())
        # `Done` speaks of all that is on its way: what was begun while none was owed may go on another lane.
        if has_lost or not self.owes_done:
            self.rewinds += 1
        again = {
            log: seq_num for log, seq_num in self._rewound.items() if said.get(log, 0) > seq_num
        }
        self._theirs = said | again
        self._sent.clear()
        self._is_known = True
        self._their_exchange += 1
        if self._answers_due:
            self._answers_due -= 1
            self._say_what_came_since()
        elif self.owes_answer:  # it has asked twice, and is owed two
            self._say_have()
        else:
            self.owes_answer = True
        if self.state is not State.PAUSED:
            self.state = State.SYNCING
        tips = {log: height.tip for log, height in pages.items()}
        return [*outputs, HeightsChanged(said, is_complete=True, tips=tips)]

    def _receive_done(self, message: Done) -> list[Output]:
        if message.exchange > self.exchange:
            raise PeerError(CloseCode.PROTOCOL_ERROR, "an exchange is done that was never begun")
        # In bulk it may come before the heights that it answers: both count once they are here.
        self._done_by_them = max(self._done_by_them, message.exchange)
        self._settle()
        return [ExchangeDone(message.exchange)]

    def _receive_nack(self, message: Nack) -> list[Output]:
        log = self._resolve(message.log)
        place = (log, message.seq_num)
        if place in self._nacked or len(self._nacked) >= limits.PARKED_OPERATIONS_MAX:
            self.state = State.PAUSED
            return [SendingPaused(log, message.seq_num, message.reason)]
        self._nacked.add(place)
        self._rewind(log, message.seq_num)
        return []


def _answer_to_join(message: JoinPending | JoinRefused) -> Output:
    if isinstance(message, JoinPending):
        return JoiningPending(message.nonce)
    return JoiningRefused(message.reason)
