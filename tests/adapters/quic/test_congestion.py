from itertools import pairwise

import pytest
from aioquic.quic.packet import QuicPacketType
from aioquic.quic.packet_builder import QuicSentPacket
from aioquic.quic.recovery import QuicPacketPacer
from aioquic.tls import Epoch
from hypothesis import given
from hypothesis import strategies as st

from adapters.quic.congestion import (
    BUCKET_PACKETS_MAX,
    QUEUE_S,
    TIMER_S,
    CongestionControl,
    Pacer,
)
from tests.adapters.quic.engine_pair import EnginePair

DATAGRAM_BYTES = 1_200


def packet(number: int) -> QuicSentPacket:
    return QuicSentPacket(
        epoch=Epoch.ONE_RTT,
        in_flight=True,
        is_ack_eliciting=True,
        is_crypto_packet=False,
        packet_number=number,
        packet_type=QuicPacketType.ONE_RTT,
        sent_time=0.0,
        sent_bytes=DATAGRAM_BYTES,
    )


def acknowledge(control: CongestionControl, flight: int, rounds: int) -> None:
    """Send and acknowledge so many packets in each round."""
    for now in range(rounds):
        packets = [packet(number) for number in range(flight)]
        for each in packets:
            control.on_packet_sent(packet=each)
        for each in packets:
            control.on_packet_acked(now=now * 0.05, packet=each)


@given(flight=st.integers(1, 4), rounds=st.integers(1, 300))
def test_a_window_that_is_not_filled_does_not_grow(flight: int, rounds: int) -> None:
    control = CongestionControl(max_datagram_size=DATAGRAM_BYTES)
    before = control.congestion_window
    acknowledge(control, flight, rounds)
    assert control.congestion_window == before


def test_a_window_that_is_filled_grows() -> None:
    control = CongestionControl(max_datagram_size=DATAGRAM_BYTES)
    before = control.congestion_window
    acknowledge(control, before // DATAGRAM_BYTES, 1)
    assert control.congestion_window > before


def measure(control: CongestionControl, round_trip_s: float, *, rounds: int, began: float) -> float:
    """Measure so many round trips of that length, five times in each; when the last one ended."""
    now = began
    for _ in range(rounds):
        for _ in range(5):
            now += round_trip_s / 4
            control.on_rtt_measurement(now=now, rtt=round_trip_s)
    return now


@pytest.mark.parametrize("is_live", [False, True])
def test_a_queue_is_shortened_only_before_live_traffic(*, is_live: bool) -> None:
    control = CongestionControl(max_datagram_size=DATAGRAM_BYTES)
    control.congestion_window = 500_000
    now = measure(control, 0.05, rounds=2, began=0.0)
    if is_live:
        control.note_live(now)
    measure(control, 0.15, rounds=3, began=now)
    assert (control.congestion_window < 300_000) == is_live
    assert is_live or control.congestion_window == 500_000


def test_a_short_queue_is_left_alone() -> None:
    control = CongestionControl(max_datagram_size=DATAGRAM_BYTES)
    now = measure(control, 0.05, rounds=2, began=0.0)
    before = control.congestion_window
    control.note_live(now)
    measure(control, 0.05 + 0.9 * QUEUE_S, rounds=10, began=now)
    assert control.congestion_window == before


def test_what_sending_less_does_not_shorten_is_taken_for_the_path() -> None:
    control = CongestionControl(max_datagram_size=DATAGRAM_BYTES)
    control.congestion_window = 500_000
    now = measure(control, 0.05, rounds=2, began=0.0)
    for _ in range(100):
        control.note_live(now)
        now = measure(control, 0.2, rounds=1, began=now)
    assert control.congestion_window >= 0.3 * 500_000


def test_another_path_is_learnt_from_the_beginning() -> None:
    pair = EnginePair().opened()
    engine = pair.client.engine
    stream = engine.open_stream(bytes(300_000))
    pair.run(0.1)
    assert engine._loss.congestion_window > 15_000
    flight = engine._loss.bytes_in_flight
    engine.forget_path()
    assert engine._loss.congestion_window == 10 * DATAGRAM_BYTES
    assert engine._loss.bytes_in_flight == flight
    assert engine.round_trip_s is None
    pair.run(3)
    assert len(pair.server.received[stream]) == 300_000
    assert engine._loss.bytes_in_flight == 0


def schedule(pacer: QuicPacketPacer, seconds: float) -> list[float]:
    """When packets go, if there is always one to send."""
    now = 0.0
    sent: list[float] = []
    while now < seconds:
        at = pacer.next_send_time(now=now)
        if at is None:
            sent.append(now)
            pacer.update_after_send(now=now)
        else:
            now = at
    return sent


@given(window=st.integers(2, 60), round_trip_s=st.floats(0.05, 0.5))
def test_on_a_slow_path_the_pacer_is_aioquics(window: int, round_trip_s: float) -> None:
    paces = []
    for pacer in (
        Pacer(max_datagram_size=DATAGRAM_BYTES),
        QuicPacketPacer(max_datagram_size=DATAGRAM_BYTES),
    ):
        pacer.update_rate(window * DATAGRAM_BYTES // 4, round_trip_s)
        paces.append(schedule(pacer, 1.0))
    ours, theirs = paces
    assert abs(len(ours) - len(theirs)) <= 1


def test_on_a_fast_path_the_pacer_keeps_the_rate_with_timers_of_a_millisecond() -> None:
    pacer = Pacer(max_datagram_size=DATAGRAM_BYTES)
    pacer.update_rate(400_000, 0.01)  # 40 MB/s
    sent = schedule(pacer, 1.0)
    assert len(sent) * DATAGRAM_BYTES > 0.9 * 40_000_000
    assert all(
        later == earlier or later - earlier >= TIMER_S * 0.99 for earlier, later in pairwise(sent)
    )
    assert max(sent.count(at) for at in set(sent[:200])) <= BUCKET_PACKETS_MAX + 1
