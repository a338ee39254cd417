"""Peers that keep us busy: what they cost is bounded, and honest ones are served meanwhile."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from adapters.quic.connection import PeerConnection
from adapters.quic.network import QuicNetwork
from adapters.quic.source import SocketAddress
from adapters.simulation.loop import run
from domain.connectivity.close_codes import CloseCode
from domain.connectivity.framing import StreamHeader, encode_frame, encode_stream_header
from domain.connectivity.lifecycle import State, Step
from domain.identity import DeviceKey
from domain.limits import (
    IDLE_DATAGRAMS_BURST,
    IDLE_DATAGRAMS_PER_S,
    KIB,
    PEER_QUIET_S,
    PEER_SILENCE_S_MAX,
    STREAMS_BURST,
    STREAMS_PER_S,
    TURN_MESSAGES_MAX,
    UNREADABLE_DATAGRAMS_BURST,
    UNREADABLE_DATAGRAMS_PER_S,
)
from domain.ports.network import Connection, Priority
from tests.adapters.quic.engine_pair import EnginePair
from tests.adapters.quic.environment import engine_of, network
from tests.adapters.quic.stranger import Stranger
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

HEADER = encode_stream_header(StreamHeader(channel_name(1), 0))


def test_datagrams_that_bring_nothing_are_looked_at_only_so_often(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pair = EnginePair().opened()
    looked_at = 0
    look = pair.server.engine._receive

    def count(datagrams: Sequence[bytes], now: float) -> int:
        nonlocal looked_at
        taken = look(datagrams, now)
        looked_at += taken
        return taken

    monkeypatch.setattr(pair.server.engine, "_receive", count)
    began = pair.now
    for _ in range(200):
        for _ in range(25):
            pair.client.engine.send_ping(0)
            pair.flush()
        pair.run(0.002)
    assert looked_at <= IDLE_DATAGRAMS_BURST + IDLE_DATAGRAMS_PER_S * (pair.now - began) + 1
    stream = pair.client.engine.open_stream(b"and now something useful")
    pair.run(30)
    assert pair.server.received[stream] == b"and now something useful"


def test_garbage_is_refused_only_so_often_and_keeps_nothing_of_the_peer_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pair, draw = EnginePair().opened(), random.Random(0)
    server, looked_at = pair.server.engine, 0
    look = server._receive

    def count(datagrams: Sequence[bytes], now: float) -> int:
        nonlocal looked_at
        packets_read, taken = server._packets_read, look(datagrams, now)
        looked_at += server._packets_read == packets_read
        return taken

    monkeypatch.setattr(server, "_receive", count)
    began, stream, sent = pair.now, pair.client.engine.open_stream(b"begun"), bytes(300 * KIB)
    pair.client.engine.write(stream, sent, end=True)
    for _ in range(1_000):
        garbage = [b"\x45" + server.host_cid + draw.randbytes(60) for _ in range(10)]
        assert server.receive(garbage, pair.now) == 0
        pair.run(0.001)
    assert pair.server.received[stream] == b"begun" + sent
    most = UNREADABLE_DATAGRAMS_BURST + UNREADABLE_DATAGRAMS_PER_S * (pair.now - began)
    assert looked_at <= most + 1


@dataclass
class Garbage:
    """What anybody who has seen a connection id on the wire can send there, from whatever address."""

    wire: Wire
    per_s: float = 3_000.0
    source: SocketAddress | None = None
    sent: int = 0

    async def flood(self, target: QuicNetwork, connection: Connection) -> None:
        draw, target_at = random.Random(0), target.endpoint.socket.local
        name = engine_of(connection).host_cid
        while True:
            source = self.source or (f"203.0.113.{draw.randrange(256)}", draw.randrange(1, 65_536))
            self.wire.carry(
                b"\x45" + name + draw.randbytes(17 + 40 * (self.sent % 2)), source, target_at
            )
            self.sent += 1
            await asyncio.sleep(1 / self.per_s)  # virtual


@pytest.mark.parametrize("is_spoofed", [False, True])
def test_garbage_from_anywhere_holds_up_nobody(*, is_spoofed: bool) -> None:
    async def scenario(seed: int) -> tuple[float, int]:
        wire = Wire(seed=seed)
        alice, bob = wire.network(device(1)), wire.network(device(2))
        await alice.start()
        await bob.start()
        near, far = await connect(alice, bob, device(2))
        loop = asyncio.get_running_loop()
        sources = [each.endpoint.socket.local if is_spoofed else None for each in (bob, alice)]
        floods = [Garbage(wire, source=each) for each in sources]
        tasks = [
            asyncio.create_task(flood.flood(*end))
            for flood, end in zip(floods, ((alice, near), (bob, far)), strict=True)
        ]
        await asyncio.sleep(2)  # virtual, until every bucket is empty
        began = loop.time()
        async with asyncio.timeout(60):
            await round_trips(near, far, 20)
        took = loop.time() - began
        for task in tasks:
            task.cancel()
        await alice.close(0, "")
        await bob.close(0, "")
        return took, sum(flood.sent for flood in floods)

    took, sent = run(scenario, 0)
    assert sent >= 10_000
    assert took < 20 * 0.05 * 1.2


def test_garbage_is_no_sign_of_life() -> None:
    """Neither is what the peer has sent, once more."""

    async def scenario(seed: int) -> list[tuple[State, float]]:
        wire = Wire(seed=seed)
        alice, bob = wire.network(device(1)), wire.network(device(2))
        await alice.start()
        await bob.start()
        near, far = await connect(alice, bob, device(2))
        loop, ends = asyncio.get_running_loop(), (near, far)
        said: list[tuple[bytes, SocketAddress, SocketAddress]] = []
        carry = wire.carry

        def listen(datagram: bytes, source: SocketAddress, to: SocketAddress) -> None:
            said.append((datagram, source, to))
            carry(datagram, source, to)

        wire.carry = listen  # type: ignore[method-assign]
        for end in ends:
            end.lifecycle.take(Step.ACTIVATE, now=loop.time())
        await round_trips(near, far)
        await asyncio.sleep(20)  # virtual: probes too
        wire.carry = lambda *_: None  # type: ignore[method-assign] # the line is down, but not for others
        cut_at, copies = loop.time(), list(said)

        async def go_on() -> None:
            draw = random.Random(0)
            while True:
                carry(*draw.choice(copies))
                for here, end in ((alice, near), (bob, far)):
                    garbage = b"\x45" + engine_of(end).host_cid + draw.randbytes(60)
                    carry(garbage, ("203.0.113.9", 9), here.endpoint.socket.local)
                await asyncio.sleep(0.01)

        task = asyncio.create_task(go_on())
        await near.control.send(b"unheard")
        await asyncio.sleep(PEER_QUIET_S)
        seen = [(end.lifecycle.state, 0.0) for end in ends]
        async with asyncio.timeout(2 * PEER_SILENCE_S_MAX):
            for end in ends:
                await end.wait_closed()
                seen.append((end.lifecycle.state, loop.time() - cut_at))
        task.cancel()
        await alice.close(0, "")
        await bob.close(0, "")
        return seen

    quiet, quiet_too, *ended = run(scenario, 0)
    assert quiet[0] is quiet_too[0] is State.QUIET
    assert all(state is State.CLOSED and at <= PEER_SILENCE_S_MAX + 1 for state, at in ended)


@pytest.mark.parametrize("loss", [0.0, 0.02])
def test_honest_traffic_never_comes_near_that_bound(loss: float) -> None:
    pair = EnginePair(loss=loss).opened()
    for side in (pair.client, pair.server):
        side.engine.open_stream(bytes(2_000_000))
    for _ in range(100):
        pair.run(0.1)
        for side in (pair.client, pair.server):
            assert side.engine._idle_datagrams.tokens > 0.5 * IDLE_DATAGRAMS_BURST
            assert side.engine._unreadable_datagrams.tokens > 0.5 * UNREADABLE_DATAGRAMS_BURST
    assert all(side.engine.unacknowledged == 0 for side in (pair.client, pair.server))


def test_thousands_of_reopenings_under_loss_keep_order_and_their_rate() -> None:
    names, count = [channel_name(number) for number in range(200)], 4_000

    async def scenario(seed: int) -> tuple[int, float]:
        wire = Wire(seed=seed, delay_s=0.02, jitter_s=0.004, loss=0.05)
        alice, bob = wire.network(device(1)), wire.network(device(2))
        await alice.start()
        await bob.start()
        near, far = await connect(alice, bob, device(2))
        loop, draw = asyncio.get_running_loop(), random.Random(seed)
        plan = [(draw.choice(names), b"%d" % number) for number in range(count)]
        began = loop.time()

        async def write() -> None:
            for number, (name, message) in enumerate(plan):
                await near.channel(name).send(message)
                if not number % 8:
                    await asyncio.sleep(0.01)

        async def read(name: bytes) -> None:
            expected = [message for channel, message in plan if channel == name]
            assert await receive_count(far.channel(name), len(expected)) == expected

        async with asyncio.timeout(120), asyncio.TaskGroup() as tasks:  # virtual
            tasks.create_task(write())
            for name in names:
                tasks.create_task(read(name))
        assert isinstance(near, PeerConnection)
        opened = sum(outbox.epoch for outbox in near._multiplexer._outboxes.values())
        took = loop.time() - began
        await alice.close(0, "")
        await bob.close(0, "")
        return opened, took

    opened, took = run(scenario, 0)
    assert opened >= 2_000
    assert opened <= STREAMS_BURST + STREAMS_PER_S * took + 256


async def test_a_reader_of_much_lets_others_have_their_turn() -> None:
    alice, bob = network(device(1)), network(device(2))
    async with running(alice, bob):
        near, far = await connect(alice, bob, device(2))
        messages = [b"x"] * 1_000
        await send_all(near.channel(channel_name(1)), messages)
        await round_trips(near, far)
        turns = 0

        async def others() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        busy = asyncio.create_task(others())
        assert await receive_count(far.channel(channel_name(1)), len(messages)) == messages
        busy.cancel()
        assert turns >= len(messages) // TURN_MESSAGES_MAX - 1


class Recorder(Stranger):
    """Remembers what it has said."""

    def __init__(self, key: DeviceKey, *, network_id: str = "contract") -> None:
        super().__init__(key, network_id=network_id)
        self.said: list[bytes] = []

    def send(self, stream_id: int, data: bytes, *, end: bool = False) -> None:
        self.said.append(data)
        super().send(stream_id, data, end=end)


async def harmed(bob_end: Connection, stranger: Stranger) -> int:
    """How a peer's connection ended that did not keep to the rules."""
    await stranger.ending()
    code, _, by_peer = await bob_end.wait_closed()
    assert not by_peer
    return code


