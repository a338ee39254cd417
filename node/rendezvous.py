"""Rendezvous servers: keeps a node connected to those that it is told of, under keys that it uses for nothing else.

A rendezvous hands on offers for strangers (`node/signalling.py`). It knows us under a key that is for it alone.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
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
        failures = 0
        while True:
            try:
                connection = await self._dial(server, by_relay=self._goes_by_relay(failures))
            except NetworkError as error:
                logger.info("rendezvous.unreachable", extra={"error": str(error)})
                await asyncio.sleep(RECONNECT_S[min(failures, len(RECONNECT_S) - 1)])
                failures += 1
                continue
            failures = 0
            logger.info("rendezvous.connected")
            self._attach(connection)
            await connection.wait_closed()

    def _goes_by_relay(self, failures: int) -> bool:
        """Where no STUN server answers UDP looks blocked, and may not be: a direct dial takes its turn there too."""
        starts_by_relay = self._traversal.nat.mapping is Mapping.BLOCKED
        return self._traversal.has_relay and starts_by_relay == (failures % 2 == 0)

    async def _dial(self, server: RendezvousServer, *, by_relay: bool) -> Connection:
        day = self._environment.clock.timestamp_us() // 1_000_000 // DAY_S
        seed = blake3(
            self._environment.storage_key + server.peer + day.to_bytes(8, "big"),
            derive_key_context="culm throw-away key v1",
        ).digest()
        return await self._traversal.dial_as(
            DeviceKey(seed), server.peer, [str(server.address)], by_relay=by_relay
        )

    async def examine(self) -> tuple[ServerReport, ...]:
        """Ask every rendezvous that is configured, and say how long it took."""
        reports = []
        for server in self._servers:
            started = self._environment.clock.now()
            try:
                connection = await self._dial(server, by_relay=self._goes_by_relay(0))
            except NetworkError as error:
                reports.append(ServerReport(server=str(server.address), error=str(error)))
                continue
            connection.close(CloseCode.NORMAL, "asked only whether it answers")
            took_s = self._environment.clock.now() - started
            reports.append(ServerReport(server=str(server.address), round_trip_s=took_s))
        return tuple(reports)
