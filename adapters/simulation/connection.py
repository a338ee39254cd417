"""One end of a simulated connection, and its channels.

It behaves as the port promises and no better: each channel in order, channels overtaking each other, a reader that
stops holding up its writer and nobody else, and whatever was on its way when the connection ended lost.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from adapters.simulation.bell import Bell
from adapters.simulation.link import TraceEvent, TraceKind
from adapters.simulation.wire import Wire
from domain.connectivity.lifecycle import Lifecycle, Step
from domain.connectivity.strategy import connection_lost
from domain.identifiers import PeerId
from domain.limits import (
    CHANNEL_NAME_BYTES,
    CLOSE_REASON_BYTES_MAX,
    KIB,
    MESSAGE_BYTES_MAX,
    UNSENT_BYTES_MAX,
)
from domain.ports.network import Channel, Connection, ConnectionStatistics, Priority

CONTROL: Final = b""
"""The name of the control channel; no other name is so short."""
CLOSE_LANE: Final = b"close"
WINDOW_BYTES: Final = 512 * KIB
"""What a channel may have on its way or unread at the other end, before the next message has to wait."""

Report = Callable[[TraceEvent], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Introduction:
    """What an end of a connection knows about it from the start."""

    peer: PeerId
    is_dialler: bool
    instance: bytes
    binding: bytes
    remote_address: str
    lifecycle: Lifecycle


class SimulatedConnection(Connection):
    """One end of a connection.

    Args:
        loop: Whose time it uses.
        wire: What carries it.
        introduction: Who is at the other end.
        report: Takes trace events, or None.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        wire: Wire,
        introduction: Introduction,
        report: Report | None,
    ) -> None:
        self._loop = loop
        self._wire = wire
        self._introduction = introduction
        self._report = report
        self._side = 0 if introduction.is_dialler else 1
        self._twin: SimulatedConnection | None = None
        self._channels: dict[bytes, SimulatedChannel] = {}
        self._end: tuple[int, str, bool] | None = None
        self._end_bell = Bell(loop)
        self._sent_bytes = 0
        self._received_bytes = 0
        self._sent_count = 0
        self._received_count = 0
        self._control = self._channel(CONTROL)
        wire.attach(self._side, self._lose, self._hear)

    def join(self, twin: "SimulatedConnection") -> None:
        """Say which is the other end."""
        self._twin = twin

    @property
    def peer(self) -> PeerId:
        return self._introduction.peer

    @property
    def is_dialler(self) -> bool:
        return self._introduction.is_dialler

    @property
    def instance(self) -> bytes:
        return self._introduction.instance

    @property
    def binding(self) -> bytes:
        return self._introduction.binding

    @property
    def lifecycle(self) -> Lifecycle:
        return self._introduction.lifecycle

    @property
    def remote_address(self) -> str:
        return self._introduction.remote_address

    @property
    def control(self) -> Channel:
        return self._control

    def channel(self, name: bytes, priority: Priority = Priority.NORMAL) -> Channel:  # noqa: ARG002 - no channel waits for another here
        if len(name) != CHANNEL_NAME_BYTES:
            raise ValueError(f"a channel name has {CHANNEL_NAME_BYTES} bytes, not {len(name)}")
        return self._channel(name)

    def statistics(self) -> ConnectionStatistics:
        there, back = self._wire.links
        return ConnectionStatistics(
            bytes_sent=self._sent_bytes,
            bytes_received=self._received_bytes,
            messages_sent=self._sent_count,
            messages_received=self._received_count,
            round_trip_s=there.options.delay_s + back.options.delay_s,
        )

    def close(self, code: int, reason: str) -> None:
        if self._end is not None:
            return
        shown = reason.encode()[:CLOSE_REASON_BYTES_MAX].decode(errors="ignore")
        self._take(Step.CLOSE)
        self._finish(code, shown, by_peer=False)
        self._wire.carry(self._side, CLOSE_LANE, len(shown), lambda: self._tell(code, shown))

    async def wait_closed(self) -> tuple[int, str, bool]:
        while self._end is None:
            await self._end_bell.wait()
        return self._end

    # --- For its channels, and for the network ---

    @property
    def is_over(self) -> bool:
        """Whether this end has ended."""
        return self._end is not None

    def check(self) -> None:
        """Say so if this end has ended.

        Raises:
            ConnectionLostError: It has; the subclass says why.
        """
        if self._end is not None:
            code, reason, by_peer = self._end
            raise connection_lost(code, reason, by_peer=by_peer)

    def carry_message(self, name: bytes, message: bytes) -> None:
        """Let a message leave on the channel of that name."""
        size = len(message)
        self._sent_bytes += size
        self._sent_count += 1
        statistics = self._wire.links[self._side].statistics
        statistics.message_count += 1
        statistics.message_bytes += size
        self._trace(TraceKind.SENT, name, message)
        self._wire.carry(self._side, name, size, lambda: self._other_end.take(name, message))

    def count_received(self) -> None:
        """Note that a message was taken out."""
        self._received_count += 1

    def carry_credit(self, name: bytes, size_bytes: int) -> None:
        """Tell the other end that so much was taken out of the channel of that name."""
        self._wire.carry(
            self._side, b"credit" + name, 0, lambda: self._other_end.credit(name, size_bytes)
        )

    def take(self, name: bytes, message: bytes) -> None:
        """Take a message that arrived."""
        if self._end is None:
            self._received_bytes += len(message)
            self._other_end._trace(TraceKind.DELIVERED, name, message)  # noqa: SLF001 - it is our twin
            self._channel(name).take(message)

    def credit(self, name: bytes, size_bytes: int) -> None:
        """Hear that so much was taken out of a channel at the other end."""
        if self._end is None:
            self._channel(name).credit(size_bytes)

    # --- Within ---

    @property
    def _other_end(self) -> "SimulatedConnection":
        assert self._twin is not None, "both ends are made together"
        return self._twin

    def _channel(self, name: bytes) -> "SimulatedChannel":
        channel = self._channels.get(name)
        if channel is None:
            channel = self._channels[name] = SimulatedChannel(self._loop, self, name)
        return channel

    def _tell(self, code: int, reason: str) -> None:
        """Bring our close to the other end; nothing follows it."""
        self._other_end._finish(code, reason, by_peer=True)  # noqa: SLF001 - it is our twin
        self._wire.cut()

    def _lose(self, code: int, reason: str) -> None:
        self._finish(code, reason, by_peer=False)

    def _hear(self, *, is_heard: bool) -> None:
        self._take(Step.RECOVER if is_heard else Step.FALL_SILENT)

    def _finish(self, code: int, reason: str, *, by_peer: bool) -> None:
        if self._end is not None:
            return
        self._end = (code, reason, by_peer)
        self._take(Step.END)
        self._trace(TraceKind.ENDED, CONTROL, reason.encode())
        self._wire.detach(self._side)
        for channel in self._channels.values():
            channel.wake()
        self._end_bell.ring()

    def _take(self, step: Step) -> None:
        if self.lifecycle.may(step):
            self.lifecycle.take(step, now=self._loop.time())

    def _trace(self, kind: TraceKind, name: bytes, message: bytes) -> None:
        if self._report is not None:
            hosts = self._wire.hosts
            self._report(
                TraceEvent(
                    time_s=self._loop.time(),
                    kind=kind,
                    sender=hosts[self._side],
                    receiver=hosts[1 - self._side],
                    connection=self._wire.number,
                    channel=name,
                    message=message,
                )
            )


