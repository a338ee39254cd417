"""Connections that come back, in virtual time: whatever is cut, off or flaps, nothing is lost and nobody given up."""

import asyncio
from collections import Counter
from contextlib import AsyncExitStack
from itertools import pairwise

import pytest

from domain.connectivity.close_codes import CloseCode
from domain.connectivity.lifecycle import SERVING, State
from domain.events import ConnectionActive, NetworkErrorMet, PeerDisconnected
from domain.limits import (
    BACK_OFF_S_MAX,
    DIAL_S_MAX,
    FAILED_RETRY_S,
    PEER_QUIET_S,
    PEER_SILENCE_S_MAX,
    RETRIES_MAX,
    STRANGER_S_MAX,
)
from node import Node
from node.simulation import NodeNetwork
from tests.node.reconnecting import (
    Recorder,
    are_joined,
    state,
    two,
    until_joined,
    words,
    write,
)

HOUR_S = 3_600.0
TRY_S_MAX = DIAL_S_MAX + 0.1
PEERS = 200
TURNS = 20  # of the event loop; to connect without any delay takes fewer


@pytest.fixture
def network(seed: int) -> NodeNetwork:
    return NodeNetwork(seed, virtual_s_max=40 * 86_400.0)


# --- Cut, killed, restarted ---


def test_a_link_that_is_cut_fifty_times_loses_nothing(network: NodeNetwork) -> None:
    async def scenario() -> None:
        async with two(network) as (alice, bob, document, copy):
            for cut in range(50):
                write(document, f"a{cut}")
                write(copy, f"b{cut}")
                await asyncio.sleep(network.random.uniform(0, 2))
                lasts_s = network.random.choice((0.5, 5.0, 40.0)) * network.random.random()
                network.partition("alice", "bob")
                write(document, f"x{cut}")
                await asyncio.sleep(lasts_s)
                planned = [
                    at
                    for one, other in ((alice, bob), (bob, alice))
                    if (at := one.peers.next_dial(other.peer_id)) is not None
                ]
                loop = asyncio.get_running_loop()
                network.heal()
                # Either it bore it, or the next try leads there; one that was under way may have to fail first.
                allowed_s = max([0.0, *(at - loop.time() for at in planned)]) + TRY_S_MAX
                took_s = await until_joined(alice, bob, allowed_s + PEER_SILENCE_S_MAX)
                if lasts_s < 1:
                    assert took_s <= 2.0
            await network.converged()
            expected = Counter(f"{who}{cut}" for who in "abx" for cut in range(50))
            assert words(document) == words(copy) == expected
            assert are_joined(alice, bob)
            assert alice.statistics().security_count == 0

    network.run(scenario)


def test_whichever_side_is_killed_at_any_time_comes_back(network: NodeNetwork) -> None:
    async def scenario() -> None:
        async with two(network) as nodes_and_replicas:
            alice, bob, document, copy = nodes_and_replicas
            expected: Counter[str] = Counter()
            for number in range(20):
                victim = network.random.choice(("alice", "bob"))
                word = f"w{number}"
                write(document, word)
                await document.durable()
                expected[word] += 1
                await asyncio.sleep(network.random.random() * 3)
                await network.crash(victim)
                await asyncio.sleep(network.random.choice((0.0, 1.0, 30.0)))
                again = await network.restart(victim)
                if victim == "alice":
                    alice, document = again, await again.document(copy.id)
                else:
                    bob, copy = again, await again.document(document.id)
                # A restarted node dials at once, and its own dead connection is not in the way.
                assert await until_joined(alice, bob, 10) <= 3
            await network.converged(document, copy)
            assert words(document) == words(copy) == expected

    network.run(scenario)


@pytest.mark.parametrize("restarted", ["alice", "bob"])
def test_a_restarted_peer_is_not_locked_out_by_its_own_dead_connection(
    network: NodeNetwork, restarted: str
) -> None:
    """Whichever of the two has the smaller id: both are restarted, and ids differ from seed to seed."""

    async def scenario() -> None:
        async with two(network) as (alice, bob, _, _):
            await network.crash(restarted)
            again = await network.restart(restarted)
            other = bob if restarted == "alice" else alice
            assert await until_joined(again, other, 10) <= 1

    for seed in range(4):
        network.run(scenario, seed=seed)


def test_two_hundred_peers_that_restart_at_once_are_active_within_a_minute(
    network: NodeNetwork,
) -> None:
    async def scenario() -> None:
        async with AsyncExitStack() as stack:
            hub = await stack.enter_async_context(network.node("hub"))
            names = [f"peer{number}" for number in range(PEERS)]
            nodes: dict[str, Node] = {}
            for name in names:
                nodes[name] = await stack.enter_async_context(network.node(name))
                await nodes[name].join(await (await hub.create(name)).invite())
            await network.crash("hub")
            for name in names:
                await network.crash(name)
            loop = asyncio.get_running_loop()
            began = loop.time()
            for name in ("hub", *names):
                nodes[name] = await network.restart(name)
            hub = nodes.pop("hub")
            async with asyncio.timeout(60):
                for node in nodes.values():
                    await until_joined(hub, node, 60)
            assert loop.time() - began < 60
            assert len(hub.peers.links()) == PEERS

    network.run(scenario)