@pytest.mark.parametrize("frame", [encode_frame(b"whole"), encode_frame(bytes(100))[:50]])
async def test_a_stream_that_is_reset_in_the_middle_ends_the_connection_of_its_peer(
    frame: bytes,
) -> None:
    alice, bob = network(device(1)), network(device(2))
    async with running(alice, bob):
        honest = await connect(alice, bob, device(2))
        stranger = await Stranger.dial(bob.addresses[0], device(3))
        await stranger.say_hello(device(2).peer)
        bob_end = await bob.accept()
        stranger.send(2, HEADER + frame)
        stranger.quic.reset_stream(2, 0)
        stranger.flush()
        assert await harmed(bob_end, stranger) == CloseCode.PROTOCOL_ERROR
        stranger.close()
        await round_trips(*honest)


async def test_a_byte_at_a_time_holds_up_nobody() -> None:
    alice, bob = network(device(1)), network(device(2))
    async with running(alice, bob):
        honest = await connect(alice, bob, device(2))
        stranger = await Stranger.dial(bob.addresses[0], device(3))
        await stranger.say_hello(device(2).peer)
        bob_end = await bob.accept()
        for byte in HEADER + encode_frame(b"at last"):
            stranger.send(2, bytes([byte]))
            await round_trips(*honest, 1)
        assert await bob_end.channel(channel_name(1)).receive() == b"at last"
        stranger.close()