class SimulatedChannel(Channel):
    """One end of a channel. Made by its connection."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, connection: SimulatedConnection, name: bytes
    ) -> None:
        self._connection = connection
        self._name = name
        self._queue: deque[bytes] = deque()
        self._queue_bytes = 0
        self._away_bytes = 0  # left us, and not known to have been taken out at the other end
        self._arrived: deque[bytes] = deque()
        self._taken_bytes = 0  # taken out here, and not yet told
        self._readable = Bell(loop)
        self._writable = Bell(loop)

    async def send(self, message: bytes) -> None:
        _check_size(message)
        await self._until_writable()
        self._queue_message(message)
        await self._until_writable()

    def offer(self, message: bytes) -> bool:
        _check_size(message)
        self._connection.check()
        if self._queue_bytes > UNSENT_BYTES_MAX:
            return False
        self._queue_message(message)
        return True

    async def receive(self) -> bytes:
        while not self._arrived:
            self._connection.check()
            await self._readable.wait()
        message = self._arrived.popleft()
        self._connection.count_received()
        self._tell_taken(len(message))
        return message

    # --- For its connection ---

    def take(self, message: bytes) -> None:
        """Take a message that arrived."""
        self._arrived.append(message)
        self._readable.ring()

    def credit(self, size_bytes: int) -> None:
        """Hear that so much was taken out at the other end."""
        self._away_bytes -= size_bytes
        self._pump()

    def wake(self) -> None:
        """Let everybody who waits look again."""
        self._readable.ring()
        self._writable.ring()

    # --- Within ---

    async def _until_writable(self) -> None:
        self._connection.check()
        while self._queue_bytes > UNSENT_BYTES_MAX:
            await self._writable.wait()
            self._connection.check()

    def _queue_message(self, message: bytes) -> None:
        self._queue.append(message)
        self._queue_bytes += len(message)
        self._pump()

    def _pump(self) -> None:
        while self._queue and self._away_bytes < WINDOW_BYTES:
            message = self._queue.popleft()
            self._queue_bytes -= len(message)
            self._away_bytes += len(message)
            self._connection.carry_message(self._name, message)
        if self._queue_bytes <= UNSENT_BYTES_MAX:
            self._writable.ring()

    def _tell_taken(self, size_bytes: int) -> None:
        """Give credit back, in portions of a quarter of the window."""
        self._taken_bytes += size_bytes
        if self._taken_bytes >= WINDOW_BYTES // 4 and not self._connection.is_over:
            self._connection.carry_credit(self._name, self._taken_bytes)
            self._taken_bytes = 0


def _check_size(message: bytes) -> None:
    if not 1 <= len(message) <= MESSAGE_BYTES_MAX:
        raise ValueError(f"a message has 1 to {MESSAGE_BYTES_MAX} bytes, not {len(message)}")
