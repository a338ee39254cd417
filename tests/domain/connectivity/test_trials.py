"""A way in use that has become bad is left for a better one, and nobody goes to and fro."""

from collections.abc import Callable, Iterable
from random import Random

import pytest

from domain.connectivity.pair import Pair
from domain.connectivity.pairs import Outgoing
from domain.limits import (
    POOR_S_MAX,
    PROBE_ACTIVE_S,
    TRIAL_PAUSE_S,
    TRIAL_PINGS,
)
from tests.domain.connectivity.pair_world import DIRECT, HERE, OTHER, RELAY, World


class Lossy(World):
    """A world in which ways lose, or take long, and an hour is soon over."""

    def __init__(self, *live: Pair, seed: int = 1) -> None:
        super().__init__(*live)
        self.random = Random(seed)
        self.loss: dict[Pair, float] = {}
        self.trip_s: dict[Pair, float] = {}
        self.late: list[tuple[float, Pair, bytes]] = []
        self.changes: list[tuple[float, Pair | None]] = []

    def answer(self, probes: Iterable[Outgoing]) -> None:
        for pair, data in probes:
            self.sent.append((self.now, pair))
            if pair in self.live and self.random.random() >= self.loss.get(pair, 0.0):
                pong = self.bob.pong(self.bob.open(data).nonce, HERE)
                self.late.append((self.now + self.trip_s.get(pair, 0.02), pair, pong))

    def run(self, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        end = self.now + seconds
        while not until():
            at = min([self.table.next_at() or end, *(each[0] for each in self.late)])
            if at > end:
                self.now = end
                return
            self.now = max(self.now, at)
            for each in [each for each in self.late if each[0] <= self.now]:
                self.late.remove(each)
                self.table.receive(each[2], each[1], self.now)
            self.answer(self.table.due(self.now))
            if not self.changes or self.changes[-1][1] != self.table.active:
                self.changes.append((self.now, self.table.active))


def used(*ways: Pair, seed: int = 1) -> Lossy:
    """A world whose first way is in use."""
    world = Lossy(ways[0], seed=seed)
    world.offer(*ways)
    world.run(1)
    world.live.update(ways)
    world.run(60)
    assert world.table.active == ways[0]
    return world


@pytest.mark.parametrize("other", [OTHER, RELAY])
def test_a_way_that_loses_much_is_left_within_seconds_and_taken_again_when_it_is_good(
    other: Pair,
) -> None:
    world = used(DIRECT, other)
    world.loss[DIRECT] = 0.5
    left_at = world.now
    world.run(60, until=lambda: world.table.active == other)
    world.run(10)
    assert world.now - left_at < 25
    assert world.table.active == other
    changes = len(world.changes)
    world.run(600)
    assert world.table.active == other
    assert len(world.changes) <= changes + 1
    world.loss.clear()
    world.run(POOR_S_MAX + TRIAL_PAUSE_S + 30)
    assert world.table.active == (DIRECT if other == RELAY else other)


def test_a_way_whose_round_trip_has_grown_is_left() -> None:
    world = used(DIRECT, OTHER)
    world.trip_s[DIRECT] = 0.4
    world.run(30)
    assert world.table.active == OTHER
    world.trip_s[OTHER] = 0.4
    world.run(600)
    assert len(world.changes) <= 4


def test_a_way_whose_round_trip_was_always_long_stays() -> None:
    world = Lossy(DIRECT, RELAY)
    world.trip_s[DIRECT] = 0.4
    world.offer(DIRECT, RELAY)
    world.run(600)
    assert world.table.active == DIRECT
    assert not world.table.states[DIRECT].is_poor


@pytest.mark.parametrize("loss", [0.0, 0.02, 0.1])
def test_two_equal_ways_do_not_flap(loss: float) -> None:
    world = used(DIRECT, OTHER)
    world.loss = {DIRECT: loss, OTHER: loss}
    changes = len(world.changes)
    world.run(3_600)
    # Two pings lost in a row change the way; chance alone does that 3,600 / 4 * loss**2 times.
    assert len(world.changes) - changes <= (2 + 2 * 3_600 / PROBE_ACTIVE_S * loss**2) * (loss > 0)
    assert not any(state.is_poor for state in world.table.states.values())


def test_a_way_that_was_silent_for_a_while_is_no_poor_one() -> None:
    world = used(DIRECT, RELAY)
    for _ in range(20):
        world.live.discard(DIRECT)
        world.run(world.random.uniform(0.5, 8))
        world.live.add(DIRECT)
        world.run(60)
        assert world.table.active == DIRECT
        assert not world.table.states[DIRECT].is_poor


def test_trials_are_bounded() -> None:
    world = used(DIRECT, RELAY)
    world.loss = {DIRECT: 0.3, RELAY: 0.3}
    world.sent.clear()
    world.run(1_500)
    trials = 1_500 / TRIAL_PAUSE_S
    assert len(world.sent) < trials * 2 * TRIAL_PINGS + 1_500 / PROBE_ACTIVE_S * 8
