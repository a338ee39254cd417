"""A socket that talks with one router: asks one thing at a time, again and again until it is answered."""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final, TypeVar, cast

from adapters.gateway.errors import GatewayError, GatewayMessageError, GatewaySilentError
from domain.connectivity.address import Address
from domain.connectivity.port_mapping import GatewayRoute

T = TypeVar("T")

GATEWAY_PORT: Final = 5_351
"""Of both protocols (RFC 6887, 19.1)."""

Reader = Callable[[bytes], Any]
Entered = Callable[[], AbstractContextManager[None]]


class GatewaySocket(asyncio.DatagramProtocol):
    """A UDP socket that is connected to port 5351 of the router.

    Args:
        route: Where the router is, and where we are.
    """

    def __init__(self, route: GatewayRoute) -> None:
        self._gateway = Address.from_host(route.gateway, GATEWAY_PORT)
        self._transport: asyncio.DatagramTransport | None = None
        self._answer: asyncio.Future[Any] | None = None
        self._read: Reader | None = None

    async def ask(
        self, request: bytes, waits_s: Iterable[float], read: Callable[[bytes], T | None]
    ) -> T:
        """Send a request until it is answered. One caller at a time; cancelled, the request is forgotten.

        Args:
            request: The request.
            waits_s: How many seconds to wait after each transmission.
            read: Reads an answer; None for one that is about something else. May raise a `GatewayError`, which is then
                the answer, but for `GatewayMessageError`: such bytes are as if they had not come.

        Raises:
            GatewaySilentError: There was no answer, or nobody listens there.
        """
        assert self._transport is not None
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._answer, self._read = answer, read
        try:
            for wait_s in waits_s:
                self._transport.sendto(request)
                await asyncio.wait([answer], timeout=wait_s)
                if answer.done():
                    return answer.result()
        finally:
            self._answer = self._read = None
            if not answer.cancel() and not answer.cancelled():
                answer.exception()  # asked for, lest asyncio complain where we were cancelled
        raise GatewaySilentError("it does not answer")

    def abandon(self, error: GatewayError) -> None:
        """Let what is being asked end with an error."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)

    def close(self) -> None:
        """Close the socket."""
        if self._transport is not None:
            self._transport.close()

    # --- asyncio.DatagramProtocol ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is open."""
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str | Any, int]) -> None:
        """Something has come, from the router: a connected socket takes nothing else, and so do we."""
        if self._answer is None or self._read is None or self._answer.done():
            return
        if (addr[0], addr[1]) != self._gateway:
            return
        try:
            found = self._read(data)
        except GatewayMessageError:
            return
        except GatewayError as error:
            self._answer.set_exception(error)
        else:
            if found is not None:
                self._answer.set_result(found)

    def error_received(self, exc: Exception) -> None:
        """The system says that nobody listens there, or that the network is down."""
        self.abandon(GatewaySilentError(f"it cannot be asked ({exc})"))


async def open_gateway_socket(route: GatewayRoute, entered: Entered = nullcontext) -> GatewaySocket:
    """Open a socket to the router; `entered` is where.

    Raises:
        GatewaySilentError: The system does not let us.
    """
    loop = asyncio.get_running_loop()
    try:
        with entered():
            _, socket = await loop.create_datagram_endpoint(
                lambda: GatewaySocket(route),
                local_addr=(route.local, 0),
                remote_addr=(route.gateway, GATEWAY_PORT),
            )
    except OSError as error:
        raise GatewaySilentError(f"it cannot be asked ({error.strerror})") from error
    return socket
