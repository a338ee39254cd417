"""Our port at a TURN server: what servers do wrong ends in an error that says so, and the next try works."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from adapters.nat.relay import Relay, RelayError
from adapters.simulation.environment import SimulatedClock
from adapters.simulation.internet.reproducible import reproducible_transport
from adapters.simulation.internet.turn_server import TurnOptions, TurnServer
from domain.connectivity.server import parse_turn
from tests.adapters.simulation.internet.datagrams import new_internet

ADDRESS = "198.51.100.20"


@pytest.fixture(autouse=True)
async def _reproducible(seed: int) -> AsyncIterator[None]:
    with reproducible_transport(seed, asyncio.get_running_loop().time):
        yield


class Situation:
    """A client and a TURN server, which is not started."""

    def __init__(self, seed: int, uri: str) -> None:
        internet = new_internet(seed)
        client = internet.public_host("client", "198.51.100.1")
        self.server = TurnServer(internet.public_host("turn", ADDRESS), ADDRESS, seed=seed)
        self.lost = 0
        self.relay = Relay(
            [parse_turn(uri)],
            clock=SimulatedClock(asyncio.get_running_loop()),
            receive=lambda _data, _source: None,
            lost=self._lose,
            entered=client.entered,
        )

    def _lose(self) -> None:
        self.lost += 1

    @asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(worker()) for worker in self.relay.workers()]
        try:
            yield
        finally:
            self.relay.close()
            self.server.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.sleep(1.0)  # virtual: aioice gives the port back


async def test_one_port_is_kept_of_several_that_were_offered(seed: int) -> None:
    situation = Situation(seed, f"turn:user:password@{ADDRESS}")
    async with situation.at_work():
        await situation.server.start()
        first = await situation.relay.open()
        await asyncio.sleep(2.0)
        assert await situation.relay.open() == first
        assert len(situation.server.allocations) == 1
        assert first.host == ADDRESS


async def test_a_wrong_password_is_said_and_not_shown(seed: int) -> None:
    situation = Situation(seed, f"turn:user:hunter2@{ADDRESS}")
    async with situation.at_work():
        await situation.server.start()
        with pytest.raises(RelayError, match="401") as caught:
            await situation.relay.open()
        assert "hunter2" not in str(caught.value)


async def test_a_quota_that_is_used_up_is_said(seed: int) -> None:
    situation = Situation(seed, f"turn:user:password@{ADDRESS}?transport=udp")
    situation.server.options = replace(TurnOptions(), allocations_per_user_max=0)
    async with situation.at_work():
        await situation.server.start()
        with pytest.raises(RelayError, match="486"):
            await situation.relay.open()


async def test_a_server_that_is_not_there_is_given_up_and_found_later(seed: int) -> None:
    situation = Situation(seed, f"turn:user:password@{ADDRESS}")
    async with situation.at_work():
        with pytest.raises(RelayError):
            await situation.relay.open()
        await situation.server.start()
        assert (await situation.relay.open()).host == ADDRESS


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_a_restarted_server_is_noticed_and_used_again(seed: int, transport: str) -> None:
    situation = Situation(seed, f"turn:user:password@{ADDRESS}?transport={transport}")
    async with situation.at_work():
        await situation.server.start()
        await situation.relay.open()
        await situation.relay.check()
        assert situation.lost == 0
        situation.server.close()
        await situation.server.start()
        await situation.relay.check()
        assert situation.lost == 1
        assert situation.relay.address is None
        assert (await situation.relay.open()).host == ADDRESS
