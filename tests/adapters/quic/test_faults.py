"""What QUIC does with peers and networks that do not behave."""

import asyncio
import contextlib
import random
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest
from aioquic.buffer import Buffer  # type: ignore[attr-defined]
from aioquic.quic.packet import QuicPacketType, QuicProtocolVersion, pull_quic_header

from adapters.quic.connection import PeerConnection
from adapters.quic.network import QuicNetwork
from adapters.quic.path import Path, PathOwner
from adapters.quic.source import Source
from domain.connectivity.close_codes import CloseCode
from domain.connectivity.framing import (
    StreamHeader,
    encode_frame,
    encode_stream_header,
    encode_varint,
)
from domain.connectivity.probe import ProbeKey
from domain.errors import (
    DialError,
    HandshakeError,
    NetworkError,
    VersionNotSupportedError,
    WrongNetworkError,
)
from domain.limits import (
    ACCEPT_QUEUE_MAX,
    CHANNELS_OPEN_MAX,
    CHANNELS_UNASKED_MAX,
    CONNECTION_UNACKNOWLEDGED_BYTES_MAX,
    KIB,
    MESSAGE_BYTES_MAX,
    MIB,
    STREAMS_UNREAD_MAX,
)
from domain.ports.network import Connection
from tests.adapters.quic.environment import engine_of, network, paths
from tests.adapters.quic.stranger import Stranger
from tests.contracts.connected_peers import (
    SHUTTING_DOWN,
    channel_name,
    connect,
    device,
    receive_count,
    round_trips,
    running,
)


@contextlib.asynccontextmanager
async def raw_socket(remote: str) -> AsyncIterator[socket.socket]:
    host, _, port = remote.rpartition(":")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as raw:
        raw.setblocking(False)
        raw.connect((host, int(port)))
        yield raw


@contextlib.asynccontextmanager
async def stranger_at(bob: QuicNetwork) -> AsyncIterator[Stranger]:
    stranger = await Stranger.dial(bob.addresses[0], device(9))
    try:
        yield stranger
    finally:
        stranger.close()


# --- Before the hello ---


async def test_garbage_harms_nobody() -> None:
    draw = random.Random(1)
    alice, bob = network(device(1)), network(device(2))
    async with running(alice, bob), raw_socket(bob.addresses[0]) as raw:
        dialled, accepted = await connect(alice, bob, device(2))
        for first in range(256):
            for size in (1, 9, 30, 1_200, 1_400):
                with contextlib.suppress(ConnectionRefusedError):
                    raw.send(bytes([first]) + draw.randbytes(size - 1))
            await round_trips(dialled, accepted, 1)
        for _ in range(50):  # an Initial of the right form, with nonsense inside
            header = (
                b"\xc3\x00\x00\x00\x01\x08"
                + draw.randbytes(8)
                + b"\x08"
                + draw.randbytes(8)
                + b"\x00\x44\x9e"
            )
            raw.send(header + draw.randbytes(1_200 - len(header)))
        await round_trips(dialled, accepted, 10)
        assert bob.half_open_count == 0


async def test_a_copied_datagram_with_flipped_bits_harms_nobody() -> None:
    draw = random.Random(2)
    alice, bob = network(device(1)), network(device(2))
    async with running(alice, bob), raw_socket(bob.addresses[0]) as raw:
        dialled, accepted = await connect(alice, bob, device(2))
        assert isinstance(accepted, PeerConnection)
        route = accepted._engine.host_cid
        for _ in range(500):
            raw.send(
                bytes([0x40 | draw.randrange(64)]) + route + draw.randbytes(draw.randint(0, 1_200))
            )
        await round_trips(dialled, accepted, 10)


async def test_another_network_is_named_as_the_cause() -> None:
    alice, bob = network(device(1)), network(device(2), network_id="another")
    async with running(alice, bob):
        with pytest.raises(WrongNetworkError, match="another network") as caught:
            await alice.dial(device(2).peer, bob.addresses)
        assert caught.value.code == CloseCode.WRONG_NETWORK


@pytest.mark.parametrize(("ours", "theirs"), [((1,), (2, 3)), ((2,), (1,))])
async def test_no_common_version_is_named_as_the_cause(
    ours: tuple[int, ...], theirs: tuple[int, ...]
) -> None:
    alice, bob = network(device(1), versions=ours), network(device(2), versions=theirs)
    async with running(alice, bob):
        with pytest.raises(VersionNotSupportedError, match="version") as caught:
            await alice.dial(device(2).peer, bob.addresses)
        assert caught.value.code == CloseCode.VERSION_NOT_SUPPORTED


