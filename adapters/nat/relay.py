"""Our port at a relay: one allocation at one TURN server (RFC 8656), through aioice's client.

All transports of all servers are tried at once, and the first that answers is kept. aioice refreshes the allocation;
channels are refreshed every 240 s, since permissions last for 300. What aioice does not notice - a mapping that has
changed under an allocation over UDP - shows in the probes above, and `renew` mends it.
"""

import asyncio
import hashlib
import logging
import ssl
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from aioice import stun, turn

from domain.connectivity.address import Address
from domain.connectivity.server import TurnServer
from domain.errors import NetworkError
from domain.ports.environment import Clock

_logger: Final = logging.getLogger(__name__)

ALLOCATE_S_MAX: Final = 4.0
CHECK_S_MAX: Final = 1.0
LIFETIME_S: Final = 600
CHANNEL_REFRESH_S: Final = 240
WAYS_MAX: Final = 8
"""Servers times transports that are tried at once."""

Opened = tuple[turn.TurnTransport, "_RelayProtocol"]
Entered = Callable[[], AbstractContextManager[None]]
RelayReceiver = Callable[[bytes, tuple[str, int]], None]


class RelayError(NetworkError):
    """No server gave us a port; the text says why each did not."""


@dataclass(slots=True, kw_only=True)
class Way:
    """One way to a port: a server, a transport, and how the last try went."""

    server: TurnServer
    transport: str
    took_s: float | None = None
    error: str | None = None


