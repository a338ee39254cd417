"""Rendezvous servers: keeps a node connected to those that it is told of, under keys that it uses for nothing else.

A rendezvous hands on offers for strangers (`node/signalling.py`). It knows us under a key that is for it alone, and for
a day. Those that are configured always have their places. Those that an address of a peer names have others: they stay
while that peer is a member of a document of ours, or is being dialled, and the least useful gives way to a new one.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Final

from blake3 import blake3

from domain.connectivity.close_codes import CloseCode
from domain.connectivity.diagnosis import ServerReport
from domain.connectivity.nat import Mapping
from domain.connectivity.server import RendezvousServer
from domain.connectivity.strategy import connection_lost, strategy_of
from domain.errors import NetworkError
from domain.identifiers import PeerId
from domain.identity import DeviceKey
from domain.limits import (
    BRIEF_S,
    PEERS_BY_SERVER_MAX,
    SERVERS_BY_PEER_MAX,
    SERVERS_CONFIGURED_MAX,
    SERVERS_LEARNT_MAX,
)
from domain.ports.network import Connection
from domain.ports.traversal import Traversal
from node.environment import Environment
from node.runtime import Runtime

logger = logging.getLogger(__name__)

RECONNECT_S: Final = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0)
DAY_S: Final = 86_400
UNUSED_S: Final = 120.0
"""A server that a peer named is kept so long after the last dial: the back-off waits 30 s at most."""
REVIEW_S: Final = 30.0


@dataclass(slots=True, kw_only=True)
class _Learnt:
    """A server that addresses of peers named, the last of them last."""

    task: asyncio.Task[None]
    named_at: float
    peers: dict[PeerId, None] = field(default_factory=dict)


class RendezvousServers:
    """The rendezvous servers of one node.

    Args:
        environment: Everything outside.
        runtime: Starts tasks.
        traversal: Dials under another key.
        attach: Takes each connection, for signals.
        is_member: Whether somebody is a member of a document of ours.
    """

    def __init__(
        self,
        environment: Environment,
        runtime: Runtime,
        traversal: Traversal,
        *,
        attach: Callable[[Connection], None],
        is_member: Callable[[PeerId], bool],
    ) -> None:
        self._environment = environment
        self._runtime = runtime
        self._traversal = traversal
        self._attach = attach
        self._is_member = is_member
        self._configured: tuple[RendezvousServer, ...] = ()
        self._learnt: dict[RendezvousServer, _Learnt] = {}
        self._connected: set[RendezvousServer] = set()

    def start(self, servers: Sequence[RendezvousServer]) -> None:
        """Keep connected to these, and look at those that peers name."""
        self._configured = tuple(dict.fromkeys(servers))[:SERVERS_CONFIGURED_MAX]
        for server in self._configured:
            self._runtime.spawn(self._keep_connected(server), "rendezvous")
        self._runtime.spawn(self._review(), "rendezvous review")

    @property
    def servers(self) -> tuple[RendezvousServer, ...]:
        """The rendezvous nodes in use, those that are configured first."""
        return (*self._configured, *self._learnt)

    # --- Those that peers name ---

    def use(self, servers: Sequence[RendezvousServer], peer: PeerId) -> None:
        """Stay connected to servers at which a peer is to be found, which is being dialled."""
        for server in servers[:SERVERS_BY_PEER_MAX]:
            if server not in self._configured:
                self._name(server, peer)

    def _name(self, server: RendezvousServer, peer: PeerId) -> None:
        now = self._environment.clock.now()
        learnt = self._learnt.get(server)
        if learnt is None:
            if len(self._learnt) >= SERVERS_LEARNT_MAX:
                worst = min(self._learnt, key=self._usefulness)
                if self._usefulness(worst)[0] and not self._is_member(peer):
                    return  # all lead to members, and this one only to somebody who says so
                self._let_go(worst)
            task = self._runtime.spawn(self._keep_connected(server), "rendezvous")
            learnt = self._learnt[server] = _Learnt(task=task, named_at=now)
        learnt.named_at = now
        learnt.peers.pop(peer, None)
        learnt.peers[peer] = None
        if len(learnt.peers) > PEERS_BY_SERVER_MAX:
            del learnt.peers[next(iter(learnt.peers))]

    def _usefulness(self, server: RendezvousServer) -> tuple[bool, bool, float]:
        learnt = self._learnt[server]
        leads_to_members = any(map(self._is_member, learnt.peers))
        return leads_to_members, server in self._connected, learnt.named_at

    def _let_go(self, server: RendezvousServer) -> None:
        logger.info("rendezvous.let_go")
        self._learnt.pop(server).task.cancel()

    async def _review(self) -> None:
        """Let go of servers by which nobody who concerns us was found."""
        while True:
            await asyncio.sleep(REVIEW_S)
            unused_since = self._environment.clock.now() - UNUSED_S
            for server, learnt in list(self._learnt.items()):
                is_of_use = any(map(self._is_member, learnt.peers))
                if not is_of_use and learnt.named_at < unused_since:
                    self._let_go(server)

    # --- Connections ---

    async def _keep_connected(self, server: RendezvousServer) -> None:
        """Stay connected; each day under another key, the connection of the day before until the new one serves."""
        serving: Connection | None = None
        brief_count = 0
        try:
            while True:
                connection = await self._connect(server)
                self._attach(connection)
                began_at = self._environment.clock.now()
                if serving is not None:
                    serving.close(CloseCode.NORMAL, "another connection serves")
                serving = connection
                self._connected.add(server)
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._rest_of_day_s(server)):
                        lost = await serving.wait_closed()
                    serving = None
                    self._connected.discard(server)
                    is_brief = self._environment.clock.now() - began_at < BRIEF_S
                    brief_count = brief_count + 1 if is_brief else 0
                    await asyncio.sleep(_pause_s(brief_count, *lost))
        finally:
            self._connected.discard(server)
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
        return tuple([await self._examine(server) for server in self.servers])

    async def _examine(self, server: RendezvousServer) -> ServerReport:
        started = self._environment.clock.now()
        try:
            connection = await self._dial(server, by_relay=self._goes_by_relay(0))
        except NetworkError as error:
            return ServerReport(server=str(server.address), error=str(error))
        connection.close(CloseCode.NORMAL, "asked only whether it answers")
        took_s = self._environment.clock.now() - started
        return ServerReport(server=str(server.address), round_trip_s=took_s)


def _pause_s(brief_count: int, code: int, reason: str, by_peer: bool) -> float:  # noqa: FBT001 - as it ended
    """How long to leave a server alone that has ended a connection, the last of so many in a row that were brief."""
    floor_s = strategy_of(connection_lost(code, reason, by_peer=by_peer)).floor_s
    if not brief_count:
        return floor_s
    return max(floor_s, RECONNECT_S[min(brief_count, len(RECONNECT_S)) - 1])
