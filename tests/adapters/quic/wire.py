"""A network of datagrams in memory and in virtual time, which delays, loses, duplicates and reorders."""

import asyncio
import random
import socket
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from adapters.quic.network import QuicNetwork
from adapters.quic.socket import DatagramSocket, Receiver
from adapters.quic.source import SocketAddress
from domain.connectivity.address import Address
from domain.identity import DeviceKey
from tests.adapters.quic.environment import network


@dataclass
class Wire:
    """What lies between all sockets that were opened on it."""

    seed: int = 0
    delay_s: float = 0.025
    jitter_s: float = 0.0
    loss: float = 0.0
    duplication: float = 0.0
    bytes_per_s: float | None = None
    queue_bytes: int = 0
    is_cut: bool = False
    datagrams: int = 0
    dropped: int = 0
    chance: random.Random = field(init=False)
    sockets: dict[SocketAddress, "WireSocket"] = field(default_factory=dict)
    _line: deque[tuple[bytes, SocketAddress, SocketAddress]] = field(default_factory=deque)
    _busy_until: dict[SocketAddress, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.chance = random.Random(self.seed)

    def network(self, key: DeviceKey, **changes: object) -> QuicNetwork:
        """A QUIC network on this wire, with the deadlines that it has in earnest."""
        arguments: dict[str, object] = {
            "open_socket": self.open,
            "listen": "10.0.0.1:0",
            "dial_s_max": 3.0,
        }
        return network(key, **arguments | changes)

    async def open(self, address: Address, receiver: Receiver) -> DatagramSocket:
        """Open a socket."""
        local = (address.host, address.port or 1_000 + len(self.sockets))
        self.sockets[local] = opened = WireSocket(self, local, receiver)
        return opened

    def carry(self, datagram: bytes, source: SocketAddress, to: SocketAddress) -> None:
        """Take a datagram from a socket."""
        self.datagrams += 1
        for _ in range(2 if self.chance.random() < self.duplication else 1):
            if self.is_cut or self.chance.random() < self.loss:
                continue
            loop = asyncio.get_running_loop()
            if self.bytes_per_s is not None:
                self._carry_in_turn(datagram, source, to)
            elif self.jitter_s:
                delay_s = self.delay_s + self.jitter_s * self.chance.random()
                loop.call_later(delay_s, partial(self._arrive, datagram, source, to))
            else:
                # Timers for the same instant fire in any order; a wire without jitter keeps the order.
                self._line.append((datagram, source, to))
                loop.call_later(self.delay_s, self._arrive_next)

    def _carry_in_turn(self, datagram: bytes, source: SocketAddress, to: SocketAddress) -> None:
        """Put it into the queue of a slow line, unless that is full."""
        assert self.bytes_per_s is not None
        loop = asyncio.get_running_loop()
        free_at = max(loop.time(), self._busy_until.get(source, 0.0))
        if (free_at - loop.time()) * self.bytes_per_s > self.queue_bytes:
            self.dropped += 1
            return
        self._busy_until[source] = gone_at = free_at + len(datagram) / self.bytes_per_s
        loop.call_at(gone_at + self.delay_s, partial(self._arrive, datagram, source, to))

    def _arrive_next(self) -> None:
        self._arrive(*self._line.popleft())

    def _arrive(self, datagram: bytes, source: SocketAddress, to: SocketAddress) -> None:
        if to in self.sockets and not self.is_cut:
            self.sockets[to].receiver([(datagram, source)])


class WireSocket(DatagramSocket):
    """A socket on a wire."""

    def __init__(self, wire: Wire, local: SocketAddress, receiver: Receiver) -> None:
        self.is_behind = False
        self._wire = wire
        self._local = local
        self.receiver = receiver

    @property
    def local(self) -> SocketAddress:
        return self._local

    @property
    def family(self) -> socket.AddressFamily:
        return socket.AF_INET

    def send(self, datagrams: Sequence[bytes], to: SocketAddress) -> None:
        for datagram in datagrams:
            self._wire.carry(datagram, self._local, to)

    def close(self) -> None:
        self._wire.sockets.pop(self._local, None)
