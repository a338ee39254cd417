"""What the engine changes in aioquic still works, and every private touch is still where it was."""

import inspect
import random

import pytest
from aioquic import tls
from aioquic.quic import connection
from aioquic.quic.connection import QuicConnection
from aioquic.quic.packet_builder import QuicPacketBuilder
from aioquic.quic.recovery import QuicPacketSpace
from aioquic.quic.stream import QuicStream, QuicStreamSender
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.quic.boundary import EngineEvent, HandshakeDone, ProtocolAgreed, Termination
from adapters.quic.congestion import Pacer
from adapters.quic.engine import ACK_DELAY_S, Engine
from domain.limits import (
    CONNECTION_RECEIVE_BYTES_MAX,
    IDLE_S_MAX,
    KIB,
    MIB,
    RECEIVE_WINDOW_BYTES_MAX,
    RECEIVE_WINDOW_BYTES_MIN,
    STREAMS_UNREAD_MAX,
)
from tests.adapters.quic.engine_pair import CLIENT_KEY, SERVER_KEY, EnginePair


def buffer_bytes(engine: Engine) -> int:
    return sum(len(each.receiver._buffer) for each in dict.values(engine._stream_table))


# --- Where aioquic keeps things ---


@pytest.mark.parametrize(
    "name",
    [
        "_ack_delay", "_close_event", "_close_pending", "_consume_peer_cid", "_crypto_buffers", "_cryptos",
        "_handshake_confirmed", "_host_cids", "_is_client", "_local_max_data", "_local_max_streams_bidi",
        "_local_max_streams_uni", "_local_next_stream_id_uni", "_loss", "_network_paths", "_remote_max_streams_uni",
        "_spaces", "_state", "_streams", "_streams_queue",
    ],
)  # fmt: skip
def test_aioquic_has_what_the_engine_uses(name: str) -> None:
    assert hasattr(EnginePair().client.engine, name)


@pytest.mark.parametrize(
    "name",
    [
        "_initialize",
        "_payload_received",
        "_on_max_stream_data_delivery",
        "_write_ack_frame",
        "_write_stream_limits",
        "_write_connection_limits",
    ],
)
def test_what_the_engine_overrides_has_the_same_arguments(name: str) -> None:
    theirs, ours = (
        inspect.signature(getattr(each, name)).parameters for each in (QuicConnection, Engine)
    )
    assert list(theirs) == list(ours)


def test_the_pacer_is_ours() -> None:
    pacer = EnginePair().client.engine._loss._pacer
    assert isinstance(pacer, Pacer)
    assert "self._loss._pacer.next_send_time(now=now)" in inspect.getsource(connection)


def test_the_table_of_streams_is_walked_only_where_limits_are_written() -> None:
    source = inspect.getsource(connection)
    assert source.count("self._streams.values()") == 1
    assert (
        "for stream in self._streams.values():\n                self._write_stream_limits("
        in source
    )
    for other in (
        "self._streams.items()",
        "in self._streams:",
        "self._streams.keys()",
        "list(self._streams)",
    ):
        assert other not in source


def test_the_queue_of_streams_is_used_as_the_engine_expects() -> None:
    source = inspect.getsource(connection)
    uses = [line.strip() for line in source.splitlines() if "_streams_queue" in line]
    assert uses == [
        "self._streams_queue: list[QuicStream] = []",
        "self._streams_queue.append(stream)",
        "self._streams_queue.append(stream)",
        "for stream in self._streams_queue:",
        "self._streams_queue = [",
        "for stream in self._streams_queue",
        "self._streams_queue.extend(sent)",
    ]


def test_delivery_handlers_are_looked_up_on_the_stream() -> None:
    source = inspect.getsource(connection)
    for handler in (
        "stream.sender.on_data_delivery",
        "stream.sender.on_reset_delivery",
        "stream.receiver.on_stop_sending_delivery",
    ):
        assert handler in source


