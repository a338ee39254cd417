"""UPnP-IGD, for routers that know nothing better: SSDP finds the router, SOAP asks it, both by async-upnp-client.

It is there only where that library is installed (the extra `upnp`), and not in simulations: its messages are HTTP and
XML. What the router says is bounded in size and time, comes from the router's own address and from nowhere that it
would send us, and whatever the library makes of it ends in a `GatewayError`.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final
from urllib.parse import urlsplit

import aiohttp
from async_upnp_client.client import UpnpAction, UpnpRequester, UpnpService
from async_upnp_client.client_factory import UpnpFactory
from async_upnp_client.const import HttpRequest, HttpResponse
from async_upnp_client.exceptions import UpnpActionError
from async_upnp_client.search import SsdpSearchListener
from async_upnp_client.utils import CaseInsensitiveDict

from adapters.gateway.errors import GatewayRefusedError, GatewaySilentError
from adapters.gateway.lease import GIVE_BACK_S, LIFETIME_S, GatewayClient, Lease
from domain.connectivity.address import PORT_MAX, Address
from domain.connectivity.candidate import is_probable
from domain.connectivity.port_mapping import GatewayRoute

SEARCH_TARGET: Final = "urn:schemas-upnp-org:device:InternetGatewayDevice:1"
"""Later versions answer to it too (UPnP Device Architecture 1.1, 1.3.2)."""
SEARCH_S: Final = (1.0, 1.0, 1.0)
"""Waits after each search; routers answer within the first second, of which we tell them."""
SERVICES: Final = (
    "urn:schemas-upnp-org:service:WANIPConnection:2",
    "urn:schemas-upnp-org:service:WANIPConnection:1",
    "urn:schemas-upnp-org:service:WANPPPConnection:1",
)
ANSWER_S_MAX: Final = 5.0
BODY_BYTES_MAX: Final = 256 * 1_024
"""Descriptions of routers have 10 to 60 KB."""
PORTS_TRIED_MAX: Final = 4
UPTIME_S_MAX: Final = 0xFFFF_FFFF
"""It is a `ui4`, and the library takes any number."""
REFUSED_S: Final = 900.0
DESCRIPTION: Final = "culm"
CONFLICT: Final = 718
ONLY_PERMANENT: Final = 725
RESULTS: Final = {
    501: "it failed",
    606: "not authorized",
    718: "others have the ports",
    725: "it forwards only for ever",
    728: "it forwards no more ports",
}
"""WANIPConnection:2, 2.5.16, table 24."""


class UpnpClient(GatewayClient):
    """Asks one router for one port.

    Args:
        route: Where the router is, and where we are.
        port: Ours.
        location: Where it describes itself, if that is known.
    """

    def __init__(self, route: GatewayRoute, port: int, location: str | None = None) -> None:
        self._route = route
        self._port = port
        self._location = location
        self._service: UpnpService | None = None
        self._external_port: int | None = None
        self._lifetime_s = LIFETIME_S

    @property
    def protocol(self) -> str:
        return "UPnP"

    async def map(self, suggested: Address | None) -> Lease:
        if self._service is None:
            self._service = await self._find_service()
        host = str((await self._call("GetExternalIPAddress")).get("NewExternalIPAddress"))
        if ":" in host or not is_probable(Address(host, self._port)):
            raise GatewayRefusedError("it has no address outside (UPnP)", retry_s=REFUSED_S)
        self._external_port = await self._add(
            suggested.port if suggested is not None else self._port
        )
        external = Address(host, self._external_port)
        with suppress(GatewaySilentError, GatewayRefusedError):
            epoch_s = await self.read_epoch()
            return Lease(external=external, lifetime_s=LIFETIME_S, epoch_s=epoch_s)
        return Lease(external=external, lifetime_s=LIFETIME_S, epoch_s=0)

    async def read_epoch(self) -> int:
        try:
            status = await self._call("GetStatusInfo")
        except GatewaySilentError:  # one that has restarted may listen at another port
            self._service = await self._find_service()
            status = await self._call("GetStatusInfo")
        uptime = status.get("NewUptime")
        if not isinstance(uptime, int) or not 0 <= uptime <= UPTIME_S_MAX:
            raise GatewaySilentError("it does not tell how long it has been up")
        return uptime

    async def give_back(self) -> None:
        if self._service is None or self._external_port is None:
            return
        try:
            async with asyncio.timeout(sum(GIVE_BACK_S)):
                await self._call("DeletePortMapping", **self._name(self._external_port))
        except TimeoutError as error:
            raise GatewaySilentError("it does not answer") from error

    # --- Within ---

    async def _add(self, first: int) -> int:
        """Ask for a port outside, or for others where it is taken; once more for ever, where it knows no time."""
        port = first
        for number in range(PORTS_TRIED_MAX):
            port = (first + number) % (PORT_MAX + 1) or self._port
            try:
                await self._call("AddPortMapping", **self._describe(port))
            except _UpnpRefusedError as error:
                if error.code == ONLY_PERMANENT and self._lifetime_s:
                    self._lifetime_s = 0
                    return await self._add(port)
                if error.code != CONFLICT:
                    raise
            else:
                return port
        raise GatewayRefusedError(RESULTS[CONFLICT] + " (UPnP)", retry_s=REFUSED_S)

    def _name(self, port: int) -> dict[str, object]:
        return {"NewRemoteHost": "", "NewExternalPort": port, "NewProtocol": "UDP"}

    def _describe(self, port: int) -> dict[str, object]:
        return self._name(port) | {
            "NewInternalPort": self._port,
            "NewInternalClient": self._route.local,
            "NewEnabled": True,
            "NewPortMappingDescription": DESCRIPTION,
            "NewLeaseDuration": self._lifetime_s,
        }

    async def _find_service(self) -> UpnpService:
        location = self._location or await _search(self._route)
        try:
            async with asyncio.timeout(ANSWER_S_MAX):
                factory = UpnpFactory(_Requester(self._route.gateway), non_strict=True)
                device = await factory.async_create_device(location)
                by_type = {each.service_type: each for each in device.all_services}
        except Exception as error:  # whatever the library makes of a router's XML
            raise GatewaySilentError(_explain(error)) from error
        for service_type in SERVICES:
            if service_type in by_type:
                return by_type[service_type]
        raise GatewaySilentError("it has no connection to forward ports of (UPnP)")

    async def _call(self, name: str, **arguments: Any) -> Mapping[str, Any]:  # noqa: ANN401 - SOAP
        assert self._service is not None
        try:
            async with asyncio.timeout(ANSWER_S_MAX):
                action: UpnpAction = self._service.action(name)
                return await action.async_call(**arguments)
        except UpnpActionError as error:
            raise _UpnpRefusedError(error.error_code or 0) from error
        except Exception as error:  # whatever the library makes of a router's XML
            raise GatewaySilentError(_explain(error)) from error


class _UpnpRefusedError(GatewayRefusedError):
    def __init__(self, code: int) -> None:
        super().__init__(f"{RESULTS.get(code, 'refused')} (UPnP, {code})", retry_s=REFUSED_S)
        self.code = code


class _Requester(UpnpRequester):
    """Asks the router alone, takes so much and no more, and goes nowhere else.

    Args:
        host: The IP address of the router.
    """

    def __init__(self, host: str) -> None:
        self._host = host

    async def async_http_request(self, http_request: HttpRequest) -> HttpResponse:
        """Ask once."""
        if not _is_at(http_request.url, self._host):
            raise GatewaySilentError("it names an address that is not its own (UPnP)")
        timeout = aiohttp.ClientTimeout(total=ANSWER_S_MAX)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.request(
                http_request.method,
                http_request.url,
                headers=http_request.headers,
                data=http_request.body,
                allow_redirects=False,
            ) as response,
        ):
            body = bytearray()
            async for chunk in response.content.iter_chunked(BODY_BYTES_MAX):
                body += chunk
                if len(body) > BODY_BYTES_MAX:
                    raise GatewaySilentError("it says more than anybody can use (UPnP)")
            return HttpResponse(response.status, response.headers, body.decode("utf-8", "replace"))


async def _search(route: GatewayRoute) -> str:
    """Find out where the router describes itself (UPnP Device Architecture 1.1, 1.3.2).

    Raises:
        GatewaySilentError: It does not say so.
    """
    found: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def hear(headers: CaseInsensitiveDict) -> None:
        location = str(headers.get("location", ""))
        if _is_at(location, route.gateway) and not found.done():
            found.set_result(location)

    listener = SsdpSearchListener(
        callback=hear, source=(route.local, 0), timeout=1, search_target=SEARCH_TARGET
    )
    try:
        await listener.async_start()
        for wait_s in SEARCH_S:
            listener.async_search()
            await asyncio.wait([found], timeout=wait_s)
            if found.done():
                return found.result()
    except OSError as error:
        raise GatewaySilentError(_explain(error)) from error
    finally:
        listener.async_stop()
        found.cancel()
    raise GatewaySilentError("it does not answer")


def _is_at(url: str, host: str) -> bool:
    """Whether a URL leads to that very host."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme == "http" and parts.hostname == host


def _explain(error: Exception) -> str:
    if isinstance(error, GatewaySilentError):
        return str(error)
    return f"it cannot be asked by UPnP ({type(error).__name__})"  # its own words are not for a terminal