def test_when_a_hub_comes_back_after_an_hour_all_are_active_within_a_minute(
    network: NodeNetwork,
) -> None:
    async def scenario() -> None:
        async with AsyncExitStack() as stack:
            hub = await stack.enter_async_context(network.node("hub"))
            nodes = []
            for number in range(PEERS // 4):
                node = await stack.enter_async_context(network.node(f"peer{number}"))
                await node.join(await (await hub.create("d")).invite())
                nodes.append(node)
            await network.crash("hub")
            await asyncio.sleep(HOUR_S)
            hub = await network.restart("hub")
            async with asyncio.timeout(60):
                for node in nodes:
                    await until_joined(hub, node, 60)

    network.run(scenario)


# --- Away ---


def test_a_peer_that_was_away_for_a_month_gets_exactly_what_it_lacks_in_order(
    network: NodeNetwork,
) -> None:
    async def scenario() -> None:
        async with two(network) as (alice, bob, document, copy):
            before = sum(copy.heights.values())
            network.partition("alice", "bob")
            numbers = document.array("numbers")
            for number in range(10_000):
                numbers.append(number)
                if number % 100 == 0:
                    await asyncio.sleep(30 * 86_400 / 100)
            await document.durable()
            assert state(alice, bob) is State.FAILED
            made = sum(document.heights.values()) - before
            network.heal()
            await until_joined(alice, bob, FAILED_RETRY_S)
            await network.converged(document, copy)
            assert list(copy.array("numbers")) == list(range(10_000))
            [exchange] = bob.exchanges(copy._owner)
            assert exchange.received == made
            await document.durable("peers:1")
            assert document._owner.receipts.pending(bob.peer_id) == 0

    network.run(scenario)


def test_a_failed_peer_is_tried_every_quarter_of_an_hour_for_ever(network: NodeNetwork) -> None:
    async def scenario() -> None:
        async with two(network) as (alice, bob, _, _):
            recorder = Recorder(alice)
            await network.crash("bob")
            await asyncio.sleep(3 * HOUR_S)
            assert state(alice, bob) is State.FAILED
            tries = [at for at, _ in recorder.of(NetworkErrorMet)]
            gaps = [after - before for before, after in pairwise(tries)]
            assert len([gap for gap in gaps if gap < BACK_OFF_S_MAX + TRY_S_MAX]) >= RETRIES_MAX - 1
            late = gaps[RETRIES_MAX + 1 :]
            assert late
            assert all(0.85 * FAILED_RETRY_S < gap <= FAILED_RETRY_S + TRY_S_MAX for gap in late)
            again = await network.restart("bob")  # it dials us: a sign of life
            assert await until_joined(alice, again, 10) <= 1

    network.run(scenario)


def test_a_sign_of_life_ends_the_wait_of_a_failed_peer(network: NodeNetwork) -> None:
    async def scenario() -> None:
        async with two(network) as (alice, bob, _, _):
            network.partition("alice", "bob")
            await asyncio.sleep(HOUR_S)
            assert state(alice, bob) is State.FAILED
            network.heal()
            alice.peers.sign_of_life(bob.peer_id)
            assert await until_joined(alice, bob, 10) <= 1
            network.partition("alice", "bob")
            await asyncio.sleep(HOUR_S)
            network.heal()
            bob.network_returned()
            assert await until_joined(alice, bob, 10) <= 2

    network.run(scenario)


# --- Outages, flapping, clocks ---


def test_a_local_outage_is_held_against_nobody(network: NodeNetwork) -> None:
    """Its own network is down: no peer counts as failed, and when one is reached all are."""

    async def scenario() -> None:
        async with AsyncExitStack() as stack:
            hub = await stack.enter_async_context(network.node("hub"))
            nodes = [
                await stack.enter_async_context(network.node(name)) for name in ("x", "y", "z")
            ]
            for node in nodes:
                await node.join(await (await hub.create("d")).invite())
            network.partition("hub", ("x", "y", "z"))
            await asyncio.sleep(2 * HOUR_S)
            assert {state(hub, node) for node in nodes} <= {
                State.RECONNECTING,
                State.CONNECTING,
            }
            assert hub.statistics().overall.errors["NetworkDownError"] > RETRIES_MAX
            network.heal()
            began = asyncio.get_running_loop().time()
            for node in nodes:
                await until_joined(hub, node, BACK_OFF_S_MAX + TRY_S_MAX)
            assert asyncio.get_running_loop().time() - began <= BACK_OFF_S_MAX + 2

    network.run(scenario)


def test_a_flapping_link_neither_loses_anything_nor_makes_a_storm(network: NodeNetwork) -> None:
    async def scenario() -> None:
        async with two(network) as (alice, bob, document, copy):
            recorder = Recorder(alice)
            network.set_link("alice", "bob", connection_lifetime_s=3.0)
            network.break_connections("alice", "bob")
            for number in range(200):
                write(document if number % 2 else copy, f"w{number}")
                await asyncio.sleep(3)
            network.set_link("alice", "bob")
            await network.converged(document, copy)
            assert words(document) == words(copy) == Counter(f"w{n}" for n in range(200))
            assert len(recorder.of(PeerDisconnected)) > 20
            # At most about one try for each end, and no tighter than the back-off.
            assert len(recorder.of(NetworkErrorMet)) <= 2 * len(recorder.of(PeerDisconnected)) + 5
            await until_joined(alice, bob, 60)

    network.run(scenario)


def test_clocks_that_jump_change_nothing(network: NodeNetwork) -> None:
    async def scenario() -> None:
        async with two(network) as (alice, bob, document, copy):
            recorder = Recorder(alice)
            for number, jump_s in enumerate(
                (-10 * 365 * 86_400, 86_400, -3_600, 10 * 365 * 86_400)
            ):
                network.set_date("alice", ahead_s=jump_s)
                write(document, f"a{number}")
                write(copy, f"b{number}")
                await asyncio.sleep(100)
            await network.converged(document, copy)
            assert recorder.of(PeerDisconnected) == []
            assert words(document) == Counter(f"{who}{n}" for who in "ab" for n in range(4))
            assert are_joined(alice, bob)

    network.run(scenario)


# --- Times ---


def test_a_dead_peer_is_noticed_within_fifteen_seconds(network: NodeNetwork) -> None:
    async def scenario() -> None:
        async with two(network) as (alice, bob, _, _):
            recorder = Recorder(alice)
            await asyncio.sleep(1)
            loop = asyncio.get_running_loop()
            died = loop.time()
            await network.crash("bob")
            await asyncio.sleep(PEER_QUIET_S + 0.1)
            assert state(alice, bob) is State.QUIET
            assert recorder.of(PeerDisconnected) == []
            await asyncio.sleep(PEER_SILENCE_S_MAX - PEER_QUIET_S)
            [(at, lost)] = recorder.of(PeerDisconnected)
            assert at - died <= PEER_SILENCE_S_MAX + 0.01
            assert isinstance(lost, PeerDisconnected)
            assert lost.code == CloseCode.TIMED_OUT
            assert state(alice, bob) not in SERVING

    network.run(scenario)


def test_a_line_that_is_down_for_half_a_minute_ends_no_connection(network: NodeNetwork) -> None:
    """Whenever it goes down: also while a heartbeat waits for its answer."""

    async def scenario() -> None:
        async with two(network) as (alice, bob, document, copy):
            recorders = Recorder(alice), Recorder(bob)
            for down in range(20):
                await asyncio.sleep(network.random.uniform(0, 40))
                network.partition("alice", "bob")
                write(document, f"a{down}")
                write(copy, f"b{down}")
                await asyncio.sleep(30.0)
                assert state(alice, bob) is state(bob, alice) is State.QUIET
                network.heal()
                await asyncio.sleep(2.0)
                assert are_joined(alice, bob)
            await network.converged()
            assert words(document) == Counter(f"{who}{n}" for who in "ab" for n in range(20))
            assert not any(each.of(PeerDisconnected) for each in recorders)

    network.run(scenario)


def test_a_connection_of_a_stranger_is_closed_after_half_a_minute(network: NodeNetwork) -> None:
    async def scenario() -> None:
        async with network.node("alice") as alice, network.node("bob") as bob:
            recorder = Recorder(bob)
            await bob.peers.connect(alice.peer_id, alice.addresses)
            await asyncio.sleep(STRANGER_S_MAX - 1)
            assert recorder.of(PeerDisconnected) == []
            await asyncio.sleep(2)
            [(_, ended)] = recorder.of(PeerDisconnected)
            assert isinstance(ended, PeerDisconnected)
            assert ended.code == CloseCode.UNUSED
            assert alice.peers.known == bob.peers.known == {}

    network.run(scenario)


def test_a_connection_says_how_long_each_phase_took(network: NodeNetwork) -> None:
    async def scenario() -> None:
        async with network.node("alice") as alice, network.node("bob") as bob:
            network.set_link("alice", "bob", delay_s=0.1)
            recorder = Recorder(bob)
            await bob.peers.connect(alice.peer_id, alice.addresses)
            await asyncio.sleep(1)
            [(_, active)] = recorder.of(ConnectionActive)
            assert isinstance(active, ConnectionActive)
            assert active.is_dialler
            assert list(active.phases_s) == [
                "initializing",
                "connecting",
                "connected",
                "authenticating",
                "authenticated",
                "encrypting",
                "encrypted",
            ]
            assert active.phases_s["connecting"] == pytest.approx(0.2)
            assert sum(active.phases_s.values()) == pytest.approx(0.4)

    network.run(scenario)