async def test_a_hello_that_drips_does_not_get_longer() -> None:
    alice, bob = network(device(1)), network(device(2), hello_s_max=0.2)
    async with running(alice, bob):
        stranger = await Stranger.dial(bob.addresses[0], device(3))
        await stranger.until(lambda: stranger.control.buffered)
        ending = asyncio.create_task(stranger.ending())
        stranger.send(1, b"\x40")  # a length that never gets its second byte
        assert (await ending).error_code == CloseCode.HANDSHAKE_TIMED_OUT
        assert bob.half_open_count == 0
        stranger.close()


async def test_a_hello_that_was_heard_once_does_not_count_again() -> None:
    bob = network(device(2))
    async with running(bob):
        first = await Recorder.dial(bob.addresses[0], device(3))
        assert isinstance(first, Recorder)
        await first.say_hello(device(2).peer)
        await bob.accept()
        again = await Stranger.dial(bob.addresses[0], device(4))
        await again.until(lambda: again.control.buffered)
        again.send(1, first.said[0])
        assert (await again.ending()).error_code == CloseCode.HANDSHAKE_FAILED
        first.close()
        again.close()


async def test_a_stream_past_the_limit_ends_the_connection_of_its_peer() -> None:
    alice, bob = network(device(1)), network(device(2))
    async with running(alice, bob):
        honest = await connect(alice, bob, device(2))
        stranger = await Stranger.dial(bob.addresses[0], device(3))
        await stranger.say_hello(device(2).peer)
        bob_end = await bob.accept()
        stranger.quic._remote_max_streams_uni = 10_000  # it does not care
        stranger.send(4 * 5_000 + 2, HEADER)
        stranger.quic.reset_stream(4 * 5_000 + 2, 0)
        stranger.flush()
        assert await harmed(bob_end, stranger) == CloseCode.PROTOCOL_ERROR
        stranger.close()
        await round_trips(*honest)


async def test_bulk_of_one_peer_does_not_keep_another_waiting() -> None:
    alice, bob, carol = network(device(1)), network(device(2)), network(device(3))
    async with running(alice, bob, carol):
        near, far = await connect(alice, bob, device(2))
        honest = await connect(carol, bob, device(2))
        bulk = [bytes(64 * KIB)] * 64
        sending = asyncio.create_task(send_all(near.channel(channel_name(1), Priority.LOW), bulk))
        reading = asyncio.create_task(receive_count(far.channel(channel_name(1)), len(bulk)))
        await round_trips(*honest, 3)
        assert not reading.done()
        await sending
        await reading
