"""Reaching a peer by whatever leads there: where it is known to be, and at the same time by exchanging offers."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, Final

from domain.connectivity.close_codes import CloseCode
from domain.connectivity.lifecycle import Lifecycle, Step
from domain.connectivity.nat import Mapping
from domain.connectivity.server import RendezvousServer, is_rendezvous
from domain.errors import (
    ConfigurationError,
    ConnectionLostError,
    DialError,
    HandshakeError,
    NetworkError,
)
from domain.identifiers import PeerId
from domain.ports.environment import Clock
from domain.ports.network import Connection, NetworkInterface
from domain.ports.traversal import Traversal
from node.runtime import Runtime
from node.signalling import Signalling

Way = Callable[[], Coroutine[Any, Any, Connection]]
NEAR_S_MAX: Final = 0.5
"""Who is in the same house, behind a firewall that lets no datagrams out, answers a dial much sooner."""
HEAD_START_S: Final = 0.05
"""So long a known address is tried alone: on one network nothing else is needed."""


class ReachingNetwork(NetworkInterface):
    """A network whose `dial` finds ways through NAT boxes too.

    Args:
        network: The network beneath.
        traversal: Opens ways.
        signalling: Exchanges offers.
        runtime: Starts tasks.
        clock: Tells the time.
    """

    def __init__(
        self,
        network: NetworkInterface,
        traversal: Traversal,
        signalling: Signalling,
        runtime: Runtime,
        clock: Clock,
    ) -> None:
        self._network = network
        self._traversal = traversal
        self._signalling = signalling
        self._runtime = runtime
        self._clock = clock
        self._keys: dict[PeerId, bytes] = {}

    def introduce(self, peer: PeerId, discovery_key: bytes) -> None:
        """Know a key by which a peer can be found, though we are no member of any document of it yet."""
        self._keys[peer] = discovery_key
        self._signalling.expect(peer)

    async def start(self) -> None:
        """Begin to listen."""
        await self._network.start()

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where we listen."""
        return self._network.addresses

    async def dial(
        self, peer: PeerId, addresses: Sequence[str], lifecycle: Lifecycle | None = None
    ) -> Connection:
        """Connect to a peer by the first way that leads to it; an address may also name a rendezvous to find it by.

        A life cycle that is given takes the steps of dialling the known addresses; a connection by another way has its
        own.
        """
        servers = []
        for each in addresses:
            if is_rendezvous(each):
                with suppress(ConfigurationError):
                    servers.append(RendezvousServer.parse(each))
        self._signalling.rendezvous.use(servers, peer)
        addresses = [each for each in addresses if not is_rendezvous(each)]
        race = _Race(self._runtime, peer)
        if addresses:
            race.add(lambda: self._dial_known(peer, addresses, lifecycle))
        elif lifecycle is not None:
            lifecycle.take(Step.INITIALIZE, now=self._clock.now())
        if self._signalling.can_signal():
            key = self._keys.get(peer)
            race.add(lambda: self._signalling.reach(peer, key, race.alone))
        return await race.run()

    async def _dial_known(
        self, peer: PeerId, addresses: Sequence[str], lifecycle: Lifecycle | None
    ) -> Connection:
        """Dial the addresses; from our port at a relay where only that leads out, and no more than our house is near.

        One after the other: two connections that came about at once would end each other, the dialler keeping the one
        and the listener the other.
        """
        dial = self._network.dial(peer, addresses, lifecycle)
        if self._traversal.nat.mapping is not Mapping.BLOCKED or not self._traversal.has_relay:
            return await dial
        try:
            async with asyncio.timeout(NEAR_S_MAX):
                return await dial
        except (TimeoutError, DialError):
            return await self._traversal.dial_by_relay(peer, addresses)

    async def accept(self) -> Connection:
        """Wait for the next peer."""
        return await self._network.accept()

    async def close(self, code: int, reason: str) -> None:
        """Close every connection."""
        await self._network.close(code, reason)


class _Race:
    """Ways to one peer that are tried at the same time; the first connection stays.

    A listener lets the newer of two connections from one side take the place of the older. So no way may complete
    after another has: one that is about to dial where it found an opening calls `alone`, which ends all others.

    Args:
        runtime: Starts tasks.
        peer: Whom all of it is for.
    """

    def __init__(self, runtime: Runtime, peer: PeerId) -> None:
        self._runtime = runtime
        self._peer = peer
        self._ways: list[Way] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._errors: list[NetworkError] = []
        self._won: asyncio.Future[Connection] = asyncio.get_running_loop().create_future()

    def add(self, way: Way) -> None:
        """Try that too, a little after the one before."""
        self._ways.append(way)

    def alone(self) -> None:
        """The way that calls this has found an opening: end the others."""
        current = asyncio.current_task()
        for task in self._tasks:
            if task is not current:
                task.cancel()

    async def run(self) -> Connection:
        """Give the first connection.

        Raises:
            DialError: No way leads there.
            HandshakeError: Somebody else is there.
            ConnectionLostError: The peer is there, and has ended the connection again.
        """
        if not self._ways:
            raise DialError(
                "no address of the peer is known, and nobody who could hand on an offer"
            )
        self._tasks = [
            self._runtime.spawn(self._try(number, way), f"reach {self._peer.short}")
            for number, way in enumerate(self._ways)
        ]
        for task in self._tasks:
            task.add_done_callback(self._count)
        try:
            return await asyncio.shield(self._won)
        except asyncio.CancelledError:
            if self._won.done() and self._won.exception() is None:
                self._won.result().close(CloseCode.NORMAL, "the dial was given up")
            self._end()
            await asyncio.wait(self._tasks)  # nothing of it takes a step once the caller goes on
            raise
        finally:
            self._end()

    def _end(self) -> None:
        self._won.cancel()
        for task in self._tasks:
            task.cancel()

    async def _try(self, number: int, way: Way) -> None:
        await asyncio.sleep(number * HEAD_START_S)
        try:
            connection = await way()
        except NetworkError as error:
            self._errors.append(error)
            return
        if self._won.done():
            connection.close(CloseCode.REPLACED, "another way led there first")
        else:
            self._won.set_result(connection)

    def _count(self, _: asyncio.Task[None]) -> None:
        """Once all have ended without a connection, that is the end."""
        if all(task.done() for task in self._tasks) and not self._won.done():
            self._won.set_exception(_worst(self._errors or [DialError("the dial was given up")]))


def _worst(errors: Sequence[NetworkError]) -> NetworkError:
    ended = [each for each in errors if isinstance(each, ConnectionLostError)]
    if ended:
        return ended[0]  # the peer itself has spoken
    refusals = [each for each in errors if isinstance(each, HandshakeError)]
    if len(refusals) == len(errors):
        return refusals[0]
    refused = [text for each in errors for text in each.refused]
    return DialError("; ".join(dict.fromkeys(map(str, errors))), refused)
