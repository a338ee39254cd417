"""Two sides of a conversation about a document, and the pipe between them, without loss and in order."""

import random
from collections import deque

from domain.identifiers import LogKey
from domain.ledger.ledger import Height
from domain.operations.operation import Operation
from domain.sync.session import (
    ExchangeDone,
    HeightsChanged,
    OperationArrived,
    Output,
    State,
    SyncSession,
)
from tests.domain.ledger.devices import Device


class Side:
    """A device in conversation with one peer, doing what a node does."""

    def __init__(self, device: Device, held: list[Operation]) -> None:
        self.device = device
        self.held = held
        self.session = SyncSession(device.document, self.heights)
        self.outbox: deque[bytes] = deque()
        self.outputs: list[Output] = []
        self.arrived: list[Operation] = []
        self.sent_bytes = 0

    def heights(self) -> dict[LogKey, Height]:
        return self.device.ledger.heights()

    def say(self) -> None:
        """Hand what the session says to the pipe."""
        messages = self.session.take_messages()
        self.sent_bytes += sum(map(len, messages))
        self.outbox.extend(messages)

    def hear(self, data: bytes) -> None:
        for output in self.session.receive(data):
            self.outputs.append(output)
            if isinstance(output, OperationArrived):
                self._keep(output.operation)
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

    def work(self, *, at_most: int = 10**9) -> None:
        """Send what the peer lacks, as a node does between two messages."""
        session = self.session
        if session.may_send:
            needed = session.needed()
            for operation in self.held:
                if operation.log in needed and at_most > 0:
                    before = session.backlog
                    session.send(operation)
                    at_most -= session.backlog > before
            if session.owes_done and not session.needed():
                session.finish()
        self.say()

    def outputs_of(self, kind: type[Output]) -> list[Output]:
        return [output for output in self.outputs if isinstance(output, kind)]

    @property
    def is_live(self) -> bool:
        return self.session.state is State.LIVE


def pump(
    one: Side, other: Side, chance: random.Random | None = None, *, messages_max: int = 20_000
) -> int:
    """Let both talk until nothing is left to say; give how many messages that took."""
    count = 0
    one.say()
    other.say()
    while True:
        for side in (one, other):
            side.work(at_most=chance.randint(0, 3) if chance else 10**9)
        pairs = [(a, b) for a, b in ((one, other), (other, one)) if a.outbox]
        if not pairs:
            if not any(side.session.may_send and side.session.needed() for side in (one, other)):
                return count
            continue
        giver, taker = chance.choice(pairs) if chance else pairs[0]
        for _ in range(chance.randint(1, len(giver.outbox)) if chance else len(giver.outbox)):
            taker.hear(giver.outbox.popleft())
            count += 1
        assert count < messages_max, "the conversation does not end"


def exchanged(side: Side) -> int:
    return len(side.outputs_of(ExchangeDone)) + len(side.outputs_of(HeightsChanged))
