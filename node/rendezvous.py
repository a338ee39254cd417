"""Rendezvous servers: keeps a node connected to those that it is told of, under keys that it uses for nothing else.

A rendezvous hands on offers for strangers (`node/signalling.py`). It knows us under a key that is for it alone, and for
a day.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import count
from typing import Final

from blake3 import blake3

from domain.connectivity.close_codes import CloseCode
from domain.connectivity.diagnosis import ServerReport
from domain.connectivity.nat import Mapping
from domain.connectivity.server import RendezvousServer
from domain.errors import NetworkError
from domain.identity import DeviceKey
from domain.ports.network import Connection
from domain.ports.traversal import Traversal
from node.environment import Environment
from node.runtime import Runtime

logger = logging.getLogger(__name__)

SERVERS_MAX: Final = 8
RECONNECT_S: Final = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0)
DAY_S: Final = 86_400


class RendezvousServers:
    """The rendezvous servers of one node.

    Args:
        environment: Everything outside.
        runtime: Starts tasks.
        traversal: Dials under another key.
        attach: Takes each connection, for signals.
    """

    def __init__(
        self,
        environment: Environment,
        runtime: Runtime,
        traversal: Traversal,
        attach: Callable[[Connection], None],
    ) -> None:
        self._environment = environment
        self._runtime = runtime
        self._traversal = traversal
        self._attach = attach
        self._servers: tuple[RendezvousServer, ...] = ()

    def start(self, servers: Sequence[RendezvousServer]) -> None:
        """Keep connected to these."""
        for server in servers:
            self.use(server)

    def use(self, server: RendezvousServer) -> None:
        """Stay connected to a rendezvous from now on, if there are not too many."""
        if server not in self._servers and len(self._servers) < SERVERS_MAX:
            self._servers = (*self._servers, server)
            self._runtime.spawn(self._keep_connected(server), "rendezvous")

    @property
    def servers(self) -> tuple[RendezvousServer, ...]:
        """The rendezvous nodes in use."""
        return self._servers

    async def _keep_connected(self, server: RendezvousServer) -> None:
        """Stay connected; each day under another key, the connection of the day before until the new one serves."""
        serving: Connection | None = None
        try:
            while True:
                connection = await self._connect(server)
                self._attach(connection)
                if serving is not None:
                    serving.close(CloseCode.NORMAL, "another connection serves")
                serving = connection
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._rest_of_day_s(server)):
                        await serving.wait_closed()
                    serving = None
        finally:
            if serving is not None:
                serving.close(CloseCode.NORMAL, "nobody is to be found there any more")

    async def _connect(self, server: RendezvousServer) -> Connection:
        """Dial until it answers: directly and by a relay in turn, where there is one."""
        for failures in count():
            try:
                connection = await self._dial(server, by_relay=self._goes_by_relay(failures))
            except NetworkError as error:
                logger.info("rendezvous.unreachable", extra={"error": str(error)})
                await asyncio.sleep(RECONNECT_S[min(failures, len(RECONNECT_S) - 1)])
                continue
            logger.info("rendezvous.connected")
            return connection
        raise AssertionError

    def _goes_by_relay(self, failures: int) -> bool:
        """Where no STUN server answers UDP looks blocked, and may not be: a direct dial takes its turn there too."""
        starts_by_relay = self._traversal.nat.mapping is Mapping.BLOCKED
        return self._traversal.has_relay and starts_by_relay == (failures % 2 == 0)

    async def _dial(self, server: RendezvousServer, *, by_relay: bool) -> Connection:
        seed = blake3(
            self._environment.storage_key + server.peer + self._day(server)[0].to_bytes(8, "big"),
            derive_key_context="culm throw-away key v1",
        ).digest()
        return await self._traversal.dial_as(
            DeviceKey(seed), server.peer, [str(server.address)], by_relay=by_relay
        )

    def _day(self, server: RendezvousServer) -> tuple[int, int]:
        """The number of the day, and how many seconds of it are left.

        It begins at another time for each node and server, so that not all of them dial at once.
        """
        drawn = blake3(
            self._environment.storage_key + server.peer,
            derive_key_context="culm beginning of the day v1",
        ).digest()
        shifted = self._environment.clock.timestamp_us() // 1_000_000
        shifted += int.from_bytes(drawn, "big") % DAY_S
        return shifted // DAY_S, DAY_S - shifted % DAY_S

    def _rest_of_day_s(self, server: RendezvousServer) -> float:
        return self._day(server)[1] + 1.0

    async def examine(self) -> tuple[ServerReport, ...]:
        """Ask every rendezvous in use, and say how long it took."""
        return tuple([await self._examine(server) for server in self._servers])

    async def _examine(self, server: RendezvousServer) -> ServerReport:
        started = self._environment.clock.now()
        try:
            connection = await self._dial(server, by_relay=self._goes_by_relay(0))
        except NetworkError as error:
            return ServerReport(server=str(server.address), error=str(error))
        connection.close(CloseCode.NORMAL, "asked only whether it answers")
        took_s = self._environment.clock.now() - started
        return ServerReport(server=str(server.address), round_trip_s=took_s)
