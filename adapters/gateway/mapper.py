"""Keeps a port open at the router: asks for it, renews it, notices when the router or we have moved, gives it back.

PCP is tried first, since its answers bear a nonce; a router that does not know it, or says nothing, is asked by
UPnP, where that is there, and by NAT-PMP. The announcements that a router sends to all when it restarts (RFC 6887, 14;
RFC 6886, 3.2.1) are not listened to, which would take a port that others have: its clock is read every minute instead.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import replace
from ipaddress import ip_address
from typing import Final, NoReturn

from blake3 import blake3

from adapters.gateway.errors import (
    GatewayError,
    GatewayMovedError,
    GatewayRefusedError,
    GatewaySilentError,
    GatewayVersionError,
)
from adapters.gateway.lease import EpochWatch, GatewayClient, Lease
from adapters.gateway.natpmp import NatPmpClient
from adapters.gateway.pcp import NONCE_BYTES, PcpClient
from adapters.gateway.socket import Entered, GatewaySocket, open_gateway_socket
from domain.connectivity.address import Address
from domain.connectivity.port_mapping import GatewayRoute, PortMappingReport, PortMappingState
from domain.ports.environment import Clock, Entropy
from domain.ports.port_mapping import PortMapper

_logger: Final = logging.getLogger(__name__)

CHECK_S: Final = 60.0
"""How often the router's clock is read: two bytes or twenty-four, within the house."""
SETTLED_S_MAX: Final = 3.0
"""Who has not answered by now is asked once more (RFC 6887, 8.1.1), and may be silent for ever."""
RENEW_S_MIN: Final = 4.0
"""At least so long between two requests to renew (RFC 6887, 11.2.1)."""
RETRY_S_MIN: Final = 60.0
RETRY_S_MAX: Final = 900.0
"""How long a router that does not answer is left alone: twice as long each time, within these."""

_NOTHING: Final = PortMappingReport(state=PortMappingState.ASKING)

RouteFinder = Callable[[str], GatewayRoute | None]
ClientMaker = Callable[[GatewayRoute, int], GatewayClient]


