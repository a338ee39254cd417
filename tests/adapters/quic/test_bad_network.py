"""Connections over a network that delays, loses and forgets, in virtual time."""

import asyncio
import random

import pytest

from adapters.quic.connection import PeerConnection
from adapters.simulation.loop import run
from domain.connectivity.close_codes import CloseCode
from domain.connectivity.lifecycle import State, Step
from domain.errors import DialError, HandshakeTimedOutError
from domain.limits import (
    BEHIND_S_MAX,
    HELLO_S_MAX,
    MIB,
    PACKETS_KEEPALIVE_S,
    PEER_SILENCE_S_MAX,
    PROBE_ACTIVE_S,
    PROBE_FOLLOWED_S,
    PROBE_MISSED_S,
    STREAM_UNUSED_S,
)
from domain.ports.network import Connection
from tests.adapters.quic.environment import engine_of
from tests.adapters.quic.wire import Wire
from tests.contracts.connected_peers import (
    channel_name,
    connect,
    device,
    receive_count,
    round_trips,
    running,
    send_all,
)


def test_a_dial_takes_two_round_trips() -> None:
    async def scenario(seed: int) -> float:
        wire = Wire(seed=seed, delay_s=0.025)
        alice, bob = wire.network(device(1)), wire.network(device(2))
        async with running(alice, bob):
            began = asyncio.get_running_loop().time()
            await connect(alice, bob, device(2))
            return asyncio.get_running_loop().time() - began

    assert run(scenario, 0) == pytest.approx(2 * 0.050, abs=0.005)


def test_a_quiet_connection_stays_and_says_little() -> None:
    async def scenario(seed: int) -> int:
        wire = Wire(seed=seed)
        alice, bob = wire.network(device(1)), wire.network(device(2))
        await alice.start()
        await bob.start()
        near, far = await connect(alice, bob, device(2))
        await asyncio.sleep(1)  # virtual, as below
        before = wire.datagrams
        await asyncio.sleep(600)
        carried = wire.datagrams - before
        await round_trips(near, far)
        await alice.close(0, "")
        await bob.close(0, "")
        return carried

    probes = (
        600 / PROBE_ACTIVE_S + 600 / PROBE_FOLLOWED_S
    )  # the dialler's, and now and then the listener's
    packets = 600 / PACKETS_KEEPALIVE_S
    assert 600 / PROBE_ACTIVE_S <= run(scenario, 0) <= 2 * (probes + packets + 1)


def test_a_peer_that_vanishes_is_noticed_on_both_sides() -> None:
    async def scenario(seed: int) -> tuple[int, int, float]:
        wire = Wire(seed=seed)
        alice, bob = wire.network(device(1)), wire.network(device(2))
        await alice.start()
        await bob.start()
        near, far = await connect(alice, bob, device(2))
        await round_trips(near, far)
        began = asyncio.get_running_loop().time()
        wire.is_cut = True
        near_end, far_end = await asyncio.gather(near.wait_closed(), far.wait_closed())
        took = asyncio.get_running_loop().time() - began
        await alice.close(0, "")
        await bob.close(0, "")
        return near_end[0], far_end[0], took

    near_code, far_code, took = run(scenario, 0)
    assert near_code == far_code == CloseCode.TIMED_OUT
    assert took <= PEER_SILENCE_S_MAX + 0.1


def test_a_way_that_is_gone_is_shown_soon_and_one_that_comes_back_too() -> None:
    """Nobody sends anything: the probes of the way tell."""

    async def scenario(seed: int) -> list[tuple[State, float]]:
        wire = Wire(seed=seed)
        alice, bob = wire.network(device(1)), wire.network(device(2))
        await alice.start()
        await bob.start()
        near, far = await connect(alice, bob, device(2))
        loop = asyncio.get_running_loop()
        for end in (near, far):
            end.lifecycle.take(Step.ACTIVATE, now=loop.time())
            end.lifecycle.take_changes()
        began, known = loop.time(), engine_of(near)._loss._cc
        wire.is_cut = True
        await asyncio.sleep(PEER_SILENCE_S_MAX - 5.0)
        wire.is_cut = False
        await asyncio.sleep(5.0)
        await round_trips(near, far)
        # It is the same way: a node that answers late because it is busy would else be kept busy by all who ask anew.
        assert engine_of(near)._loss._cc is known
        changes = near.lifecycle.take_changes()
        assert [each.new for each in far.lifecycle.take_changes()] == [State.QUIET, State.ACTIVE]
        await alice.close(0, "")
        await bob.close(0, "")
        return [(each.new, each.at - began) for each in changes]

    [(lost, lost_s), (back, back_s)] = run(scenario, 0)
    assert (lost, back) == (State.QUIET, State.ACTIVE)
    assert lost_s <= PROBE_ACTIVE_S + sum(PROBE_MISSED_S) + 0.1
    assert 0 <= back_s - (PEER_SILENCE_S_MAX - 5.0) <= PROBE_MISSED_S[-1] + 0.5