async def test_a_wrong_peer_is_told_nothing() -> None:
    alice, bob = network(device(1)), network(device(2))
    async with running(alice, bob):
        with pytest.raises(
            HandshakeError, match="another peer"
        ) as caught:  # ours, not an answer to our hello
            await alice.dial(device(3).peer, bob.addresses)
        assert caught.value.code == CloseCode.HANDSHAKE_FAILED


async def test_the_right_peer_is_found_behind_a_wrong_one() -> None:
    alice, bob, carol = network(device(1)), network(device(2)), network(device(3))
    async with running(alice, bob, carol):
        dialled = await alice.dial(device(3).peer, [*bob.addresses, *carol.addresses])
        assert dialled.peer == device(3).peer


async def test_a_peer_that_says_no_hello_is_let_go() -> None:
    bob = network(device(2), hello_s_max=0.1)
    async with running(bob), stranger_at(bob) as stranger:
        ending = await stranger.ending()
        assert ending.error_code == CloseCode.HANDSHAKE_TIMED_OUT
        assert bob.half_open_count == 0


async def test_a_listener_that_says_nothing_is_given_up() -> None:
    alice = network(device(1))
    async with running(alice):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
            silent.bind(("127.0.0.1", 0))
            with pytest.raises(DialError, match="no answer"):
                await alice.dial(device(2).peer, [f"127.0.0.1:{silent.getsockname()[1]}"])


@pytest.mark.parametrize(
    "address", ["nonsense", "127.0.0.1", "[::1:1", "127.0.0.1:99999", "no such host.invalid:1"]
)
async def test_an_address_that_cannot_be_dialled_is_a_dial_error(address: str) -> None:
    alice = network(device(1))
    async with running(alice):
        with pytest.raises(DialError):
            await alice.dial(device(2).peer, [address])


async def test_a_hello_of_another_shape_is_refused() -> None:
    bob = network(device(2))
    async with running(bob), stranger_at(bob) as stranger:
        await stranger.until(lambda: stranger.control.buffered)
        stranger.send(1, encode_frame(b"\x83\x02\x01\x80"))
        assert (await stranger.ending()).error_code == CloseCode.PROTOCOL_ERROR


async def test_a_hello_that_is_too_long_is_refused_unread() -> None:
    bob = network(device(2))
    async with running(bob), stranger_at(bob) as stranger:
        await stranger.until(lambda: stranger.control.buffered)
        stranger.send(1, encode_varint(MESSAGE_BYTES_MAX))
        assert (await stranger.ending()).error_code == CloseCode.PROTOCOL_ERROR


async def test_under_load_a_dialler_has_to_prove_its_address() -> None:
    alice, bob = network(device(1)), network(device(2), half_open_retry=0)
    async with running(alice, bob):
        dialled, accepted = await connect(alice, bob, device(2))
        assert isinstance(dialled, PeerConnection)
        assert engine_of(dialled)._retry_count == 1
        await round_trips(dialled, accepted)


async def test_a_foreign_version_of_quic_is_answered_if_the_question_was_as_long() -> None:
    bob = network(device(2))
    loop = asyncio.get_running_loop()
    async with running(bob), raw_socket(bob.addresses[0]) as raw:
        question = b"\xc0\x1a\x2a\x3a\x4a\x08" + b"d" * 8 + b"\x08" + b"s" * 8
        raw.send(question + bytes(1_199 - len(question)))  # too short: no answer
        raw.send(
            b"\xc0\x00\x00\x00\x00" + question[5:] + bytes(1_200)
        )  # an answer itself: no answer
        raw.send(question + bytes(1_200 - len(question)))
        answer = pull_quic_header(Buffer(data=await loop.sock_recv(raw, 2_000)), host_cid_length=8)
        assert answer.packet_type == QuicPacketType.VERSION_NEGOTIATION
        assert answer.supported_versions == [QuicProtocolVersion.VERSION_1]
        assert (answer.destination_cid, answer.source_cid) == (b"s" * 8, b"d" * 8)
        with pytest.raises(BlockingIOError):
            raw.recv(2_000)