def test_a_stream_counts_what_it_holds_as_the_engine_expects() -> None:
    sender = QuicStreamSender(stream_id=0, writable=True)
    sender.write(b"12345")
    assert (sender._buffer_start, sender._buffer_stop, sender.highest_offset) == (0, 5, 0)
    sender.get_frame(3)
    assert sender.highest_offset == 3


# --- Handshake ---


def test_both_sides_read_the_key_that_tls_has_proven() -> None:
    pair = EnginePair()
    pair.run(1.0)
    assert pair.client.engine.peer_key() == SERVER_KEY.peer
    assert pair.server.engine.peer_key() is None
    assert CLIENT_KEY.peer != SERVER_KEY.peer


def test_only_one_key_share_is_offered() -> None:
    pair = EnginePair()
    assert pair.client.engine.tls._supported_groups == [tls.Group.X25519]
    pair.run(1.0)
    assert pair.server.engine.tls._supported_groups == [tls.Group.X25519]
    assert pair.client.datagrams_sent < 6
    assert any(isinstance(event, HandshakeDone) for event in pair.server.events)


def test_the_server_speaks_in_its_first_flight() -> None:
    pair = EnginePair()

    def speak(event: EngineEvent) -> None:
        if isinstance(event, ProtocolAgreed):
            pair.server.engine.write(1, b"first")

    pair.server.on_event = speak
    pair.run(0.025)  # one round trip of 20 to 24 ms
    assert pair.client.received == {1: bytearray(b"first")}


def test_a_peer_may_open_nothing_before_the_hello() -> None:
    pair = EnginePair()
    pair.run(1.0)
    assert pair.client.engine.streams_openable == 0
    assert pair.server.engine.streams_openable == 0


# --- Acknowledgements ---


def test_a_lone_message_costs_little() -> None:
    pair = EnginePair().opened()
    before = (pair.client.bytes_sent, pair.server.bytes_sent)
    pair.client.engine.write(1, bytes(100))
    pair.run(5.0)
    assert pair.client.bytes_sent - before[0] <= 100 + 40
    assert 0 < pair.server.bytes_sent - before[1] <= 40
    assert pair.client.engine.unacknowledged == 0


def test_an_acknowledgement_travels_with_an_answer() -> None:
    pair = EnginePair().opened()
    pair.client.engine.write(1, b"question")
    pair.run(0.013)
    before = pair.server.datagrams_sent
    pair.server.engine.write(1, b"answer")
    pair.run(ACK_DELAY_S * 3)
    assert pair.server.datagrams_sent == before + 1
    assert pair.client.engine.unacknowledged == 0


def test_an_acknowledgement_does_not_wait_for_ever() -> None:
    pair = EnginePair().opened()
    before = pair.server.datagrams_sent
    pair.client.engine.write(1, b"no answer")
    pair.run(0.013 + ACK_DELAY_S)
    assert pair.server.datagrams_sent == before + 1


def test_the_second_packet_is_acknowledged_at_once() -> None:
    pair = EnginePair().opened()
    before = pair.server.datagrams_sent
    pair.client.engine.write(1, bytes(2_000))
    pair.run(0.013)
    assert pair.server.datagrams_sent > before


def test_nothing_is_said_when_there_is_nothing_to_say() -> None:
    pair = EnginePair().opened()
    pair.run(1.0)
    before = (pair.client.datagrams_sent, pair.server.datagrams_sent)
    pair.run(10.0)
    assert (pair.client.datagrams_sent, pair.server.datagrams_sent) == before


# --- Receive credit ---


def test_a_reader_that_stops_is_sent_no_more_than_the_window() -> None:
    pair = EnginePair().opened()
    pair.server.consumes = False
    stream_id = pair.client.engine.open_stream(bytes(8 * MIB))
    pair.run(20.0)
    assert len(pair.server.received[stream_id]) <= RECEIVE_WINDOW_BYTES_MIN
    pair.server.consumes = True
    pair.run(20.0)
    assert len(pair.server.received[stream_id]) == 8 * MIB
    assert pair.client.engine.unacknowledged == 0
    assert pair.client.engine.unsent(stream_id) == 0