def test_nothing_is_repeated_while_the_answer_may_have_arrived() -> None:
    """A node that is slow to read would else ask its peers for more and more, and never catch up."""

    async def scenario(seed: int) -> tuple[int, int]:
        wire = Wire(seed=seed)
        alice, bob = wire.network(device(1)), wire.network(device(2))
        await alice.start()
        await bob.start()
        near, far = await connect(alice, bob, device(2))
        await round_trips(near, far)
        await asyncio.sleep(0.5)  # virtual, as below
        packets = engine_of(near)._packet_number
        for each in wire.sockets.values():
            each.is_behind = True
        wire.is_cut = True
        await near.control.send(b"something")
        await asyncio.sleep(0.9 * BEHIND_S_MAX)
        waiting = engine_of(near)._packet_number
        await asyncio.sleep(0.5)
        repeated = engine_of(near)._packet_number
        wire.is_cut = False
        await far.control.receive()
        await alice.close(0, "")
        await bob.close(0, "")
        return waiting - packets, repeated - waiting

    sent, again = run(scenario, 0)
    assert sent == 1
    assert again >= 1  # but not for ever: others may keep a node busy


def test_a_silent_address_is_given_up_soon_and_a_silent_peer_later() -> None:
    async def scenario(seed: int) -> tuple[float, float]:
        wire = Wire(seed=seed)
        alice = wire.network(device(1))
        loop = asyncio.get_running_loop()
        async with running(alice):
            began = loop.time()
            with pytest.raises(DialError):
                await alice.dial(device(2).peer, ["10.0.0.9:9"])
            nobody = loop.time() - began
        bob = wire.network(device(2))
        async with running(bob):
            alice = wire.network(device(1))
            await alice.start()
            began = loop.time()
            dialling = asyncio.create_task(alice.dial(device(2).peer, bob.addresses))
            await asyncio.sleep(0.08)  # virtual: the certificate has come, the hello is on its way
            wire.is_cut = True
            with pytest.raises(HandshakeTimedOutError) as caught:
                await dialling
            assert caught.value.code == CloseCode.HANDSHAKE_TIMED_OUT
            silent = loop.time() - began
            await alice.close(0, "")
            wire.is_cut = False
        return nobody, silent

    nobody, silent = run(scenario, 0)
    assert nobody == pytest.approx(3.0, abs=0.01)
    assert silent == pytest.approx(HELLO_S_MAX, abs=0.01)


@pytest.mark.parametrize("seed", range(6))
def test_nothing_is_lost_or_mixed_whatever_the_network_does(seed: int) -> None:
    async def scenario(seed: int) -> None:
        draw = random.Random(seed)
        wire = Wire(
            seed=seed,
            delay_s=0.02,
            jitter_s=0.03,
            loss=draw.choice([0, 0.02, 0.1]),
            duplication=0.02,
        )
        alice, bob = wire.network(device(1)), wire.network(device(2))
        async with running(alice, bob):
            near, far = await connect(alice, bob, device(2))
            names = [channel_name(number) for number in range(150)]
            plans = [
                [
                    (draw.choice(names), draw.randbytes(draw.choice([20, 400, 3_000])))
                    for _ in range(800)
                ]
                for _ in range(2)
            ]
            async with asyncio.TaskGroup() as tasks:
                for writer, reader, plan in ((near, far, plans[0]), (far, near, plans[1])):
                    tasks.create_task(write(writer, plan))
                    for name in names:
                        expected = [message for channel, message in plan if channel == name]
                        tasks.create_task(read(reader, name, expected))

    async def write(connection: Connection, plan: list[tuple[bytes, bytes]]) -> None:
        for name, message in plan:
            await connection.channel(name).send(message)

    async def read(connection: Connection, name: bytes, expected: list[bytes]) -> None:
        assert await receive_count(connection.channel(name), len(expected)) == expected

    run(scenario, seed)


