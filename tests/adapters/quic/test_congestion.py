from itertools import pairwise

from aioquic.quic.packet import QuicPacketType
from aioquic.quic.packet_builder import QuicSentPacket
from aioquic.quic.recovery import QuicPacketPacer
from aioquic.tls import Epoch
from hypothesis import given
from hypothesis import strategies as st

from adapters.quic.congestion import BUCKET_PACKETS_MAX, TIMER_S, CongestionControl, Pacer

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
