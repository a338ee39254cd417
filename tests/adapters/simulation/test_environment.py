import asyncio
from collections.abc import Iterator

import pytest

from adapters.simulation.environment import SimulatedClock, SimulatedEntropy
from adapters.simulation.loop import VirtualTimeLoop
from domain.ports.environment import Clock, Entropy
from tests.contracts.environment import ClockContract, EntropyContract


class TestSimulatedClock(ClockContract):
    @pytest.fixture(autouse=True)
    def _loop(self) -> Iterator[None]:
        self.loop = VirtualTimeLoop()
        yield
        self.loop.close()

    def clock(self) -> Clock:
        return SimulatedClock(self.loop)


class TestSimulatedEntropy(EntropyContract):
    def entropy(self) -> Entropy:
        return SimulatedEntropy(1, "alpha")


async def test_both_clocks_follow_the_loop() -> None:
    clock = SimulatedClock(asyncio.get_running_loop(), wall_offset_s=-3.0)
    now, timestamp_us = clock.now(), clock.timestamp_us()
    await asyncio.sleep(2.5)
    assert clock.now() - now == pytest.approx(2.5)
    assert clock.timestamp_us() - timestamp_us == 2_500_000


async def test_the_date_may_jump_and_the_time_does_not() -> None:
    clock = SimulatedClock(asyncio.get_running_loop())
    now, timestamp_us = clock.now(), clock.timestamp_us()
    clock.wall_offset_s -= 3_600
    assert clock.now() == now
    assert clock.timestamp_us() == timestamp_us - 3_600_000_000


def test_entropy_depends_on_seed_and_name_and_not_on_how_it_is_cut() -> None:
    whole = SimulatedEntropy(1, "alpha").draw(100)
    pieces = SimulatedEntropy(1, "alpha")
    assert b"".join(pieces.draw(count) for count in (0, 1, 63, 36)) == whole
    assert SimulatedEntropy(2, "alpha").draw(100) != whole
    assert SimulatedEntropy(1, "beta").draw(100) != whole


@pytest.mark.parametrize("count", [-1, 65_537])
def test_entropy_refuses_to_draw_too_much(count: int) -> None:
    with pytest.raises(ValueError, match="65536"):
        SimulatedEntropy(1, "alpha").draw(count)