def test_a_dial_survives_loss() -> None:
    async def scenario(seed: int) -> None:
        wire = Wire(seed=seed, loss=0.2, jitter_s=0.02)
        alice, bob = wire.network(device(1)), wire.network(device(2))
        async with running(alice, bob):
            await round_trips(*await connect(alice, bob, device(2)))

    for seed in range(10):
        run(scenario, seed)


def test_a_long_path_is_filled() -> None:
    async def scenario(seed: int) -> float:
        wire = Wire(seed=seed, delay_s=0.05)
        alice, bob = wire.network(device(1)), wire.network(device(2))
        async with running(alice, bob):
            near, far = await connect(alice, bob, device(2))
            messages = [bytes(64 * 1024)] * 128
            began = asyncio.get_running_loop().time()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(send_all(near.channel(channel_name(1)), messages))
                tasks.create_task(receive_count(far.channel(channel_name(1)), len(messages)))
            return asyncio.get_running_loop().time() - began

    assert run(scenario, 0) < 2.0  # 8 MiB at a round trip of 100 ms, slow start included


def test_typing_for_long_does_not_allow_a_burst() -> None:
    async def scenario(seed: int) -> int:
        wire = Wire(seed=seed)
        alice, bob = wire.network(device(1)), wire.network(device(2))
        async with running(alice, bob):
            near, far = await connect(alice, bob, device(2))
            assert isinstance(near, PeerConnection)
            await round_trips(near, far, 200)
            return engine_of(near)._loss.congestion_window

    assert run(scenario, 0) <= 20 * 1_200


def test_a_close_that_was_lost_is_told_again() -> None:
    async def scenario(seed: int) -> tuple[int, str, bool]:
        wire = Wire(seed=seed)
        alice, bob = wire.network(device(1)), wire.network(device(2))
        async with running(alice, bob):
            near, far = await connect(alice, bob, device(2))
            await round_trips(near, far)
            wire.loss = 1.0
            near.close(CloseCode.UNUSED, "not needed")
            wire.loss = 0.0
            await far.control.send(b"are you there?")
            return await far.wait_closed()

    assert run(scenario, 0) == (CloseCode.UNUSED, "not needed", True)


def test_an_unused_stream_ends_and_its_channel_goes_on() -> None:
    async def scenario(seed: int) -> list[int]:
        wire = Wire(seed=seed)
        alice, bob = wire.network(device(1)), wire.network(device(2))
        await alice.start()
        await bob.start()
        async with asyncio.timeout(1_000):  # virtual, as below
            near, far = await connect(alice, bob, device(2))
            assert isinstance(near, PeerConnection)
            assert isinstance(far, PeerConnection)
            counts = []
            for turn in range(3):
                for number in range(5):
                    message = b"turn %d" % turn
                    await near.channel(channel_name(number)).send(message)
                    assert await far.channel(channel_name(number)).receive() == message
                counts.append(len(near._multiplexer._open))
                await asyncio.sleep(STREAM_UNUSED_S / 2)
                await near.channel(channel_name(0)).send(b"in use")
                assert await far.channel(channel_name(0)).receive() == b"in use"
                await asyncio.sleep(STREAM_UNUSED_S / 2 + 1)
                counts.append(len(near._multiplexer._open))
                await asyncio.sleep(STREAM_UNUSED_S)
                counts.append(len(engine_of(near)._streams))
                counts.append(len(engine_of(far)._streams))
        await alice.close(0, "")
        await bob.close(0, "")
        return counts

    in_use, control_alone = 1, 1
    assert run(scenario, 0) == [5, in_use, control_alone, control_alone] * 3


def test_data_and_memory_settle_after_a_long_stop() -> None:
    async def scenario(seed: int) -> None:
        wire = Wire(seed=seed, loss=0.01)
        alice, bob = wire.network(device(1)), wire.network(device(2))
        async with running(alice, bob):
            near, far = await connect(alice, bob, device(2))
            assert isinstance(near, PeerConnection)
            assert isinstance(far, PeerConnection)
            messages = [bytes(50_000)] * 20
            sending = asyncio.create_task(send_all(near.channel(channel_name(1)), messages))
            await asyncio.sleep(10)  # virtual
            assert not sending.done()
            assert near._engine.unacknowledged < MIB
            assert await receive_count(far.channel(channel_name(1)), 20) == messages
            await sending
            await round_trips(near, far)
            await asyncio.sleep(1)  # virtual
            assert near._engine.unacknowledged == 0

    run(scenario, 0)