class GatewayPortMapper(PortMapper):
    """Asks the router of the local network.

    Args:
        secret: 32 bytes that only this device knows; a restarted node is known to the router by what follows from them.
        find_route: Finds the router, for the address where we listen.
        clock: The time.
        entropy: For waits that nobody shares.
        upnp: Makes what asks by UPnP, of the way out and our port; None where nothing does.
        entered: Where sockets are opened; a simulation has many hosts.
    """

    def __init__(
        self,
        *,
        secret: bytes,
        find_route: RouteFinder,
        clock: Clock,
        entropy: Entropy,
        upnp: ClientMaker | None = None,
        entered: Entered = nullcontext,
    ) -> None:
        self._nonce_key = blake3(secret, derive_key_context="culm pcp nonce v1").digest()
        self._find_route = find_route
        self._clock = clock
        self._entropy = entropy
        self._upnp = upnp
        self._entered = entered
        self._report = _NOTHING
        self._listening = Address("", 0)
        self._route: GatewayRoute | None = None
        self._socket: GatewaySocket | None = None
        self._silent_s = RETRY_S_MIN
        self._settled = asyncio.Event()
        self._stir = asyncio.Event()

    # --- The port ---

    @property
    def report(self) -> PortMappingReport:
        return self._report

    async def run(self, listening: Address) -> None:
        if ip_address(listening.host).is_loopback:
            self._note(PortMappingReport(state=PortMappingState.ABSENT))
            return
        self._listening = listening
        while True:
            self._stir.clear()
            self._route = self._find_route(listening.host)
            if self._route is None:
                self._note(PortMappingReport(state=PortMappingState.ABSENT))
                await self._rest(RETRY_S_MIN)
                continue
            try:
                await self._serve(self._route, listening.port)
            except GatewayMovedError:
                continue
            except GatewayRefusedError as error:
                self._fail(PortMappingState.REFUSED, error)
                await self._rest(error.retry_s)
            except GatewayError as error:
                self._fail(PortMappingState.SILENT, error)
                await self._rest(self._silent_s)
                self._silent_s = min(2 * self._silent_s, RETRY_S_MAX)

    async def settled(self) -> None:
        await self._settled.wait()

    def look_again(self) -> None:
        self._stir.set()
        if self._socket is not None and self._has_moved():
            self._socket.abandon(GatewayMovedError("another router leads out now"))

    # --- One router ---

    async def _serve(self, route: GatewayRoute, port: int) -> NoReturn:
        """Keep the port at one router, until another one leads out, or it fails."""
        self._report = replace(_NOTHING, gateway=route.gateway)
        self._socket = socket = await open_gateway_socket(route, self._entered)
        patience = asyncio.get_running_loop().call_later(SETTLED_S_MAX, self._note_silence)
        try:
            client, lease = await self._ask_first(socket, route, port)
            try:
                await self._keep(client, lease)
            finally:
                self._report = replace(_NOTHING, gateway=route.gateway)
                await _give_back(client)
        finally:
            patience.cancel()
            self._socket = None
            socket.close()

    async def _ask_first(
        self, socket: GatewaySocket, route: GatewayRoute, port: int
    ) -> tuple[GatewayClient, Lease]:
        nonce = self._derive_nonce(route, port)
        others: list[GatewayClient] = [NatPmpClient(socket, port)]
        if self._upnp is not None:
            others.append(self._upnp(route, port))
        client: GatewayClient = PcpClient(socket, route, port, nonce, self._entropy)
        try:
            while True:
                try:
                    return client, await client.map(None)
                except (GatewayVersionError, GatewaySilentError) as error:
                    _logger.debug("port_mapping.next_protocol", extra={"error": str(error)})
                    if not others:
                        raise
                    # Who answers in another version knows NAT-PMP; who is silent hardly will, and its patience is long.
                    client = others.pop(0 if isinstance(error, GatewayVersionError) else -1)
        except asyncio.CancelledError:
            if self._report.state is PortMappingState.ASKING:  # the answer may be on its way
                await _give_back(client)
            raise

    async def _keep(self, client: GatewayClient, lease: Lease) -> NoReturn:
        epochs = EpochWatch()
        while True:
            granted_at = self._clock.now()
            epochs.has_restarted(lease.epoch_s, now=granted_at)
            self._hold(client, lease)
            await self._wait_for_renewal(client, lease, epochs)
            lease = await self._renew(client, lease, granted_at + lease.lifetime_s)

    async def _wait_for_renewal(
        self, client: GatewayClient, lease: Lease, epochs: EpochWatch
    ) -> None:
        """Wait for half of the lifetime, or until the router has forgotten us, or something has changed."""
        granted_at = self._clock.now()
        renew_at = granted_at + max(lease.lifetime_s / 2, RENEW_S_MIN)
        while (left_s := renew_at - self._clock.now()) > 0:
            if await self._rest(min(left_s, CHECK_S)):
                break
            self._check_place()
            if left_s > CHECK_S:
                # Whether the port is forwarded is asked elsewhere: a router that refuses this may still do it.
                with suppress(GatewaySilentError, GatewayVersionError, GatewayRefusedError):
                    epoch_s = await client.read_epoch()
                    if epochs.has_restarted(epoch_s, now=self._clock.now()):
                        _logger.info("port_mapping.gateway_restarted")
                        break
        self._check_place()
        await asyncio.sleep(max(0.0, granted_at + RENEW_S_MIN - self._clock.now()))

    async def _renew(self, client: GatewayClient, lease: Lease, ends_at: float) -> Lease:
        """Ask for more time, for as long as there is any left (RFC 6887, 11.2.1)."""
        while True:
            try:
                return await client.map(lease.external)
            except GatewaySilentError:
                left_s = ends_at - self._clock.now()
                if left_s <= 0:
                    raise
                await self._rest(max(left_s / 2, RENEW_S_MIN))
                self._check_place()

    def _check_place(self) -> None:
        if self._has_moved():
            raise GatewayMovedError("another router leads out now")

    def _has_moved(self) -> bool:
        return self._find_route(self._listening.host) != self._route

    def _derive_nonce(self, route: GatewayRoute, port: int) -> bytes:
        """What the router knows us by: the same after a crash, and another one in another network."""
        place = f"{route.gateway} {route.local} {port}".encode()
        return blake3(place, key=self._nonce_key).digest(length=NONCE_BYTES)

    # --- What is known ---

    def _hold(self, client: GatewayClient, lease: Lease) -> None:
        if lease.external != self._report.external:
            _logger.info("port_mapping.mapped", extra={"protocol": client.protocol})
        self._silent_s = RETRY_S_MIN
        self._note(
            PortMappingReport(
                state=PortMappingState.WORKS,
                gateway=self._report.gateway,
                protocol=client.protocol,
                external=lease.external,
                lifetime_s=lease.lifetime_s,
            )
        )

    def _fail(self, state: PortMappingState, error: GatewayError) -> None:
        _logger.info("port_mapping.failed", extra={"state": state.value, "error": str(error)})
        self._note(PortMappingReport(state=state, gateway=self._report.gateway, error=str(error)))

    def _note_silence(self) -> None:
        """Nobody is to wait for the first answer any more."""
        if self._report.state is PortMappingState.ASKING:
            self._note(
                replace(
                    self._report, state=PortMappingState.SILENT, error="it has not answered yet"
                )
            )

    def _note(self, report: PortMappingReport) -> None:
        self._report = report
        self._settled.set()

    async def _rest(self, seconds: float) -> bool:
        """Wait, unless something changes; whether it did."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stir.wait()
        has_changed = self._stir.is_set()
        self._stir.clear()
        return has_changed


async def _give_back(client: GatewayClient) -> None:
    with suppress(GatewayError):
        await client.give_back()
