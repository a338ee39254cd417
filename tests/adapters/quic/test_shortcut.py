"""The shortcut for bulk data has the same effect as aioquic, to the byte, and takes nothing that is not for it."""

import os
import random
from dataclasses import dataclass, field

import pytest
from aioquic import tls
from aioquic.quic.connection import QuicConnection
from aioquic.quic.crypto import CryptoPair
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.quic import engine as engine_module
from adapters.quic.boundary import StreamData
from adapters.quic.engine import Engine
from adapters.quic.shortcut import is_readable, read_row
from domain.limits import KIB
from domain.ports.network import Priority
from tests.adapters.quic.engine_pair import EnginePair
from tests.strategies import seeds

CONTENT = random.Random(0).randbytes(8 * KIB)

Packet = tuple[int, int, bytes]


@dataclass
class Transcript:
    """What two engines sent each other, in clear, and what arrived."""

    packets: list[Packet] = field(default_factory=list)
    received: list[dict[int, bytes]] = field(default_factory=list)


def talk(seed: int, *, loss: float, has_shortcut: bool) -> Transcript:
    """Let two engines send each other much and little on one stream and on several."""
    transcript, chance = Transcript(), random.Random(seed)

    def encrypt(self: CryptoPair, header: bytes, payload: bytes, number: int) -> bytes:
        transcript.packets.append((header[0], number, payload))
        return encrypt_packet(self, header, payload, number)

    def read(*arguments: object) -> int:
        return read_row(*arguments) if has_shortcut else 0  # type: ignore[arg-type]

    encrypt_packet = CryptoPair.encrypt_packet
    pair = EnginePair(seed=seed, loss=0.0).opened()
    pair.loss = loss
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CryptoPair, "encrypt_packet", encrypt)
        patch.setattr(engine_module, "read_row", read)
        if not has_shortcut:
            patch.setattr(Engine, "_write_application", QuicConnection._write_application)
        streams = [
            (side.engine, side.engine.open_stream(b"begun", priority))
            for side in (pair.client, pair.server)
            for priority in (Priority.NORMAL, Priority.HIGH)
        ]
        for _ in range(chance.randint(2, 5)):
            sender, stream_id = chance.choice(streams)
            sender.write(stream_id, chance.randbytes(chance.choice((10, 60 * KIB, 200 * KIB))))
            if chance.random() < 0.1:
                sender.request_key_update()
            pair.run(chance.choice((0.0, 0.01, 0.2)))
        for sender, stream_id in streams:
            sender.write(stream_id, b"ended", end=True)
        pair.run(20.0)
    transcript.received = [
        {stream_id: bytes(data) for stream_id, data in side.received.items()}
        for side in (pair.client, pair.server)
    ]
    assert pair.client.finished
    assert pair.server.finished
    return transcript


@settings(max_examples=int(os.environ.get("CULM_TEST_TALKS", "12")))
@given(seed=seeds, loss=st.sampled_from((0.0, 0.0, 0.02, 0.2)))
def test_both_ways_send_the_same_packets(seed: int, loss: float) -> None:
    with_it, without = (talk(seed, loss=loss, has_shortcut=each) for each in (True, False))
    assert with_it.packets == without.packets
    assert with_it.received == without.received


def test_most_of_what_is_bulk_takes_the_shortcut() -> None:
    pair = EnginePair(delay_s=0.0).opened()
    stream = pair.client.engine.open_stream(b"begun")
    pair.run(0.1)
    taken, sent = 0, pair.client.datagrams_sent

    def read(*arguments: object) -> int:
        nonlocal taken
        count = read_row(*arguments)  # type: ignore[arg-type]
        taken += count
        return count

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine_module, "read_row", read)
        pair.client.engine.write(stream, bytes(500 * KIB))
        pair.run(5.0)
    assert taken > 0.8 * (pair.client.datagrams_sent - sent)


def bulk_datagrams(pair: EnginePair) -> list[bytes]:
    stream = pair.client.engine.open_stream(b"begun")
    pair.run(0.2)
    pair.client.engine.write(stream, CONTENT)
    datagrams: list[bytes] = []
    while len(datagrams) < 6:  # the pacer lets them out bit by bit
        datagrams += pair.client.engine.datagrams(pair.now)
        pair.now += 0.001
    return datagrams


def look(engine: Engine, datagrams: list[bytes], now: float) -> int:
    return read_row(engine, engine._stream_table.look_up, datagrams, now)


@given(st.data())
def test_what_was_tampered_with_has_no_effect(data: st.DataObject) -> None:
    pair = EnginePair().opened()
    bulk = bulk_datagrams(pair)
    datagram = bytearray(data.draw(st.sampled_from(bulk[:4])))
    at = data.draw(st.integers(0, len(datagram) - 1))
    datagram[at] ^= data.draw(st.integers(1, 255))
    server = pair.server.engine
    before = server._progress()
    assert look(server, [bytes(datagram)], pair.now) == 0
    assert look(server, [bytes(datagram[:at])], pair.now) == 0
    assert server._progress() == before
    assert look(server, bulk[:4], pair.now) == 4


@given(data=st.data(), size=st.sampled_from((1, 40, 3 * KIB)))
def test_a_glance_tells_what_is_readable_and_new_and_changes_nothing(
    data: st.DataObject, size: int
) -> None:
    pair = EnginePair().opened()
    pair.client.engine.open_stream(bytes(size))
    sent, server = pair.client.engine.datagrams(pair.now), pair.server.engine
    assert all(is_readable(server, each) for each in sent)
    damaged = bytearray(data.draw(st.sampled_from(sent)))
    at = data.draw(st.integers(0, len(damaged) - 1))
    damaged[at] ^= data.draw(st.integers(1, 255))
    assert not is_readable(server, bytes(damaged))
    assert not is_readable(server, bytes(damaged[:at]))
    assert not is_readable(server, data.draw(st.binary(max_size=100)))
    assert server.receive([bytes(damaged)], pair.now) == 0
    assert server.receive(sent, pair.now) == sum(map(len, sent))
    assert not any(is_readable(server, each) for each in sent)
    assert server.receive(sent, pair.now) == 0, "what was sent once more is no sign of life"


def test_what_came_before_or_too_early_is_for_aioquic() -> None:
    pair = EnginePair().opened()
    bulk = bulk_datagrams(pair)
    server = pair.server.engine
    assert look(server, [bulk[1]], pair.now) == 0, "there is a gap before it"
    assert look(server, [bulk[0], bulk[0]], pair.now) == 1
    assert look(server, [bulk[0]], pair.now) == 0
    assert look(server, [bulk[1], bulk[3], bulk[2]], pair.now) == 1


def test_credit_is_kept_to() -> None:
    pair = EnginePair().opened()
    bulk = bulk_datagrams(pair)
    server = pair.server.engine
    server._local_max_data.value = server._local_max_data.used + 2_500
    assert look(server, bulk, pair.now) == 2
    server.receive(bulk[2:], pair.now)
    ended = server.termination()
    assert ended is not None
    assert "Over connection data limit" in ended.reason


def test_bytes_arrive_as_one_event() -> None:
    pair = EnginePair().opened()
    bulk = bulk_datagrams(pair)
    server = pair.server.engine
    assert look(server, bulk[:5], pair.now) == 5
    event = server.take_event()
    assert isinstance(event, StreamData)
    assert len(event.data) > 0.95 * sum(map(len, bulk[:5]))
    assert CONTENT.startswith(event.data)
    assert server._spaces[tls.Epoch.ONE_RTT].ack_at is not None
