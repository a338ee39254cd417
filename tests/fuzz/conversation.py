"""A peer that says anything to a session, in any state, on either lane; and honest conversations to begin with."""

from functools import cache
from typing import Final

from domain import limits
from domain.identifiers import LogKey
from domain.ledger.ledger import Height
from domain.sync.output import OperationArrived
from domain.sync.session import Lane, State, SyncSession
from tests.domain.ledger.devices import Device, History, found_team
from tests.domain.sync.sides import Side

STEPS_MAX: Final = 200
BACKLOG_MAX: Final = 2_000
HEAR_LIVE, HEAR_BULK, OPEN, WORK, REJECT, BE_STRANGE = range(6)
"""What a step may be, by its first byte; the first two go on with two bytes of length and a message."""


@cache
def _ours() -> tuple[Device, dict[LogKey, Height]]:
    devices, operations = found_team(2)
    device = devices[0]
    device.take(operations)
    return device, device.ledger.heights()


def converse(data: bytes) -> None:
    """Do the steps that are in the bytes."""
    device, heights = _ours()
    session = SyncSession(device.document, lambda: heights)
    at = 0
    for _ in range(STEPS_MAX):
        if at >= len(data):
            break
        kind, at = data[at] % 6, at + 1
        if kind in (HEAR_LIVE, HEAR_BULK):
            size = int.from_bytes(data[at : at + 2], "big")
            message, at = data[at + 2 : at + 2 + size], at + 2 + size
            _hear(session, message, Lane.LIVE if kind == HEAR_LIVE else Lane.BULK)
        else:
            _act(session, kind, heights)
        assert session.backlog <= BACKLOG_MAX
        assert isinstance(session.state, State)


def _hear(session: SyncSession, message: bytes, lane: Lane) -> None:
    for output in session.receive(message, lane):
        if isinstance(output, OperationArrived):
            output.operation.is_signed()
    assert len(session.known()) <= limits.HAVE_LOGS_MAX


def _act(session: SyncSession, kind: int, heights: dict[LogKey, Height]) -> None:
    match kind:
        case _ if kind == OPEN:
            session.open()
        case _ if kind == WORK:
            if session.may_send:
                session.needed()
                if session.owes_done:
                    session.finish()
            for lane in Lane:
                session.take_messages(lane)
        case _ if kind == REJECT:
            session.reject(next(iter(heights)), 0, "damaged")
            session.acknowledge({log: height.count for log, height in heights.items()})
        case _:
            session.is_stranger = not session.is_stranger


@cache
def recorded() -> list[bytes]:
    """What one side heard in conversations about histories of several kinds, as steps."""
    found = []
    for seed in range(3):
        history = History(seed, 40)
        one, other = (
            Side(device, history.held[device.number])
            for device in (history.devices[0], history.devices[-1])
        )
        steps = bytearray([OPEN])
        one.session.open()
        other.session.open()
        for _ in range(8):
            for side in (one, other):
                side.work()
            for lane in Lane:
                kind = HEAR_LIVE if lane is Lane.LIVE else HEAR_BULK
                while other.outboxes[lane]:
                    message = other.outboxes[lane].popleft()
                    steps += bytes([kind]) + len(message).to_bytes(2, "big") + message
                    one.hear(message, lane)
                while one.outboxes[lane]:
                    other.hear(one.outboxes[lane].popleft(), lane)
            steps.append(WORK)
        found.append(bytes(steps))
    return found
