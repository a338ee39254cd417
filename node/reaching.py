"""Reaching a peer by whatever leads there: where it is known to be, and at the same time by exchanging offers."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final

from domain.connectivity.close_codes import CloseCode
from domain.connectivity.lifecycle import Lifecycle, Step
from domain.connectivity.nat import Mapping
from domain.errors import DialError, HandshakeError, NetworkError
from domain.identifiers import DocumentId, PeerId
from domain.ports.environment import Clock
from domain.ports.network import Connection, NetworkInterface
from domain.ports.traversal import Traversal
from node.runtime import Runtime
from node.signalling import Signalling

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
        self._documents: dict[PeerId, DocumentId] = {}

    def introduce(self, peer: PeerId, document: DocumentId) -> None:
        """Know a document by which a peer can be found, though we are no member yet."""
        self._documents[peer] = document

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
        """Connect to a peer by the first way that leads to it.

        A life cycle that is given takes the steps of dialling the known addresses; a connection by another way has its
        own.
        """
        ways: list[Callable[[], Coroutine[Any, Any, Connection]]] = []
        if addresses:
            ways.append(lambda: self._network.dial(peer, addresses, lifecycle))
            if self._traversal.nat.mapping is Mapping.BLOCKED and self._traversal.has_relay:
                ways.append(lambda: self._traversal.dial_by_relay(peer, addresses))
        elif lifecycle is not None:
            lifecycle.take(Step.INITIALIZE, now=self._clock.now())
        if self._signalling.can_signal():
            document = self._documents.get(peer)
            ways.append(lambda: self._signalling.reach(peer, document))
        return await self._race(peer, ways)

    async def accept(self) -> Connection:
        """Wait for the next peer."""
        return await self._network.accept()

    async def close(self, code: int, reason: str) -> None:
        """Close every connection."""
        await self._network.close(code, reason)

    async def _race(
        self, peer: PeerId, ways: Sequence[Callable[[], Coroutine[Any, Any, Connection]]]
    ) -> Connection:
        """Try all ways, each a little after the one before; the first connection stays.

        Raises:
            DialError: None leads there.
            HandshakeError: Somebody else is there.
        """
        won: asyncio.Future[Connection] = asyncio.get_running_loop().create_future()
        errors: list[NetworkError] = []

        async def attempt(number: int, way: Callable[[], Coroutine[Any, Any, Connection]]) -> None:
            try:
                await asyncio.sleep(number * HEAD_START_S)
                connection = await way()
            except NetworkError as error:
                errors.append(error)
                if len(errors) == len(ways) and not won.done():
                    won.set_exception(_worst(errors))
                return
            if won.done():
                connection.close(CloseCode.REPLACED, "another way led there first")
            else:
                won.set_result(connection)

        if not ways:
            raise DialError(
                "no address of the peer is known, and nobody who could hand on an offer"
            )
        tasks = [
            self._runtime.spawn(attempt(number, way), f"reach {peer.short}")
            for number, way in enumerate(ways)
        ]
        try:
            return await asyncio.shield(won)
        except asyncio.CancelledError:
            if won.done() and won.exception() is None:
                won.result().close(CloseCode.NORMAL, "the dial was given up")
            raise
        finally:
            won.cancel()
            for task in tasks:
                task.cancel()


def _worst(errors: Sequence[NetworkError]) -> NetworkError:
    refusals = [each for each in errors if isinstance(each, HandshakeError)]
    if len(refusals) == len(errors):
        return refusals[0]
    return DialError("; ".join(dict.fromkeys(map(str, errors))))