async def test_what_is_not_quic_goes_elsewhere() -> None:
    received: asyncio.Queue[tuple[bytes, Any]] = asyncio.Queue()
    bob = network(device(2), receive_other=lambda data, source: received.put_nowait((data, source)))
    async with running(bob), raw_socket(bob.addresses[0]) as raw:
        raw.send(b"\x00\x01 a STUN binding request")
        assert await received.get() == (b"\x00\x01 a STUN binding request", raw.getsockname())


async def test_the_end_of_the_hello_may_come_another_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """The listener is done before the dialler, and may have found a better way by then."""
    take = PeerConnection.take

    def take_moved(self: PeerConnection, datagrams: Sequence[bytes], source: Source) -> bool:
        is_late = self.is_dialler and self.has_heard and self.agreement is None
        return take(self, datagrams, ("192.0.2.2", 1) if is_late else source)

    monkeypatch.setattr(PeerConnection, "take", take_moved)
    alice, bob = network(device(1)), network(device(2))
    async with running(alice), running(bob), asyncio.timeout(5):
        connection = await alice.dial(device(2).peer, bob.addresses)
        assert connection.peer == device(2).peer


async def test_before_the_hello_only_the_first_source_is_heard() -> None:
    path, sent = Path(("192.0.2.1", 1)), list[Source]()
    assert path.admits(("192.0.2.1", 1))
    assert not path.admits(("192.0.2.2", 1))
    ways = paths(lambda _, to: sent.append(to))
    key = ProbeKey(bytes(32), context=b"", own=device(1).peer, peer=device(2).peer)
    owner = PathOwner(
        peer=device(2).peer,
        heard=lambda _: None,
        moved=lambda _: None,
        lost=lambda: None,
        is_waiting=lambda: False,
        is_dialler=False,
    )
    ways.unlock(path, key, owner)
    assert path.admits(("192.0.2.2", 1))
    assert sent == [("192.0.2.1", 1)]  # how long that way takes
    path.note_received(("192.0.2.2", 1), 1_200)
    assert sent[1:] == [("192.0.2.2", 1)]
    assert path.remote == ("192.0.2.1", 1)
    ways.close()


async def test_connections_that_nobody_takes_are_bounded() -> None:
    alice, bob = network(device(1), dial_s_max=3.0), network(device(2))  # nobody here is silent
    async with running(alice, bob):
        for _ in range(ACCEPT_QUEUE_MAX):
            await alice.dial(device(2).peer, bob.addresses)
        with contextlib.suppress(HandshakeError):
            one_too_many = await alice.dial(device(2).peer, bob.addresses)
            assert (await one_too_many.wait_closed())[0] == CloseCode.RESOURCES
        await bob.accept()
        await alice.dial(device(2).peer, bob.addresses)


# --- After the hello ---

NAME = channel_name(1)
HEADER = encode_stream_header(StreamHeader(NAME, 0))


@pytest.mark.parametrize(
    "misbehave",
    [
        lambda peer: peer.send(1, encode_varint(MESSAGE_BYTES_MAX + 1)),
        lambda peer: peer.send(1, encode_varint(0)),
        lambda peer: peer.send(1, b"\x40\x01x"),
        lambda peer: peer.send(1, b"", end=True),
        lambda peer: peer.send(2, HEADER + encode_varint(2**40)),
        lambda peer: peer.send(2, b"short", end=True),
        lambda peer: peer.send(2, HEADER + b"\x05four", end=True),
        lambda peer: (peer.send(2, HEADER), peer.send(6, HEADER)),
        lambda peer: (peer.send(2, HEADER, end=True), peer.send(6, HEADER)),
        lambda peer: peer.send(2, encode_stream_header(StreamHeader(NAME, STREAMS_UNREAD_MAX + 1))),
        lambda peer: (peer.send(2, HEADER), peer.quic.reset_stream(2, 0), peer.flush()),
    ],
    ids=[
        "oversized", "empty", "not shortest", "control ended", "oversized on channel", "no header", "cut off",
        "same epoch twice", "epoch again", "epoch far ahead", "reset",
    ],
)  # fmt: skip
async def test_a_peer_that_breaks_the_protocol_loses_its_connection_only(
    misbehave: Callable[[Stranger], object],
) -> None:
    alice, bob = network(device(1)), network(device(2))
    async with running(alice, bob):
        dialled, accepted = await connect(alice, bob, device(2))
        async with stranger_at(bob) as stranger:
            await stranger.say_hello(device(2).peer)
            mischief = await bob.accept()
            misbehave(stranger)
            assert (await stranger.ending()).error_code == CloseCode.PROTOCOL_ERROR
            code, _, by_peer = await mischief.wait_closed()
            assert (code, by_peer) == (CloseCode.PROTOCOL_ERROR, False)
        await round_trips(dialled, accepted)


