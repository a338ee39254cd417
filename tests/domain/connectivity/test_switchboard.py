"""Whoever registers a tag is found under it, however many others register it too."""

from hypothesis import given
from hypothesis import strategies as st

from adapters.simulation.environment import SimulatedEntropy
from domain.connectivity.switchboard import Switchboard
from domain.limits import SIGNAL_ROUTES_MAX

NAMES = "abcdefgh"
TAGS = [bytes([number]) * 32 for number in range(4)]
registrations = st.lists(st.tuples(st.sampled_from(NAMES), st.sets(st.sampled_from(TAGS))))


def make() -> Switchboard[str]:
    return Switchboard(SimulatedEntropy(1, "switchboard").draw)


@given(registrations)
def test_the_last_registration_holds_and_nothing_is_left_of_those_before(
    said: list[tuple[str, set[bytes]]],
) -> None:
    board, last = make(), dict[str, set[bytes]]()
    for name, tags in said:
        board.register(name, tags)
        last[name] = tags
    assert board.tags == set().union(*last.values())
    for name in NAMES:
        assert board.has(name) == bool(last.get(name))
    for tag in TAGS:
        there = {name for name, tags in last.items() if tag in tags}
        found = board.find(tag, besides="a")
        assert set(found) <= there - {"a"}
        assert len(found) == len(set(found)) == min(SIGNAL_ROUTES_MAX, len(there - {"a"}))


def test_who_registers_again_keeps_its_place() -> None:
    """So that nobody is last, and left out, because its tags of another document have changed."""
    board = make()
    board.register("first", TAGS[:2])
    for number in range(40):
        board.register(f"squatter {number}", TAGS[:1])
    board.register("first", [TAGS[0], TAGS[3]])
    assert all("first" in board.find(TAGS[0], besides="") for _ in range(20))


def test_the_newest_is_found_and_everybody_else_in_turn() -> None:
    board = make()
    for number in range(40):
        board.register(f"squatter {number}", TAGS[:1])
    board.register("last", TAGS[:1])
    found = [board.find(TAGS[0], besides="") for _ in range(400)]
    assert all("last" in each for each in found)
    assert len({name for each in found for name in each}) == 41
