"""Discovery by multicast DNS (RFC 6762, RFC 6763), which every system's own service browser understands too.

A name is a service instance of the type `_culm._udp.local.`: in hex, with a host of the same name, the port, and no
text, so that nothing in the network tells who or what is announced. Whatever is heard under a name that nobody looks
for is thrown away; the library bounds what it keeps. The invariant: nothing that is heard makes this fail.
"""

import asyncio
import logging
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from ipaddress import ip_address
from typing import Final

from zeroconf import Error as ZeroconfError
from zeroconf import InterfaceChoice, IPVersion, ServiceStateChange, Zeroconf
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from domain.connectivity.address import Address, AddressError
from domain.connectivity.sightings import Sighting, Sightings
from domain.limits import ANNOUNCED_NAMES_MAX
from domain.ports.discovery import Discovery

_logger: Final = logging.getLogger(__name__)

SERVICE: Final = "_culm._udp.local."
RETRY_S: Final = 30.0
"""After which a network that could not be used is tried again; also how often interfaces are looked at."""
RESOLVE_S_MAX: Final = 1.0
"""Addresses come with the name; who left them out is asked for so long."""
RESOLVED_AT_ONCE_MAX: Final = 4


class MdnsDiscovery(Discovery):
    """Announces and watches on all interfaces.

    Args:
        addresses: Gives where this node listens: the addresses of the machine, all with one port.
        interfaces: Addresses of the interfaces to use; None for all.
    """

    def __init__(
        self,
        addresses: Callable[[], Sequence[Address]],
        interfaces: Sequence[str] | None = None,
    ) -> None:
        self._find_addresses = addresses
        self._interfaces = InterfaceChoice.All if interfaces is None else list(interfaces)
        self._wanted: tuple[bytes, ...] = ()
        self._announced: dict[bytes, AsyncServiceInfo] = {}
        self._sightings = Sightings()
        self._heard: dict[bytes, None] = {}
        self._has_work = asyncio.Event()
        self._has_sighting = asyncio.Event()

    # --- The port ---

    def announce(self, names: Sequence[bytes]) -> None:
        self._wanted = tuple(dict.fromkeys(names))[:ANNOUNCED_NAMES_MAX]
        self._has_work.set()

    def look_for(self, names: Collection[bytes]) -> None:
        self._heard |= dict.fromkeys(self._sightings.look_for(names))  # may be known already
        self._has_work.set()

    async def sighting(self) -> Sighting:
        while (found := self._sightings.take()) is None:
            self._has_sighting.clear()
            await self._has_sighting.wait()
        return found

    async def run(self) -> None:
        while True:
            try:
                await self._serve()
            except (OSError, ZeroconfError) as error:
                _logger.info("mdns.failed", extra={"error": str(error)})
            await asyncio.sleep(RETRY_S)

    # --- The network ---

    async def _serve(self) -> None:
        """Announce and watch, until cancelled or the network fails."""
        service = AsyncZeroconf(interfaces=self._interfaces, ip_version=IPVersion.V4Only)
        self._announced = {}
        try:
            browser = AsyncServiceBrowser(service.zeroconf, SERVICE, handlers=[self._hear])
            try:
                while True:
                    await self._update(service)
                    await self._resolve_heard(service.zeroconf)
                    with suppress(TimeoutError):
                        async with asyncio.timeout(RETRY_S):
                            await self._has_work.wait()
                    self._has_work.clear()
                    await service.async_update_interfaces()
            finally:
                await browser.async_cancel()
        finally:
            await service.async_close()

    async def _update(self, service: AsyncZeroconf) -> None:
        """Announce what is to be announced, at the addresses of now, and nothing else."""
        addresses = list(self._find_addresses())
        wanted = {name: _describe(name, addresses) for name in self._wanted if addresses}
        for name, info in list(self._announced.items()):
            if name not in wanted or _differs(wanted[name], info):
                del self._announced[name]
                await (await service.async_unregister_service(info))
        for name, info in wanted.items():
            if name not in self._announced:
                self._announced[name] = info
                # Whoever else announces the name cannot keep us from it.
                await service.async_register_service(info, cooperating_responders=True)

    def _hear(
        self,
        zeroconf: Zeroconf,  # noqa: ARG002 - the library names its arguments
        service_type: str,
        name: str,
        state_change: ServiceStateChange,
    ) -> None:
        """Somebody announces something; called by the library for each change."""
        with suppress(ValueError):
            heard = bytes.fromhex(name.removesuffix(f".{service_type}"))
            if self._sightings.wants(heard) and state_change is not ServiceStateChange.Removed:
                self._heard[heard] = None
                self._has_work.set()

    async def _resolve_heard(self, zeroconf: Zeroconf) -> None:
        """Find out where the names are that were heard, or that are newly looked for."""
        heard, self._heard = self._heard, {}
        unknown = []
        for name in heard:
            info = AsyncServiceInfo(SERVICE, _instance(name))
            if info.load_from_cache(zeroconf):
                self._note(name, info)
            elif zeroconf.cache.current_entry_with_name_and_alias(SERVICE, _instance(name)):
                unknown.append((name, info))
        for name, info in unknown[:RESOLVED_AT_ONCE_MAX]:
            if await info.async_request(zeroconf, RESOLVE_S_MAX * 1_000):
                self._note(name, info)

    def _note(self, name: bytes, info: AsyncServiceInfo) -> None:
        found = []
        for each in info.parsed_addresses():
            with suppress(AddressError):
                found.append(str(Address.from_host(each, info.port or 0)))
        self._sightings.note(name, found)
        self._has_sighting.set()


def _instance(name: bytes) -> str:
    return f"{name.hex()}.{SERVICE}"


def _describe(name: bytes, addresses: Sequence[Address]) -> AsyncServiceInfo:
    port = addresses[0].port
    return AsyncServiceInfo(
        SERVICE,
        _instance(name),
        port=port,
        addresses=[ip_address(each.host).packed for each in addresses if each.port == port],
        server=f"{name.hex()}.local.",
    )


def _differs(one: AsyncServiceInfo, other: AsyncServiceInfo) -> bool:
    return one.port != other.port or set(one.parsed_addresses()) != set(other.parsed_addresses())
