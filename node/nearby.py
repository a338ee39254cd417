"""Nearby: finds members of our documents in the local network, and lets them find us, with no server.

Names are those of `domain.connectivity.meeting`, so only members can tell who is there. Whoever announces a name of a
member makes us dial addresses in this network, and seldom: the connection proves who it is.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from domain.connectivity.address import Address, AddressError, parse_address
from domain.connectivity.bucket import TokenBucket
from domain.connectivity.candidate import is_near
from domain.connectivity.meeting import HOUR_S, MeetingPlace, hours_around, nearby_name
from domain.connectivity.sightings import Sighting
from domain.identifiers import PeerId
from domain.limits import LOOKED_FOR_NAMES_MAX, SIGHTINGS_BURST, SIGHTINGS_PER_S
from domain.ports.discovery import Discovery
from domain.ports.environment import Clock
from node.meeting import MeetingPlaces
from node.runtime import Runtime

logger = logging.getLogger(__name__)

LOOK_S: Final = 30.0
"""How often names are looked at: the hour changes, and so do members and secrets."""


class Nearby:
    """Watches the local network for one node.

    Args:
        discovery: Announces and watches.
        places: Gives where the members of our documents meet.
        clock: The time.
        own_id: Our own.
        announces: Whether others find us.
        own_addresses: Where we listen.
        found: Told of a member, and where it may be.
    """

    def __init__(  # noqa: PLR0913 - each is a part of the node
        self,
        discovery: Discovery,
        places: MeetingPlaces,
        clock: Clock,
        *,
        own_id: PeerId,
        announces: bool,
        own_addresses: Callable[[], Sequence[str]],
        found: Callable[[PeerId, Sequence[str]], None],
    ) -> None:
        self._discovery = discovery
        self._places = places
        self._clock = clock
        self._own_id = own_id
        self._announces = announces
        self._own_addresses = own_addresses
        self._found = found
        self._hour = 0
        self._known: list[MeetingPlace] = []
        self._peers: dict[bytes, PeerId] = {}
        self._buckets: dict[PeerId, TokenBucket] = {}

    def start(self, runtime: Runtime) -> None:
        """Begin."""
        runtime.spawn(self._discovery.run(), "discovery")
        runtime.spawn(self._keep_names(), "nearby names")
        runtime.spawn(self._watch(), "nearby")

    def update(self) -> None:
        """Announce and look for what follows from our documents now."""
        hour = self._clock.timestamp_us() // 1_000_000 // HOUR_S
        places = self._places()
        if self._announces:
            own = [key for place in places for key in self._places.own_keys(place)[:1]]
            names = [nearby_name(key, self._own_id, hour=hour) for key in own]
            self._discovery.announce(names)
        if places != self._known or hour != self._hour:
            self._known, self._hour = places, hour
            self._look_for(places, hour)

    def _look_for(self, places: Sequence[MeetingPlace], hour: int) -> None:
        self._peers = {}
        for place in places:
            for peer in sorted(place.members - {self._own_id}):
                for key in place.keys:
                    for each in hours_around(hour):
                        self._peers[nearby_name(key, peer, hour=each)] = peer
            if len(self._peers) >= LOOKED_FOR_NAMES_MAX:
                break
        now, wanted = self._clock.now(), set(self._peers.values())
        self._buckets = {
            peer: self._buckets.get(peer)
            or TokenBucket(rate=SIGHTINGS_PER_S, burst=SIGHTINGS_BURST, now=now)
            for peer in wanted
        }
        self._discovery.look_for(self._peers)

    async def _keep_names(self) -> None:
        while True:
            self.update()
            await asyncio.sleep(LOOK_S)

    async def _watch(self) -> None:
        while True:
            self._take(await self._discovery.sighting())

    def _take(self, sighting: Sighting) -> None:
        peer = self._peers.get(sighting.name)
        if peer is None or not self._buckets[peer].take(self._clock.now()):
            return
        own = list(_parsed(self._own_addresses()))
        near = [str(each) for each in _parsed(sighting.addresses) if is_near(each, own)]
        logger.info("nearby.seen", extra={"peer": peer.short, "addresses": len(near)})
        if near:
            self._found(peer, near)


def _parsed(addresses: Sequence[str]) -> list[Address]:
    found = []
    for each in addresses:
        with suppress(AddressError):
            found.append(parse_address(each))
    return found