def test_a_stopped_stream_leaves_credit_to_the_others() -> None:
    pair = EnginePair().opened()
    pair.server.consumes = False
    for _ in range(20):
        pair.client.engine.open_stream(bytes(256 * KIB))
    pair.run(20.0)
    received = [len(each) for number, each in pair.server.received.items() if number != 1]
    assert len(received) == 20
    assert min(received) >= RECEIVE_WINDOW_BYTES_MIN // 2
    assert sum(received) <= CONNECTION_RECEIVE_BYTES_MAX


def test_the_window_grows_for_a_reader_that_keeps_up() -> None:
    pair = EnginePair(delay_s=0.05).opened()
    pair.client.engine.open_stream(bytes(32 * MIB))
    pair.run(20.0)
    assert RECEIVE_WINDOW_BYTES_MIN < pair.server.engine.credit.window <= RECEIVE_WINDOW_BYTES_MAX


def write_at(engine: Engine, stream_id: int, offset: int) -> None:
    """Send one byte far into a stream, as only a hostile peer does."""
    engine.send_stream_data(stream_id, b"x")
    sender = dict.__getitem__(engine._stream_table, stream_id).sender
    sender._buffer_start = offset
    sender._buffer_stop = offset + 1
    sender._pending.subtract(0, 1)
    sender._pending.add(offset, offset + 1)
    sender.highest_offset = offset  # what was skipped counts as sent