class Relay:
    """The port, once there is one.

    Args:
        servers: Where to ask for it.
        clock: The time.
        receive: Takes what comes to it.
        lost: Told when it is gone without our having given it up.
        entered: Where sockets are opened; a simulation has many hosts.
    """

    def __init__(
        self,
        servers: Sequence[TurnServer],
        *,
        clock: Clock,
        receive: RelayReceiver,
        lost: Callable[[], None],
        entered: Entered = nullcontext,
    ) -> None:
        ways = [Way(server=each, transport=name) for each in servers for name in each.transports]
        self.ways = tuple(ways[:WAYS_MAX])
        self._clock = clock
        self._receive = receive
        self._lost = lost
        self._entered = entered
        self._opened: Opened | None = None
        self._way: Way | None = None
        self._starts = tuple(asyncio.Event() for _ in self.ways)
        self._untried = 0
        self._settled: list[asyncio.Future[None]] = []

    @property
    def address(self) -> Address | None:
        """The port, as peers reach it; None while there is none."""
        if self._opened is None:
            return None
        host, port = self._opened[0].get_extra_info("sockname")[:2]
        return Address.from_host(host, port)

    @property
    def way(self) -> Way | None:
        """How we got it."""
        return self._way

    def workers(self) -> list[Callable[[], Coroutine[None, None, None]]]:
        """What has to run for `open` to get anywhere: one coroutine for each way."""
        return [partial(self._work, *each) for each in zip(self.ways, self._starts, strict=True)]

    async def open(self) -> Address:
        """Get a port; that which there is already, if any. Cancelled, a port may come all the same.

        Raises:
            RelayError: No server gave one.
        """
        if self.address is None and self.ways:
            if self._untried == 0:
                self._untried = len(self.ways)
                for start in self._starts:
                    start.set()
            settled: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._settled.append(settled)
            await settled
        if self.address is None:
            raise RelayError(
                "; ".join(f"{way.server} over {way.transport}: {way.error}" for way in self.ways)
                or "no TURN server is configured"
            )
        return self.address

    def send(self, datagrams: Sequence[bytes], to: tuple[str, int]) -> None:
        """Send from the port; lost if there is none."""
        if self._opened is not None:
            for datagram in datagrams:
                self._opened[0].sendto(datagram, to)

    def close(self) -> None:
        """Give the port back."""
        if self._opened is not None:
            transport, protocol = self._opened
            self._opened = self._way = None
            protocol.is_wanted = False
            transport.close()

    async def check(self) -> None:
        """Ask the server whether it still knows the port; if not, it is gone."""
        opened = self._opened
        if opened is None:
            return
        request = stun.Message(message_method=stun.Method.REFRESH, message_class=stun.Class.REQUEST)
        request.attributes["LIFETIME"] = LIFETIME_S
        try:
            async with asyncio.timeout(CHECK_S_MAX):
                await _client(opened).request_with_retry(request)
        except (OSError, stun.TransactionError, TimeoutError):
            if self._opened is opened:
                _client(opened).transport.close()
                self._end(opened[1])

    # --- Getting it ---

    async def _work(self, way: Way, start: asyncio.Event) -> None:
        while True:
            await start.wait()
            start.clear()
            await self._try(way)
            self._untried -= 1
            if self._opened is not None or self._untried == 0:
                settled, self._settled = self._settled, []
                for future in settled:
                    if not future.done():
                        future.set_result(None)

    async def _try(self, way: Way) -> None:
        started = self._clock.now()
        way.took_s = way.error = None
        try:
            async with asyncio.timeout(ALLOCATE_S_MAX):
                opened = await self._allocate(way)
        except (OSError, stun.TransactionError, NetworkError, TimeoutError) as error:
            way.error = _explain(error)
            return
        way.took_s = self._clock.now() - started
        if self._opened is not None:
            opened[1].is_wanted = False
            opened[0].close()
            return
        self._opened, self._way = opened, way
        _logger.info("relay.opened", extra={"transport": way.transport})

    async def _allocate(self, way: Way) -> Opened:
        server = way.server
        username, password = server.credentials(now_s=self._clock.timestamp_us() // 1_000_000)
        with self._entered():
            opened = await turn.create_turn_endpoint(
                lambda: _RelayProtocol(self._receive, self._end),
                server_addr=(server.address.host, server.address.port),
                username=username,
                password=password,
                lifetime=LIFETIME_S,
                channel_refresh_time=CHANNEL_REFRESH_S,
                ssl=_tls_context(server) if way.transport == "tls" else None,
                transport="udp" if way.transport == "udp" else "tcp",
            )
        if way.transport == "tls" and server.pin is not None:
            _check_pin(opened, server.pin)
        return opened

    def _end(self, protocol: "_RelayProtocol") -> None:
        if self._opened is not None and self._opened[1] is protocol:
            self._opened = self._way = None
            self._lost()


class _RelayProtocol(asyncio.DatagramProtocol):
    """What aioice hands datagrams to."""

    def __init__(self, receive: RelayReceiver, ended: Callable[["_RelayProtocol"], None]) -> None:
        self._receive = receive
        self._ended = ended
        self.is_wanted = True

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        """A datagram has come to the port."""
        self._receive(data, (str(addr[0]), addr[1]))

    def error_received(self, exc: Exception) -> None:
        """A datagram could not be sent: lost, as on any link."""
        _logger.debug("relay.send_failed", extra={"error": str(exc)})

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """The allocation is gone."""
        if self.is_wanted:
            self.is_wanted = False
            self._ended(self)


def _tls_context(server: TurnServer) -> ssl.SSLContext:
    context = ssl.create_default_context()
    if server.pin is not None:  # exactly that certificate, whoever signed it
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _client(opened: Opened) -> Any:  # noqa: ANN401 - aioice has no other way to what it has made
    return opened[0]._TurnTransport__inner_protocol  # type: ignore[attr-defined] # noqa: SLF001


def _check_pin(opened: Opened, pin: bytes) -> None:
    secured = _client(opened).transport.get_extra_info("ssl_object")
    certificate = secured.getpeercert(binary_form=True) if secured is not None else None
    if certificate is None or hashlib.sha256(certificate).digest() != pin:
        opened[1].is_wanted = False
        opened[0].close()
        raise RelayError("the server shows another certificate than the pinned one")


def _explain(error: Exception) -> str:
    match error:
        case TimeoutError() | stun.TransactionTimeout():
            return f"no answer within {ALLOCATE_S_MAX:g} s"
        case stun.TransactionFailed():
            code = error.response.error_code
            return _REFUSALS.get(code or 0, f"refused with code {code}")
        case ssl.SSLCertVerificationError():
            return f"its certificate is not trusted ({error.verify_message})"
        case _:
            return str(error) or type(error).__name__


_REFUSALS: Final = {
    401: "wrong user or password, or the credentials have expired (401)",
    403: "forbidden (403)",
    437: "it no longer knows the allocation (437)",
    441: "the credentials are another user's (441)",
    486: "its quota for this user is used up (486)",
    508: "it has no capacity left (508)",
}
