"""A local network in memory in which nodes announce themselves: announcements come late, twice, or not at first.

Liars are made with it, too: whatever is announced is announced, at any address.
"""

import asyncio
from collections.abc import Collection, Sequence
from random import Random
from typing import Final

from domain.connectivity.sightings import Sighting, Sightings
from domain.limits import ANNOUNCED_NAMES_MAX
from domain.ports.discovery import Discovery

DELAY_S_MAX: Final = 0.5
REPEAT_S: Final = 2.0
"""So often everything is announced again."""
LOSS: Final = 0.3


class SimulatedLan:
    """One local network.

    Args:
        loop: Whose time it uses.
        seed: What chance follows.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, seed: int) -> None:
        self._loop = loop
        self._random = Random(f"{seed} lan")
        self._there: dict[SimulatedDiscovery, None] = {}

    def enter(self, discovery: "SimulatedDiscovery") -> None:
        """Somebody takes part from now on."""
        self._there[discovery] = None

    def leave(self, discovery: "SimulatedDiscovery") -> None:
        """Somebody takes part no more."""
        del self._there[discovery]

    def shout(self, speaker: "SimulatedDiscovery") -> None:
        """Carry what somebody announces to everybody else, as far as it gets there."""
        for listener in self._there:
            if listener is not speaker and self._random.random() >= LOSS:
                for _ in range(1 + (self._random.random() < LOSS)):
                    delay_s = self._random.uniform(0.0, DELAY_S_MAX)
                    self._loop.call_later(delay_s, self._arrive, speaker, listener)

    def _arrive(self, speaker: "SimulatedDiscovery", listener: "SimulatedDiscovery") -> None:
        if speaker in self._there and listener in self._there:
            listener.hear(speaker.names, speaker.addresses)


class SimulatedDiscovery(Discovery):
    """One node's part in it.

    Args:
        lan: The network.
        addresses: Where it says that it is.
    """

    def __init__(self, lan: SimulatedLan, addresses: Sequence[str]) -> None:
        self._lan = lan
        self.addresses = tuple(addresses)
        self.names: tuple[bytes, ...] = ()
        self._sightings = Sightings()
        self._has_sighting = asyncio.Event()

    def announce(self, names: Sequence[bytes]) -> None:
        self.names = tuple(dict.fromkeys(names))[:ANNOUNCED_NAMES_MAX]

    def look_for(self, names: Collection[bytes]) -> None:
        self._sightings.look_for(names)

    async def sighting(self) -> Sighting:
        while (found := self._sightings.take()) is None:
            self._has_sighting.clear()
            await self._has_sighting.wait()
        return found

    async def run(self) -> None:
        self._lan.enter(self)
        try:
            while True:
                self._lan.shout(self)
                await asyncio.sleep(REPEAT_S)
        finally:
            self._lan.leave(self)

    def hear(self, names: Sequence[bytes], addresses: tuple[str, ...]) -> None:
        """Take what somebody announces."""
        for name in names:
            self._sightings.note(name, addresses)
        self._has_sighting.set()
