"""How fast a connection sends: cubic, mended in two places.

- The window does not grow while it is not filled (RFC 9002, 7.8). aioquic lets it: after half a minute of typing it
  allows a burst that a slow path then mostly loses.
- The pacer never waits for less than the event loop can wait. Where that is longer than a bucket of aioquic's, the
  bucket is made to last for it; on any slower path it is aioquic's own.
"""

from typing import Final

from aioquic.quic.congestion.base import register_congestion_control
from aioquic.quic.congestion.cubic import CubicCongestionControl
from aioquic.quic.packet_builder import QuicSentPacket
from aioquic.quic.recovery import QuicPacketPacer

CONGESTION_CONTROL: Final = "culm"
TIMER_S: Final = 0.001
"""asyncio's timers on epoll fire up to this late."""
BUCKET_PACKETS: Final = 16
BUCKET_PACKETS_MAX: Final = 64
SHORT_BUCKET_S: Final = 0.0015
BUCKET_S_MAX: Final = 0.0022


class CongestionControl(CubicCongestionControl):
    """Cubic that grows only while its window is in use."""

    def on_packet_acked(self, *, now: float, packet: QuicSentPacket) -> None:
        """A packet has arrived."""
        window = self.congestion_window
        is_filled = 2 * self.bytes_in_flight >= window
        super().on_packet_acked(now=now, packet=packet)
        if not is_filled:
            self.congestion_window = min(self.congestion_window, window)


class Pacer(QuicPacketPacer):
    """Spreads packets over a round trip, in steps that the event loop can keep."""

    def next_send_time(  # type: ignore[override] # aioquic says float, and returns None as well
        self, now: float
    ) -> float | None:
        """When the next packet may go; None for now."""
        if self.packet_time is not None:
            self.update_bucket(now=now)
            if self.bucket_time <= 0:
                return now + max(self.packet_time, TIMER_S)
        return None

    def update_rate(self, congestion_window: int, smoothed_rtt: float) -> None:
        """The window or the round trip has changed."""
        super().update_rate(congestion_window, smoothed_rtt)
        packet_time = self.packet_time
        if packet_time is not None and BUCKET_PACKETS * packet_time < SHORT_BUCKET_S:
            bucket = min(BUCKET_PACKETS_MAX * packet_time, BUCKET_S_MAX)
            self.bucket_max = max(self.bucket_max, bucket)


register_congestion_control(CONGESTION_CONTROL, CongestionControl)
