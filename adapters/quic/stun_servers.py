"""The STUN servers that were configured: where they are, and as what each saw our socket last."""

import asyncio
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from adapters.nat.stun import StunAnswer, StunClient
from adapters.quic.source import to_socket_address
from domain.connectivity.address import Address
from domain.connectivity.diagnosis import ServerReport

SERVERS_MAX: Final = 8
SHARED_S: Final = 0.5
"""So long a request that is under way serves those who ask later too: many may ask at once."""


@dataclass(slots=True)
class _StunServer:
    """One by the name that was configured, and what it said last."""

    name: Address
    address: Address | None = None
    mapped: Address | None = None
    round_trip_s: float | None = None
    error: str | None = None
    asked: asyncio.Future[StunAnswer] | None = None
    asked_at: float = 0.0


Asked = list[tuple[_StunServer, asyncio.Future[StunAnswer]]]
"""Servers that were asked, each with its answer to come."""


class StunServers:
    """Asks all of them.

    Args:
        names: Their names or addresses; no more than `SERVERS_MAX` are asked.
        client: Asks from our socket.
        family: Gives the address family of that, once it is open.
    """

    def __init__(
        self,
        names: Sequence[Address],
        client: StunClient,
        family: Callable[[], socket.AddressFamily],
    ) -> None:
        self._servers = [_StunServer(each) for each in names[:SERVERS_MAX]]
        self._client = client
        self._family = family

    @property
    def known(self) -> list[Address]:
        """The addresses that have been found."""
        return [each.address for each in self._servers if each.address is not None]

    def answering(self) -> list[Address]:
        """List the addresses of those that answered last."""
        return [
            each.address
            for each in self._servers
            if each.address is not None and each.error is None
        ]

    @property
    def mapped(self) -> tuple[Address, ...]:
        """As what they saw our socket, in the order in which they were configured."""
        return tuple(each.mapped for each in self._servers if each.mapped is not None)

    def reports(self) -> tuple[ServerReport, ...]:
        """Say of each how it answered."""
        return tuple(
            ServerReport(
                server=str(each.name),
                round_trip_s=each.round_trip_s,
                mapped=each.mapped,
                error=each.error,
            )
            for each in self._servers
        )

    async def resolve(self) -> None:
        """Look up the addresses of servers that have names; one that is not found is asked where it was before."""
        for server in self._servers:
            await self._resolve(server)

    async def ask_missing(self) -> None:
        """Look up anew, and ask, those whose names were not found, or that do not answer where these led."""
        moved = []
        for server in self._servers:
            before = server.address
            if before is None or (server.error is not None and before != server.name):
                await self._resolve(server)
                if server.address != before:
                    moved.append(server)
        await self.hear(self._start_asking(moved), None)

    async def _resolve(self, server: _StunServer) -> None:
        server.asked = None  # what is under way goes to where it was before
        try:
            ip_address(server.name.host)
        except ValueError:
            try:
                found = await asyncio.get_running_loop().getaddrinfo(
                    server.name.host, server.name.port, type=socket.SOCK_DGRAM
                )
            except OSError as error:
                server.error = f"its name cannot be looked up ({error.strerror})"
                return
            listed = [Address.from_host(str(each[4][0]), server.name.port) for each in found]
            fitting = (each for each in listed if to_socket_address(each, self._family()))
            server.address = next(fitting, None)
        else:
            server.address = server.name

    async def ask(self) -> None:
        """Ask all, and wait for their answers, or until none can come any more."""
        await self.hear(self.start_asking(), None)

    def start_asking(self) -> Asked:
        """Ask all, without waiting."""
        return self._start_asking(self._servers)

    def _start_asking(self, servers: Sequence[_StunServer]) -> Asked:
        return [
            (each, self._ask(each, each.address)) for each in servers if each.address is not None
        ]

    def _ask(self, server: _StunServer, address: Address) -> asyncio.Future[StunAnswer]:
        now = asyncio.get_running_loop().time()
        asked = server.asked
        if asked is None or asked.done() or now - server.asked_at > SHARED_S:
            asked = server.asked = self._client.ask(address)
            asked.add_done_callback(_note_heard)
            server.asked_at = now
        return asked

    async def hear(self, asked: Asked, within_s: float | None) -> None:
        """Take their answers; who has not answered by then counts as silent."""
        if asked:
            await asyncio.wait([future for _, future in asked], timeout=within_s)
        for server, future in asked:
            server.mapped = server.round_trip_s = None
            if not future.done() or future.cancelled():
                server.error = "no answer in time"
                continue
            error = future.exception()
            server.error = str(error) if error is not None else None
            if error is None:
                answer = future.result()
                server.mapped, server.round_trip_s = answer.mapped, answer.round_trip_s


def _note_heard(answer: asyncio.Future[StunAnswer]) -> None:
    """See how it ended, lest asyncio complain where nobody waited for so long."""
    if not answer.cancelled():
        answer.exception()
