"""The table of ways to a peer: what it asks, whom it believes, which way it takes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.connectivity.address import Address
from domain.connectivity.candidate import Candidate, CandidateKind
from domain.connectivity.pair import Pair
from domain.connectivity.probe import PROBE_BYTES, Ping, ProbeError, ProbeKey
from domain.limits import (
    HELLO_S_MAX,
    LEARNT_PAIRS_MAX,
    PAIRS_MAX,
    PROBE_ACTIVE_S,
    PROBE_KEYS_MAX,
    PROBE_MISSED_S,
    PUNCH_PROBES_MAX,
)
from tests.domain.connectivity.pair_world import ALICE, BOB, DIRECT, HERE, OTHER, RELAY, World, key


def test_the_direct_way_is_taken_though_the_relay_answers_first() -> None:
    world = World(RELAY)
    world.offer(DIRECT, RELAY)
    world.run(1)
    assert world.table.active == RELAY
    world.live.add(DIRECT)
    world.run(1)
    assert world.table.active == DIRECT
    assert not world.table.is_relayed(DIRECT)
    assert world.table.observed == HERE


def test_a_candidate_that_never_answers_is_left_alone_after_so_many_pings() -> None:
    world = World()
    world.offer(DIRECT)
    world.run(1_000)
    assert world.count(DIRECT) == PUNCH_PROBES_MAX
    assert world.table.next_at() is None


def test_both_ends_at_a_relay_count_as_one_more_relay() -> None:
    world = World(RELAY, DIRECT)
    world.table.add([Candidate(CandidateKind.RELAYED, DIRECT.address)], by_relay=False, now=100)
    world.table.add([Candidate(CandidateKind.RELAYED, RELAY.address)], by_relay=True, now=100)
    world.run(1)
    assert world.table.active == DIRECT
    assert world.table.is_relayed(DIRECT)


@pytest.mark.parametrize("offered", [DIRECT, DIRECT._replace(by_relay=True)])
@pytest.mark.parametrize("when", ["later", "before", "long before"])
def test_a_port_at_a_relay_that_a_probe_shows_is_none_of_the_direct_ways(
    offered: Pair, when: str
) -> None:
    world = World()
    if when != "later":
        world.offer(offered, kind=CandidateKind.RELAYED)
    if when == "long before":
        world.run(60)
        assert not world.table.states
    world.live.add(DIRECT)
    world.answer(world.table.receive(world.bob.ping(bytes(12)), DIRECT, world.now))
    world.run(1)
    assert world.table.active == DIRECT
    if when == "later":
        world.offer(offered, kind=CandidateKind.RELAYED)
    assert world.table.is_relayed(DIRECT)
    world.live.add(OTHER)
    world.offer(OTHER)
    world.run(1)
    assert world.table.active == OTHER


def test_the_way_in_use_is_asked_every_five_seconds() -> None:
    world = World(DIRECT)
    world.offer(DIRECT)
    world.run(1)
    world.sent.clear()
    world.run(10 * PROBE_ACTIVE_S)
    assert world.count(DIRECT) == 10


def test_a_way_that_falls_silent_is_doubted_then_dead_and_comes_back() -> None:
    world = World(DIRECT)
    world.offer(DIRECT)
    world.run(1)
    world.live.clear()
    world.table.doubt(world.now)
    asked_at = world.now
    world.run(60, until=lambda: world.table.is_dark)
    assert world.now - asked_at == pytest.approx(sum(PROBE_MISSED_S[:2]))
    assert world.table.can_send
    world.run(60, until=lambda: not world.table.can_send)
    assert world.now - asked_at == pytest.approx(sum(PROBE_MISSED_S))
    world.run(300)
    world.live.add(DIRECT)
    world.run(PROBE_MISSED_S[-1])
    assert world.table.can_send
    assert not world.table.is_dark


def test_a_dialler_has_the_time_of_a_hello_before_the_first_probe_that_it_answers() -> None:
    """It answers probes once it has our hello, which has to go out again where it was lost."""
    world = World(follows=True)
    world.table.adopt(DIRECT, CandidateKind.HOST, now=world.now)
    adopted_at = world.now
    world.run(60, until=lambda: not world.table.can_send)
    assert HELLO_S_MAX < world.now - adopted_at < 2 * HELLO_S_MAX
    world.live.add(DIRECT)
    world.run(PROBE_MISSED_S[-1])
    assert world.table.can_send
    world.live.clear()
    heard_at = world.now
    world.run(60, until=lambda: not world.table.can_send)
    assert world.now - heard_at < HELLO_S_MAX


def test_a_doubted_way_gives_way_to_one_that_answers_and_returns() -> None:
    world = World(DIRECT, RELAY)
    world.offer(DIRECT, RELAY)
    world.run(1)
    assert world.table.active == DIRECT
    world.live.discard(DIRECT)
    world.table.doubt(world.now)
    world.run(0.8)
    assert world.table.active == RELAY
    world.run(100)
    world.live.add(DIRECT)
    world.run(15)
    assert world.table.active == DIRECT


def test_of_equal_ways_the_one_in_use_stays() -> None:
    world = World(DIRECT)
    world.offer(DIRECT, OTHER)
    world.run(1)
    world.live.add(OTHER)
    world.run(5)
    assert world.table.active == DIRECT


def test_the_source_of_an_authentic_ping_is_tried_and_of_others_is_not() -> None:
    world = World(OTHER)
    forged = ProbeKey(b"x" * 32, context=b"", own=BOB, peer=ALICE).ping(bytes(12))
    with pytest.raises(ProbeError):
        world.table.receive(forged, OTHER, world.now)
    assert world.table.states == {}
    answers = world.table.receive(world.bob.ping(bytes(12)), OTHER, world.now)
    assert [(pair, len(data)) for pair, data in answers] == [(OTHER, PROBE_BYTES)]
    world.run(1)
    assert world.table.active == OTHER


def test_a_ping_brings_few_packets_to_where_it_seems_to_come_from() -> None:
    """Whoever sends it can write any source on it: three packets for one, as RFC 9000 has it (8.1)."""
    world, count = World(), 200
    for number in range(count):
        source = Pair(Address(f"192.0.2.{number}", 7))
        ping = world.bob.ping(number.to_bytes(4, "big") + bytes(8))
        world.answer(world.table.receive(ping, source, world.now))
        world.run(number % 7)
    world.run(60)
    assert count < len(world.sent) <= 3 * count


@pytest.mark.parametrize("round_trip_s", [0.01, 0.06, 0.2, 0.6])
def test_a_source_that_no_offer_named_is_found_however_far_it_is(round_trip_s: float) -> None:
    world = World()
    on_way = [
        (0.05 * each, world.bob.ping(each.to_bytes(4, "big") + bytes(8))) for each in range(16)
    ]
    for now in (0.01 * each for each in range(200)):
        for _, ping in world.table.due(now):
            on_way.append((now + round_trip_s, world.bob.pong(world.bob.open(ping).nonce, HERE)))
        for each in [each for each in on_way if each[0] <= now]:
            on_way.remove(each)
            world.table.receive(each[1], DIRECT, now)
    assert world.table.can_send


def test_a_ping_that_comes_again_is_not_answered_from_wherever() -> None:
    world = World()
    ping = world.bob.ping(bytes(12))
    assert world.table.receive(ping, DIRECT, world.now)
    assert world.table.receive(ping, DIRECT, world.now) == []
    assert world.table.receive(ping, OTHER, world.now) == []
    assert OTHER not in world.table.states


def test_a_pong_counts_only_for_the_way_of_its_ping_and_once() -> None:
    world = World()
    world.offer(DIRECT, OTHER)
    probes = dict(world.table.due(world.now))
    pong = world.bob.pong(world.bob.open(probes[DIRECT]).nonce, HERE)
    world.table.receive(pong, OTHER, world.now)
    assert world.table.active is None
    world.table.receive(pong, DIRECT, world.now + 1)
    assert world.table.states[DIRECT].round_trip_s == 1
    world.table.receive(pong, DIRECT, world.now + 9)
    assert world.table.states[DIRECT].round_trip_s == 1


@given(st.integers(0, 60), st.booleans())
def test_learnt_ways_are_bounded(count: int, is_by_ping: bool) -> None:
    world = World()
    for number in range(count):
        pair = Pair(Address("203.0.113.77", number + 1))
        if is_by_ping:
            world.table.receive(world.bob.ping(number.to_bytes(4, "big") + bytes(8)), pair, 100)
        else:
            world.table.hear(pair, 1_200, 100 + 2 * number)
    assert len(world.table.states) == min(count, LEARNT_PAIRS_MAX)


@given(st.integers(0, 200))
def test_offered_ways_are_bounded(count: int) -> None:
    world = World()
    world.offer(*(Pair(Address("203.0.113.77", number + 1)) for number in range(count)))
    assert len(world.table.states) == min(count, PAIRS_MAX)


def test_a_stranger_gets_one_ping_a_second_and_none_for_a_short_datagram() -> None:
    world = World()
    world.table.hear(DIRECT, PROBE_BYTES - 1, 100)
    assert world.table.due(100) == []
    world.table.hear(DIRECT, PROBE_BYTES, 100)
    world.table.hear(OTHER, PROBE_BYTES, 100.5)
    assert [pair for pair, _ in world.table.due(101)] == [DIRECT]
    world.run(60)
    assert world.count(DIRECT) == 0


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "::1", "224.0.0.1", "0.0.0.0", "ff02::1", "169.254.1.1", "255.255.255.255"],
)
def test_nothing_is_sent_where_no_other_machine_can_be(host: str) -> None:
    world = World()
    world.offer(Pair(Address(host, 4_433)), Pair(Address("::ffff:127.0.0.1", 1)))
    assert world.table.due(world.now) == []


def test_a_relay_is_not_asked_to_send_into_a_house() -> None:
    world = World()
    houses = ("10.1.0.2", "192.168.1.1", "172.16.0.1", "100.64.0.1", "fd00::1")
    world.offer(*(Pair(Address(host, 4_433), by_relay=True) for host in houses))
    assert world.table.due(world.now) == []
    world.offer(RELAY, kind=CandidateKind.HOST)
    assert [pair for pair, _ in world.table.due(world.now)] == [RELAY]


def test_ways_by_the_relay_end_with_it() -> None:
    world = World(DIRECT, RELAY)
    world.offer(RELAY)
    world.run(1)
    assert world.table.active == RELAY
    assert [each.address for each in world.table.drop_relay()] == [RELAY.address]
    assert world.table.active is None
    assert not world.table.can_send


def test_a_living_way_is_asked_under_a_key_that_the_peer_is_known_to_have() -> None:
    world = World(DIRECT)
    world.offer(DIRECT)
    world.run(1)
    newer = key(ALICE, b"offer")
    world.table.add_key(newer)
    world.run(PROBE_ACTIVE_S)  # Bob, who has the old key alone, answers
    assert world.table.states[DIRECT].misses == 0
    world.offer(OTHER)
    (probe,) = world.table.due(world.now)
    assert key(BOB, b"offer").open(probe.data) == Ping(probe.data[10:22])


def test_a_dead_way_comes_back_though_offers_that_nobody_got_brought_new_keys() -> None:
    world = World(DIRECT)
    world.offer(DIRECT)
    world.run(1)
    world.live.clear()
    for number in range(10):
        world.table.add_key(key(ALICE, bytes([number])))
        world.run(10)
    assert not world.table.can_send
    world.live.add(DIRECT)
    world.run(PROBE_MISSED_S[-1])
    assert world.table.can_send


def test_a_peer_that_is_elsewhere_now_is_asked_under_a_key_that_it_has() -> None:
    """Its box forgot it, and the offers that we make since do not reach it."""
    world = World(DIRECT)
    world.offer(DIRECT)
    world.run(1)
    world.live = {OTHER}
    world.table.add_key(key(ALICE, b"offer"))
    world.run(10)
    world.answer(world.table.receive(world.bob.ping(bytes(12)), OTHER, world.now))
    world.run(1)
    assert world.table.active == OTHER


def test_keys_are_bounded_and_that_of_the_hello_stays() -> None:
    world = World(DIRECT)
    dropped = [world.table.add_key(key(ALICE, bytes([n]))) for n in range(20)]
    assert len(world.table.key_ids) == PROBE_KEYS_MAX
    assert world.bob.key_id in world.table.key_ids
    assert next(each for each in dropped if each is not None) == key(ALICE, b"\0").key_id


def test_a_table_takes_over_what_another_found() -> None:
    punch, mine = World(DIRECT), World(DIRECT)
    punch.offer(DIRECT)
    punch.run(1)
    mine.table.add_key(key(ALICE, b"hello"), is_lasting=True)
    mine.table.absorb(punch.table)
    mine.table.adopt(DIRECT, CandidateKind.PEER_REFLEXIVE, now=mine.now)
    assert mine.table.active == DIRECT
    assert mine.table.states[DIRECT].kind is CandidateKind.SERVER_REFLEXIVE


def test_who_follows_takes_the_way_that_the_peer_takes_once_it_answers_there() -> None:
    world = World(DIRECT, OTHER, follows=True)
    world.offer(DIRECT)
    world.run(1)
    world.table.hear(OTHER, 1_200, world.now)
    assert world.table.active == DIRECT
    world.run(0.1)
    assert world.table.active == OTHER
    world.table.hear(DIRECT, 1_200, world.now)
    assert world.table.active == DIRECT


def test_who_does_not_follow_asks_whether_its_own_way_still_works() -> None:
    world = World(DIRECT, OTHER)
    world.offer(DIRECT)
    world.run(1)
    world.live.discard(DIRECT)
    world.table.hear(OTHER, 1_200, world.now)
    world.run(0.7)
    assert world.table.active == DIRECT
    world.run(0.1)
    assert world.table.active == OTHER


def test_nobody_follows_from_a_direct_way_to_a_relay() -> None:
    world = World(DIRECT, RELAY, follows=True)
    world.offer(DIRECT, RELAY)
    world.run(1)
    world.table.hear(RELAY, 1_200, world.now)
    assert world.table.active == DIRECT
