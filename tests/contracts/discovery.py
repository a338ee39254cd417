"""What every `Discovery` keeps to."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from domain.connectivity.sightings import Sighting
from domain.limits import ANNOUNCED_NAMES_MAX, SIGHTING_ADDRESSES_MAX
from domain.ports.discovery import Discovery

SEEN_S_MAX = 20.0
QUIET_S = 3.0
ANN, BEN = "192.168.7.1:4711", "192.168.7.2:4712"


def names(*wanted: int) -> list[bytes]:
    return [each.to_bytes(16) for each in wanted]


@asynccontextmanager
async def at_work(*discoveries: Discovery) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(each.run()) for each in discoveries]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def seen(discovery: Discovery) -> Sighting:
    async with asyncio.timeout(SEEN_S_MAX):
        return await discovery.sighting()


async def is_quiet(discovery: Discovery) -> bool:
    try:
        async with asyncio.timeout(QUIET_S):
            await discovery.sighting()
    except TimeoutError:
        return True
    return False


class DiscoveryContract(ABC):
    """The laws of `Discovery`."""

    @abstractmethod
    def discovery(self, *addresses: str) -> Discovery:
        """Make one that is at these addresses, all in one network."""

    async def test_who_looks_for_a_name_sees_who_announces_it(self) -> None:
        ann, ben = self.discovery(ANN), self.discovery(BEN)
        ann.announce(names(1))
        ben.announce(names(2))
        ann.look_for(names(2))
        ben.look_for(names(1))
        async with at_work(ann, ben):
            assert await seen(ann) == Sighting(name=names(2)[0], addresses=(BEN,))
            assert await seen(ben) == Sighting(name=names(1)[0], addresses=(ANN,))

    async def test_it_does_not_matter_who_comes_first(self) -> None:
        ann, ben = self.discovery(ANN), self.discovery(BEN)
        async with at_work(ann):
            ann.announce(names(1))
            async with at_work(ben):
                ben.look_for(names(9))
                assert await is_quiet(ben)
                ben.look_for(names(1, 9))
                assert (await seen(ben)).addresses == (ANN,)

    async def test_what_nobody_looks_for_is_not_reported(self) -> None:
        ann, ben = self.discovery(ANN), self.discovery(BEN)
        ann.announce(names(*range(10)))
        ben.look_for(names(3))
        async with at_work(ann, ben):
            assert (await seen(ben)).name == names(3)[0]
            assert await is_quiet(ben)

    async def test_names_change(self) -> None:
        ann, ben = self.discovery(ANN), self.discovery(BEN)
        ann.announce(names(1))
        ben.look_for(names(1, 2))
        async with at_work(ann, ben):
            assert (await seen(ben)).name == names(1)[0]
            ann.announce(names(2))
            assert (await seen(ben)).name == names(2)[0]

    async def test_a_waiter_that_is_cancelled_loses_nothing(self) -> None:
        ann, ben = self.discovery(ANN), self.discovery(BEN)
        ben.look_for(names(1))
        async with at_work(ann, ben):
            waiting = asyncio.create_task(ben.sighting())
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            ann.announce(names(1))
            assert (await seen(ben)).name == names(1)[0]

    async def test_names_and_addresses_are_bounded(self) -> None:
        many = [f"192.168.7.{each}:4711" for each in range(1, 2 * SIGHTING_ADDRESSES_MAX)]
        ann, ben = self.discovery(*many), self.discovery(BEN)
        ann.announce(names(*range(2 * ANNOUNCED_NAMES_MAX)))
        ben.look_for(names(*range(2 * ANNOUNCED_NAMES_MAX)))
        async with at_work(ann, ben):
            sightings = [await seen(ben) for _ in range(ANNOUNCED_NAMES_MAX)]
            assert {each.name for each in sightings} == set(names(*range(ANNOUNCED_NAMES_MAX)))
            for each in sightings:
                assert 1 <= len(each.addresses) <= SIGHTING_ADDRESSES_MAX
                assert set(each.addresses) <= set(many)