async def test_three_hundred_channels_share_sixty_four_streams() -> None:
    draw = random.Random(4)
    alice, bob = network(device(1)), network(device(2))
    async with running(alice, bob):
        near, far = await connect(alice, bob, device(2))
        assert isinstance(near, PeerConnection)
        names = [channel_name(number) for number in range(300)]
        plan = [(draw.choice(names), draw.randbytes(draw.randint(1, 400))) for _ in range(3_000)]
        most = 0

        async def write(connection: Connection, messages: list[tuple[bytes, bytes]]) -> None:
            nonlocal most
            for name, message in messages:
                await connection.channel(name).send(message)
                most = max(most, len(near._multiplexer._open))

        async def read(
            connection: Connection, name: bytes, messages: list[tuple[bytes, bytes]]
        ) -> None:
            expected = [message for channel, message in messages if channel == name]
            assert await receive_count(connection.channel(name), len(expected)) == expected

        back = plan[::-1]
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(write(near, plan))
            tasks.create_task(write(far, back))
            for name in names:
                tasks.create_task(read(far, name, plan))
                tasks.create_task(read(near, name, back))
        assert most == CHANNELS_OPEN_MAX
        await round_trips(near, far)
        assert len(engine_of(near)._stream_table) <= 2 * STREAMS_UNREAD_MAX + 1


async def test_channels_that_nobody_asks_for_wait_in_the_peer() -> None:
    alice, bob = network(device(1)), network(device(2))
    async with running(alice, bob):
        near, far = await connect(alice, bob, device(2))
        assert isinstance(near, PeerConnection)
        assert isinstance(far, PeerConnection)
        numbers = range(CHANNELS_UNASKED_MAX + 2 * STREAMS_UNREAD_MAX)
        for number in numbers:
            assert near.channel(channel_name(number)).offer(b"message %d" % number)
            if number % 16 == 0:
                await round_trips(near, far, 1)
        await round_trips(near, far, 10)
        assert near._engine.streams_openable == 0
        assert near._multiplexer._parked
        assert len(far._multiplexer._inboxes) <= CHANNELS_UNASKED_MAX + STREAMS_UNREAD_MAX
        for number in numbers:
            assert await far.channel(channel_name(number)).receive() == b"message %d" % number
        assert not near._multiplexer._parked


async def test_a_stopped_reader_costs_its_writer_bounded_memory() -> None:
    alice, bob = network(device(1)), network(device(2))
    async with running(alice, bob):
        near, far = await connect(alice, bob, device(2))
        assert isinstance(near, PeerConnection)
        offered = 0
        for number in range(40):
            channel = near.channel(channel_name(number))
            while channel.offer(bytes(64 * KIB)):
                offered += 64 * KIB
            await round_trips(near, far, 2)
        held = near._engine.unacknowledged + sum(
            box.parked_bytes for box in near._multiplexer._outboxes.values()
        )
        assert held <= CONNECTION_UNACKNOWLEDGED_BYTES_MAX + 64 * KIB
        assert offered < 16 * MIB


async def test_a_peer_that_died_without_a_word_is_reached_again_on_the_same_port() -> None:
    alice, bob = network(device(1)), network(device(2))
    async with running(alice):
        await bob.start()
        address = bob.addresses[0]
        await connect(alice, bob, device(2))
        assert bob._endpoint is not None
        bob._endpoint.close()  # as if the process had been killed
        again = network(device(2), listen=address)
        async with running(again):
            assert again.addresses == (address,)
            near, far = await connect(alice, again, device(2))
            await round_trips(near, far)


async def test_a_network_is_started_once() -> None:
    bob = network(device(2))
    with pytest.raises(NetworkError):
        await bob.dial(device(1).peer, ["127.0.0.1:1"])
    async with running(bob):
        with pytest.raises(NetworkError):
            await bob.start()
    with pytest.raises(NetworkError):
        await bob.start()
    await network(device(1)).close(SHUTTING_DOWN, "never started")