@pytest.mark.parametrize("share", [1, 2, 60])
def test_a_few_bytes_at_far_offsets_allocate_no_more_than_the_window(share: int) -> None:
    pair = EnginePair().opened()
    server, client = pair.server.engine, pair.client.engine
    for _ in range(60):
        stream_id = client.get_next_available_stream_id(is_unidirectional=True)
        credit = client._remote_max_data - client._remote_max_data_used
        if credit < 2 * share:
            break
        write_at(client, stream_id, credit // share - 1)
        client._remote_max_data_used += (
            credit // share - 1
        )  # as a peer counts that plays by the rules
        pair.run(0.2)
    pair.run(2.0)
    # A gap is never consumed, so no limit moves: the peer has spent its credit for good.
    assert server.termination() is None
    assert 0 < buffer_bytes(server) <= RECEIVE_WINDOW_BYTES_MIN
    assert server._local_max_data.value <= RECEIVE_WINDOW_BYTES_MIN + 16


def test_an_offset_past_the_window_ends_the_connection() -> None:
    pair = EnginePair().opened()
    client = pair.client.engine
    stream_id = client.get_next_available_stream_id(is_unidirectional=True)
    client._remote_max_stream_data_uni = client._remote_max_data = 2**40
    write_at(client, stream_id, 2**30)
    pair.run(1.0)
    ended = pair.server.engine.termination()
    assert ended is not None
    assert not ended.by_application
    assert buffer_bytes(pair.server.engine) == 0


# --- Streams ---


def test_a_peer_may_open_another_stream_only_when_one_was_released() -> None:
    pair = EnginePair().opened()
    client = pair.client.engine
    assert client.streams_openable == STREAMS_UNREAD_MAX
    for _ in range(STREAMS_UNREAD_MAX):
        stream_id = client.open_stream(b"x")
        client.write(stream_id, b"", end=True)
    pair.run(2.0)
    assert client.streams_openable == STREAMS_UNREAD_MAX
    assert len(client._stream_table) == 1
    assert len(pair.server.engine._stream_table) == 1


def test_streams_that_nobody_releases_stay_counted() -> None:
    pair = EnginePair().opened()
    client, server = pair.client.engine, pair.server.engine
    server.release_stream = lambda stream_id: None  # type: ignore[method-assign]
    while client.streams_openable:
        client.write(client.open_stream(b"x"), b"", end=True)
        pair.run(0.05)
    pair.run(2.0)
    assert client.streams_openable == 0
    assert len(pair.server.finished) == STREAMS_UNREAD_MAX


def test_the_work_per_packet_follows_the_active_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = EnginePair().opened()
    client = pair.client.engine
    for _ in range(100):
        client.open_stream(b"open")
    pair.run(2.0)
    visited: list[int | None] = []
    write_limits = Engine._write_stream_limits

    def note(
        engine: Engine, builder: QuicPacketBuilder, space: QuicPacketSpace, stream: QuicStream
    ) -> None:
        visited.append(stream.stream_id)
        write_limits(engine, builder, space, stream)

    monkeypatch.setattr(Engine, "_write_stream_limits", note)
    client.write(2, b"lone edit")
    pair.run(1.0)
    assert pair.server.received[2] == b"openlone edit"
    assert set(visited) <= {2}
    assert len(client._streams_queue) == 0


@settings(max_examples=8)
@given(seed=st.integers(0, 2**32), loss=st.sampled_from([0.0, 0.02, 0.05, 0.2]))
def test_everything_arrives_whatever_is_lost(seed: int, loss: float) -> None:
    pair = EnginePair(seed=seed, loss=0.0).opened()
    pair.loss = loss
    draw = random.Random(seed)
    sent: dict[int, bytearray] = {}
    client = pair.client.engine
    for _ in range(60):
        open_ids = [each for each in sent if each not in pair.server.finished]
        if len(sent) < 40 and client.streams_openable:
            stream_id = client.open_stream(b"")
            sent[stream_id] = bytearray()
        else:
            stream_id = draw.choice(open_ids or list(sent))
        data = draw.randbytes(draw.randint(1, 20_000))
        if dict.get(client._stream_table, stream_id) is None:
            continue
        if client._stream_table[stream_id].sender._buffer_fin is None:
            client.write(stream_id, data, end=draw.random() < 0.2)
            sent[stream_id] += data
        pair.server.consumes = draw.random() < 0.7
        pair.run(draw.random() * 0.05)
    pair.server.consumes = True
    pair.loss = 0.0
    pair.run(60.0)
    assert {number: data for number, data in pair.server.received.items() if number != 1} == {
        number: data for number, data in sent.items() if data
    }
    assert client.unacknowledged == 0
    assert pair.server.engine._local_max_data.used == pair.server.engine.credit.consumed


# --- The end ---


def test_the_code_of_a_close_is_known_at_once() -> None:
    pair = EnginePair().opened()
    pair.client.engine.end(16, "bye")
    pair.run(0.013)
    assert pair.client.engine.termination() == Termination(
        error_code=16, reason="bye", by_application=True, by_peer=False
    )
    assert pair.server.engine.termination() == Termination(
        error_code=16, reason="bye", by_application=True, by_peer=True
    )
    pair.run(5.0)
    assert pair.client.engine.is_over
    assert pair.server.engine.is_over


def test_a_peer_that_falls_silent_times_out() -> None:
    pair = EnginePair().opened()
    pair.loss = 1.0
    pair.run(IDLE_S_MAX + 1)
    ended = pair.client.engine.termination()
    assert ended is not None
    assert ended.is_idle


def test_another_path_begins_slowly_and_what_was_sent_is_known_to_wait() -> None:
    pair = EnginePair().opened()
    pair.run(2.0)
    client = pair.client.engine
    assert not client.is_waiting
    loss = client._loss
    loss._cc.congestion_window, loss._cc.ssthresh = 1_000_000, 2_000_000
    loss._rtt_min, loss._pto_count = 0.001, 5
    client.forget_path()
    assert loss._cc.congestion_window <= 20_000
    assert loss._cc.ssthresh is None
    assert loss._rtt_min > 1_000
    assert loss._pto_count == 0
    client.send_ping(0)
    client.datagrams(pair.now + 0.1)
    assert client.is_waiting
