"""Sockets beside that of the node, on which something is tried out that is not to disturb it."""

import asyncio
from abc import abstractmethod
from collections.abc import Awaitable, Callable
from typing import Protocol

from adapters.nat.stun import StunAnswer, StunClient, StunError
from domain.connectivity.address import Address
from domain.ports.environment import Clock, Entropy

Receiver = Callable[[bytes, Address], None]


class ScoutSocket(Protocol):
    """A UDP socket beside that of the node, on the same interfaces."""

    @abstractmethod
    def send(self, data: bytes, to: Address) -> None:
        """Send a datagram; lost where the socket cannot reach that address."""

    @abstractmethod
    def close(self) -> None:
        """Give it up."""


ScoutOpener = Callable[[Receiver], Awaitable[ScoutSocket]]
"""Opens one; what arrives goes to the receiver. Raises `NetworkError` where the system has none left."""


class Scout:
    """One socket: asks for itself, and hears what it is answered upon a request of another."""

    def __init__(self, clock: Clock, entropy: Entropy) -> None:
        self._clock = clock
        self._entropy = entropy
        self._socket: ScoutSocket | None = None
        self._own = StunClient(clock=clock, entropy=entropy, send=self.send)
        self._heard: StunClient | None = None
        self.answer: StunAnswer | None = None
        self.silent_since = 0.0

    async def open(self, opener: ScoutOpener) -> None:
        """Open the socket."""
        self._socket = await opener(self._receive)

    def send(self, data: bytes, to: Address) -> None:
        """Send from the socket."""
        if self._socket is not None:
            self._socket.send(data, to)

    def close(self) -> None:
        """Give everything up."""
        self._own.close()
        if self._heard is not None:
            self._heard.close()
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def start(self, server: Address) -> asyncio.Future[StunAnswer]:
        """Ask as what it is seen."""
        return self._own.ask(server)

    def begin(self, answer: StunAnswer) -> None:
        """Keep silent from now on."""
        self.answer = answer
        self.silent_since = self._clock.now()

    async def is_reached(self, server: Address, voice: "Scout") -> bool:
        """Whether an answer upon a request of another socket comes to the binding; waits 2.75 s for it at most."""
        assert self.answer is not None
        self._heard = StunClient(clock=self._clock, entropy=self._entropy, send=voice.send)
        try:
            await self._heard.ask(server, response_port=self.answer.mapped.port)
        except StunError:
            return False
        finally:
            self._heard = None
        return True

    def _receive(self, data: bytes, source: Address) -> None:
        self._own.receive(data, source)
        if self._heard is not None:
            self._heard.receive(data, source)
