"""Two sides of a conversation about a document, and the pipe between them, without loss; each lane in order."""

import random
from collections import deque

from domain import limits
from domain.identifiers import LogKey, OperationId
from domain.ledger.ledger import Height
from domain.operations.kind import Kind
from domain.operations.operation import Operation
from domain.sync.output import ExchangeDone, HeightsChanged, OperationArrived, Output
from domain.sync.session import Lane, State, SyncSession
from tests.domain.ledger.devices import Device, found_team


class Side:
    """A device in conversation with one peer, doing what a node does."""

    def __init__(self, device: Device, held: list[Operation]) -> None:
        self.device = device
        self.held = held
        self.session = SyncSession(device.document, self.heights)
        self.outboxes: dict[Lane, deque[bytes]] = {lane: deque() for lane in Lane}
        self.finished: dict[int, set[OperationId]] = {}
        self.outputs: list[Output] = []
        self.arrived: list[Operation] = []
        self.sent_bytes = 0

    def heights(self) -> dict[LogKey, Height]:
        return self.device.ledger.heights()

    @property
    def outbox(self) -> deque[bytes]:
        """What is on its way on the live lane."""
        return self.outboxes[Lane.LIVE]

    def ids(self) -> set[OperationId]:
        return {operation.operation_id for operation in (*self.held, *self.arrived)}

    def say(self) -> None:
        """Hand what the session says to the pipe."""
        for lane in Lane:
            messages = self.session.take_messages(lane)
            self.sent_bytes += sum(map(len, messages))
            self.outboxes[lane].extend(messages)

    def hear_next(self, peer: "Side", lane: Lane) -> None:
        """Hear what the peer said next on a lane; when it says that this was all, it must have been."""
        before = len(self.outputs)
        self.hear(peer.outboxes[lane].popleft(), lane)
        for output in self.outputs[before:]:
            if isinstance(output, ExchangeDone):
                assert peer.finished[output.exchange] <= self.ids()

    def hear(self, data: bytes, lane: Lane = Lane.LIVE) -> None:
        for output in self.session.receive(data, lane):
            self.outputs.append(output)
            if isinstance(output, OperationArrived):
                self._keep(output.operation)
        if self.session.owes_answer:
            self.session.open()
        self.say()

    def _keep(self, operation: Operation) -> None:
        assert operation.is_signed()
        self.arrived.append(operation)
        entered = self.device.take([operation]).entered
        self.held += entered
        if entered:
            self.session.acknowledge(
                {one.log: self.device.ledger.heights()[one.log].count for one in entered}
            )

    def work(self, chance: random.Random | None = None, *, at_most: int = 10**9) -> None:
        """Send what the peer lacks, as a node does between two messages; how much that is, chance may exaggerate."""
        session = self.session
        if session.may_send:
            needed = session.needed()
            size_bytes = chance.randrange(2 * limits.LIVE_BYTES_MAX) if chance else 0
            for operation in self.held:
                if operation.log in needed and at_most > 0:
                    before = session.backlog
                    session.send(operation, session.choose_lane(size_bytes))
                    at_most -= session.backlog > before
            if session.owes_done and not session.needed():
                session.finish()
                self.finished[session._their_exchange] = self.ids()
        self.say()

    def outputs_of(self, kind: type[Output]) -> list[Output]:
        return [output for output in self.outputs if isinstance(output, kind)]

    @property
    def is_live(self) -> bool:
        return self.session.state is State.LIVE


def sides_with_news(count: int) -> tuple[Side, Side, list[Operation]]:
    """Two who have told each other everything, whereupon the first one has written so many operations."""
    (founder, member), written = found_team(2)
    one, other = Side(founder, list(written)), Side(member, list(written))
    one.session.open()
    pump(one, other)
    operations = [founder.write(Kind.UPDATE, b"x") for _ in range(count)]
    one.held += operations
    return one, other, operations


def pump(
    one: Side, other: Side, chance: random.Random | None = None, *, messages_max: int = 20_000
) -> int:
    """Let both talk until nothing is left to say; give how many messages that took."""
    count = 0
    one.say()
    other.say()
    while True:
        for side in (one, other):
            side.work(chance, at_most=chance.randint(0, 3) if chance else 10**9)
        ways = [
            (giver, taker, lane)
            for giver, taker in ((one, other), (other, one))
            for lane in Lane
            if giver.outboxes[lane]
        ]
        if not ways:
            if not any(side.session.may_send and side.session.needed() for side in (one, other)):
                return count
            continue
        giver, taker, lane = chance.choice(ways) if chance else ways[0]
        waiting = len(giver.outboxes[lane])
        for _ in range(chance.randint(1, waiting) if chance else waiting):
            taker.hear_next(giver, lane)
            count += 1
        assert count < messages_max, "the conversation does not end"


def exchanged(side: Side) -> int:
    return len(side.outputs_of(ExchangeDone)) + len(side.outputs_of(HeightsChanged))
