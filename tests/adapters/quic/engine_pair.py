"""Two engines joined in memory, in virtual time, by a link that may lose and delay."""

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from adapters.quic.boundary import TIMER_SLACK_S, EngineEvent, StreamData
from adapters.quic.certificate import make_configuration
from adapters.quic.credit import ReceiveBudget
from adapters.quic.engine import Engine
from domain.identity import DeviceKey

SERVER_KEY, CLIENT_KEY = DeviceKey(b"s" * 32), DeviceKey(b"c" * 32)


@dataclass
class Side:
    """One engine and what it has seen."""

    engine: Engine
    consumes: bool = True
    events: list[EngineEvent] = field(default_factory=list)
    received: dict[int, bytearray] = field(default_factory=dict)
    finished: set[int] = field(default_factory=set)
    unread: dict[int, int] = field(default_factory=dict)
    datagrams_sent: int = 0
    bytes_sent: int = 0
    on_event: Callable[[EngineEvent], None] | None = None

    def take_events(self) -> None:
        while (event := self.engine.take_event()) is not None:
            self.events.append(event)
            if isinstance(event, StreamData):
                self.received.setdefault(event.stream_id, bytearray()).extend(event.data)
                self.unread[event.stream_id] = self.unread.get(event.stream_id, 0) + len(event.data)
                if event.is_end:
                    self.finished.add(event.stream_id)
                    self.engine.release_stream(event.stream_id)
            if self.on_event is not None:
                self.on_event(event)
        if self.consumes:
            self.consume()

    def consume(self) -> None:
        for stream_id, count in self.unread.items():
            if count:
                self.engine.consume(stream_id, count)
        self.unread.clear()


class EnginePair:
    """A client and a server, with a clock of their own."""

    def __init__(self, *, seed: int = 0, loss: float = 0.0, delay_s: float = 0.01) -> None:
        self.now = 0.0
        self.loss = loss
        self.random = random.Random(seed)
        self._delay_s = delay_s
        self._flying: list[tuple[float, int, Side, bytes]] = []
        self._count = 0
        budget = ReceiveBudget()
        client = Engine(
            configuration=make_configuration(CLIENT_KEY, "test", is_client=True), budget=budget
        )
        client.dial(0.0)
        server = Engine(
            configuration=make_configuration(SERVER_KEY, "test", is_client=False),
            budget=ReceiveBudget(),
            original_destination_connection_id=client.original_destination_connection_id,
        )
        self.client, self.server = Side(client), Side(server)

    def opened(self) -> "EnginePair":
        """Complete the handshake and open the windows."""
        self.run(1.0)
        self.client.engine.open_windows()
        self.server.engine.open_windows()
        self.server.engine.write(1, b"hello")
        self.run(0.5)
        self.client.engine.write(1, b"hello")
        self.run(0.5)
        return self

    def flush(self) -> None:
        for side, other in ((self.client, self.server), (self.server, self.client)):
            side.take_events()
            for datagram in side.engine.datagrams(self.now):
                side.datagrams_sent += 1
                side.bytes_sent += len(datagram)
                if self.random.random() >= self.loss:
                    arrival = self.now + self._delay_s * (1 + 0.2 * self.random.random())
                    heapq.heappush(self._flying, (arrival, self._count, other, datagram))
                    self._count += 1

    def run(self, duration_s: float) -> None:
        """Let time pass."""
        end = self.now + duration_s
        self.flush()
        while True:
            times = [
                at for side in (self.client, self.server) if (at := side.engine.timer()) is not None
            ]
            if self._flying:
                times.append(self._flying[0][0])
            if not times or min(times) > end:
                self.now = end
                return
            self.now = max(self.now, min(times) + TIMER_SLACK_S)
            while self._flying and self._flying[0][0] <= self.now:
                _, _, side, datagram = heapq.heappop(self._flying)
                row = [datagram]
                while (
                    self._flying and self._flying[0][0] <= self.now and self._flying[0][2] is side
                ):
                    row.append(heapq.heappop(self._flying)[3])
                side.engine.receive(row, self.now)
            for side in (self.client, self.server):
                at = side.engine.timer()
                if at is not None and at <= self.now:
                    side.engine.fire(self.now)
            self.flush()
