"""What is heard nearby is noted as far as somebody looks for it, once for each change, and within bounds."""

from hypothesis import given
from hypothesis import strategies as st

from domain.connectivity.sightings import Sighting, Sightings
from domain.limits import LOOKED_FOR_NAMES_MAX, SIGHTING_ADDRESSES_MAX

NAMES = st.binary(min_size=1, max_size=2)
ADDRESSES = st.lists(st.sampled_from(["10.0.0.1:1", "10.0.0.2:2", "10.0.0.3:3"]), max_size=9)


def drain(sightings: Sightings) -> list[Sighting]:
    found = []
    while (each := sightings.take()) is not None:
        found.append(each)
    return found


@given(st.sets(NAMES), st.lists(st.tuples(NAMES, ADDRESSES)))
def test_only_what_is_looked_for_is_told_and_of_each_name_the_latest(
    wanted: set[bytes], heard: list[tuple[bytes, list[str]]]
) -> None:
    sightings = Sightings()
    sightings.look_for(wanted)
    latest = {}
    for name, addresses in heard:
        sightings.note(name, addresses)
        if name in wanted and addresses:
            latest[name] = tuple(addresses[:SIGHTING_ADDRESSES_MAX])
    assert {each.name: each.addresses for each in drain(sightings)} == latest


@given(NAMES, ADDRESSES, ADDRESSES)
def test_a_name_is_told_again_only_where_it_has_moved(
    name: bytes, before: list[str], after: list[str]
) -> None:
    sightings = Sightings()
    sightings.look_for([name])
    sightings.note(name, before)
    drain(sightings)
    sightings.note(name, after)
    has_moved = bool(after) and after[:SIGHTING_ADDRESSES_MAX] != before[:SIGHTING_ADDRESSES_MAX]
    assert len(drain(sightings)) == has_moved


@given(st.sets(NAMES), st.sets(NAMES))
def test_looking_for_others_forgets_what_is_looked_for_no_more(
    before: set[bytes], after: set[bytes]
) -> None:
    sightings = Sightings()
    sightings.look_for(before)
    for name in before:
        sightings.note(name, ["10.0.0.1:1"])
    assert sightings.look_for(after) == after - before
    assert {each.name for each in drain(sightings)} == before & after


def test_not_more_is_looked_for_than_the_bound() -> None:
    sightings = Sightings()
    names = [number.to_bytes(4) for number in range(LOOKED_FOR_NAMES_MAX + 10)]
    sightings.look_for(names)
    assert sum(map(sightings.wants, names)) == LOOKED_FOR_NAMES_MAX
