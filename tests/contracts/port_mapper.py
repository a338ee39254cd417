"""What every `PortMapper` keeps to."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from domain.connectivity.address import Address
from domain.connectivity.port_mapping import PortMappingState
from domain.ports.port_mapping import PortMapper

SETTLED_S_MAX = 3.01
GIVEN_BACK_S_MAX = 0.5
LOOPBACK = Address("127.0.0.1", 4_433)


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """A router, and a socket behind it.

    Args:
        mapper: The mapper on the machine of the socket.
        listening: Where the socket is bound.
        reaches: Whether what is sent from outside to an address comes to the socket.
        asked: How many requests the router has had.
        set_silent: Lets the router say nothing, or speak again.
        set_refusing: Lets it refuse, or serve again.
        restart: Lets it forget everything.
        move: Puts the machine behind another router, which serves as well.
    """

    mapper: PortMapper
    listening: Address
    reaches: Callable[[Address], Awaitable[bool]]
    asked: Callable[[], int]
    set_silent: Callable[[bool], None]
    set_refusing: Callable[[bool], None]
    restart: Callable[[], None]
    move: Callable[[], None]

    def state(self) -> PortMappingState:
        return self.mapper.report.state

    @property
    def external(self) -> Address:
        external = self.mapper.report.external
        assert external is not None, self.mapper.report
        return external


@asynccontextmanager
async def at_work(house: House) -> AsyncIterator[asyncio.Task[None]]:
    """Run the mapper in the block."""
    task = asyncio.create_task(house.mapper.run(house.listening))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])


async def settle(house: House) -> None:
    async with asyncio.timeout(SETTLED_S_MAX):
        await house.mapper.settled()


class PortMapperContract(ABC):
    """The laws of `PortMapper`."""

    @abstractmethod
    async def house(self) -> House:
        """Make one."""

    async def test_mapped_port_leads_to_the_socket_for_as_long_as_it_runs(self) -> None:
        house = await self.house()
        async with at_work(house):
            await settle(house)
            assert house.state() is PortMappingState.WORKS
            external = house.external
            for _ in range(5):
                assert await house.reaches(external)
                await asyncio.sleep(3_600)
                assert house.external == external

    async def test_port_is_given_back_at_the_end(self) -> None:
        house = await self.house()
        async with at_work(house):
            await settle(house)
            external = house.external
        assert house.mapper.report.external is None
        assert not await house.reaches(external)

    async def test_router_that_is_silent_holds_up_nobody(self) -> None:
        house = await self.house()
        house.set_silent(True)
        async with at_work(house):
            await settle(house)
            assert house.state() is PortMappingState.SILENT
            await asyncio.sleep(86_400)
            assert house.state() is PortMappingState.SILENT
            asked = house.asked()
            await asyncio.sleep(86_400)
            assert house.asked() - asked < 2_000  # every quarter of an hour, in both protocols
            house.set_silent(False)
            await asyncio.sleep(1_100)
            assert house.state() is PortMappingState.WORKS

    async def test_end_waits_for_a_silent_router_half_a_second_at_most(self) -> None:
        house = await self.house()
        async with at_work(house) as running:
            await settle(house)
            house.set_silent(True)
            running.cancel()
            async with asyncio.timeout(GIVEN_BACK_S_MAX + 0.01):
                await asyncio.wait([running])

    async def test_router_that_refuses_is_asked_again_later(self) -> None:
        house = await self.house()
        house.set_refusing(True)
        async with at_work(house):
            await settle(house)
            assert house.state() is PortMappingState.REFUSED
            assert house.mapper.report.error
            asked = house.asked()
            await asyncio.sleep(20)
            assert house.asked() == asked
            house.set_refusing(False)
            await asyncio.sleep(1_800)
            assert house.state() is PortMappingState.WORKS

    async def test_router_that_has_forgotten_is_asked_anew(self) -> None:
        house = await self.house()
        async with at_work(house):
            await settle(house)
            await asyncio.sleep(570)
            external = house.external
            house.restart()
            assert not await house.reaches(external)
            await asyncio.sleep(70)
            assert await house.reaches(house.external)

    async def test_mapping_counts_until_its_time_is_over_and_no_longer(self) -> None:
        house = await self.house()
        async with at_work(house):
            await settle(house)
            lifetime_s = house.mapper.report.lifetime_s
            assert lifetime_s is not None
            house.set_silent(True)
            await asyncio.sleep(lifetime_s * 0.95)
            assert house.state() is PortMappingState.WORKS
            await asyncio.sleep(lifetime_s * 0.25)
            assert house.state() is PortMappingState.SILENT
            assert house.mapper.report.external is None

    async def test_machine_that_moves_asks_the_router_there(self) -> None:
        house = await self.house()
        async with at_work(house):
            await settle(house)
            external = house.external
            house.move()
            house.mapper.look_again()
            await asyncio.sleep(1.0)
            assert house.external != external
            assert await house.reaches(house.external)

    async def test_machine_that_moves_while_it_asks_gives_the_old_router_up(self) -> None:
        house = await self.house()
        house.set_silent(True)
        async with at_work(house):
            await asyncio.sleep(20.0)
            house.move()
            house.mapper.look_again()
            await asyncio.sleep(1.0)
            assert await house.reaches(house.external)

    async def test_who_looks_again_where_nothing_has_changed_keeps_the_port(self) -> None:
        house = await self.house()
        async with at_work(house):
            await settle(house)
            external, asked = house.external, house.asked()
            for _ in range(100):
                house.mapper.look_again()
                await asyncio.sleep(0.1)
            assert house.external == external
            assert house.asked() - asked <= 6  # once in four seconds

    async def test_nobody_is_asked_for_what_listens_on_loopback(self) -> None:
        house = await self.house()
        await house.mapper.run(LOOPBACK)
        await settle(house)
        assert house.state() is PortMappingState.ABSENT
        assert house.asked() == 0

    async def test_before_it_runs_nothing_is_known(self) -> None:
        house = await self.house()
        assert house.state() is PortMappingState.ASKING
        with pytest.raises(TimeoutError):
            await settle(house)
