"""Where a peer is: what somebody said stays, where it was met comes and goes, what was seen nearby expires."""

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.simulation.disk import SimulatedDisk
from adapters.simulation.environment import SimulatedClock
from adapters.simulation.storage import MemoryDatabase
from domain.connectivity.lifecycle import Lifecycle
from domain.limits import NEARBY_S_MAX, PEER_ADDRESSES_MAX, PEER_ADDRESSES_RECALLED
from node.address_book import AddressBook
from node.peer_status import PeerStatus

addresses = st.integers(0, 30).map(lambda number: f"192.0.2.{number}:4433")
names = st.sampled_from(("home.example:4433", "office.example:4433"))
said = st.lists(st.one_of(addresses, names), max_size=PEER_ADDRESSES_RECALLED, unique=True)
met = st.lists(addresses, max_size=40)


@pytest.fixture(scope="module")
def book() -> Iterator[AddressBook]:
    loop = asyncio.new_event_loop()
    yield AddressBook({}, MemoryDatabase(SimulatedDisk(loop, 0, "ada")).store, SimulatedClock(loop))
    loop.close()


def status() -> PeerStatus:
    return PeerStatus(Lifecycle(now=0.0))


@given(said=said, met=met, met_after_restart=met)
def test_where_a_peer_was_met_never_takes_the_place_of_where_it_was_said_to_be(
    book: AddressBook, said: list[str], met: list[str], met_after_restart: list[str]
) -> None:
    peer = status()
    book.learn(peer, said)
    for each in met:
        book.meet(peer, each)
        assert peer.places(0.0)[0] == each
    again = status()
    book.recall(again, peer.addresses)
    for each in met_after_restart:
        book.meet(again, each)
    for one in (peer, again):
        assert set(said) <= set(one.addresses)
        assert len(one.addresses) <= PEER_ADDRESSES_MAX


@given(said=said, met=met)
def test_where_a_peer_was_met_last_is_remembered_if_there_is_room(
    book: AddressBook, said: list[str], met: list[str]
) -> None:
    peer = status()
    book.learn(peer, said)
    for each in met:
        book.meet(peer, each)
    latest = list(dict.fromkeys(reversed(met)))[: PEER_ADDRESSES_MAX - len(said)]
    assert set(latest[:1]) <= set(peer.addresses)


@given(said=said, met=met, refused=st.sets(addresses))
def test_where_somebody_else_was_comes_last_and_goes_first(
    book: AddressBook, said: list[str], met: list[str], refused: set[str]
) -> None:
    peer = status()
    book.learn(peer, said)
    for each in met:
        book.meet(peer, each)
    before = peer.addresses
    book.distrust(peer, sorted(refused))
    assert sorted(peer.addresses) == sorted(before)
    kept = [each for each in before if each not in refused]
    assert list(peer.addresses[: len(kept)]) == kept
    for number in range(PEER_ADDRESSES_MAX):
        book.meet(peer, f"198.51.100.{number}:4433")
    assert not refused & set(peer.addresses)


def test_where_a_peer_was_seen_nearby_is_tried_first_and_not_for_ever(book: AddressBook) -> None:
    peer = status()
    book.learn(peer, ["home.example:4433"])
    peer.nearby, peer.nearby_until = ("192.168.1.7:4433",), NEARBY_S_MAX
    assert peer.places(NEARBY_S_MAX - 1) == ("192.168.1.7:4433", "home.example:4433")
    assert peer.places(NEARBY_S_MAX) == ("home.example:4433",)
