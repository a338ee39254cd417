"""How fast a connection sends: cubic, mended in three places.

- The window does not grow while it is not filled (RFC 9002, 7.8). aioquic lets it: after half a minute of typing it
  allows a burst that a slow path then mostly loses.
- While something is sent that somebody waits for, the window is cut once a round trip as long as it keeps a queue of
  more than `QUEUE_S` on the path: cubic alone fills whatever buffer there is, and live edits wait in it. That yields to
  flows which do fill it; so it is done only then, and given up where sending less does not help.
- The pacer never waits for less than the event loop can wait. Where that is longer than a bucket of aioquic's, the
  bucket is made to last for it; on any slower path it is aioquic's own.
"""

import math
from typing import Final

from aioquic.quic.congestion.base import register_congestion_control
from aioquic.quic.congestion.cubic import CubicCongestionControl
from aioquic.quic.packet_builder import QuicSentPacket
from aioquic.quic.recovery import QuicPacketPacer

CONGESTION_CONTROL: Final = "culm"
CONGESTION_CONTROLS: Final = (CONGESTION_CONTROL, "cubic", "reno")
QUEUE_S: Final = 0.020
LIVE_S: Final = 2.0
"""Traffic is live for so long after something live was sent: typing has pauses."""
CUT_MIN: Final = 0.7
"""A window is never cut by more at a time; a loss cuts it as much."""
VAIN_WINDOW: Final = 0.5
VAIN_ROUND_TRIP: Final = 0.9
"""Half the window and still nine tenths of the delay: the queue is not ours, or the path has become longer."""
SAMPLES_MIN: Final = 4
"""One round trip that was held up on its way back, or by a busy loop, tells nothing."""
WINDOW_PACKETS_MIN: Final = 4
TIMER_S: Final = 0.001
"""asyncio's timers on epoll fire up to this late."""
BUCKET_PACKETS: Final = 16
BUCKET_PACKETS_MAX: Final = 64
SHORT_BUCKET_S: Final = 0.0015
BUCKET_S_MAX: Final = 0.0022


class CongestionControl(CubicCongestionControl):
    """Cubic that grows only while its window is in use, and keeps no long queue before live traffic."""

    def __init__(self, max_datagram_size: int) -> None:
        super().__init__(max_datagram_size=max_datagram_size)
        self._live_at = -math.inf
        self._shortest_s = (
            math.inf
        )  # of all round trips on this path: what it takes without a queue
        self._recent_s = math.inf  # the shortest since the last look
        self._recent_count = 0
        self._looked_at = 0.0
        self._cut_from: tuple[int, float] | None = (
            None  # window and round trip before a row of cuts
        )

    def note_live(self, now: float) -> None:
        """Something was sent that somebody waits for."""
        self._live_at = now

    def on_packet_acked(self, *, now: float, packet: QuicSentPacket) -> None:
        """A packet has arrived."""
        window = self.congestion_window
        is_filled = 2 * self.bytes_in_flight >= window
        super().on_packet_acked(now=now, packet=packet)
        if not is_filled:
            self.congestion_window = min(self.congestion_window, window)

    def on_rtt_measurement(self, *, now: float, rtt: float) -> None:
        """A round trip was measured."""
        super().on_rtt_measurement(now=now, rtt=rtt)
        self._shortest_s = min(self._shortest_s, rtt)
        self._recent_s = min(self._recent_s, rtt)
        self._recent_count += 1
        if self._recent_count < SAMPLES_MIN or now - self._looked_at <= max(rtt, self._shortest_s):
            return
        recent_s, self._recent_s = self._recent_s, math.inf
        self._recent_count, self._looked_at = 0, now
        if recent_s <= self._shortest_s + QUEUE_S:
            self._cut_from = None
        elif now - self._live_at <= LIVE_S:
            self._shorten_queue(recent_s)

    def _shorten_queue(self, recent_s: float) -> None:
        if self._cut_from is None:
            self._cut_from = (self.congestion_window, recent_s)
        window, round_trip_s = self._cut_from
        if (
            self.congestion_window <= VAIN_WINDOW * window
            and recent_s >= VAIN_ROUND_TRIP * round_trip_s
        ):
            self._shortest_s, self._cut_from = recent_s, None
            return
        share = max(CUT_MIN, (self._shortest_s + QUEUE_S) / recent_s)
        floor = WINDOW_PACKETS_MIN * self._max_datagram_size
        self.congestion_window = max(int(self.congestion_window * share), floor)
        self.ssthresh = self._W_max = self.congestion_window
        self._starting_congestion_avoidance = True


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


def check_congestion_control(name: str) -> None:
    """Check that there is a congestion control of that name.

    Raises:
        ValueError: There is none.
    """
    if name not in CONGESTION_CONTROLS:
        raise ValueError(
            f"there is no congestion control {name!r}; there are {', '.join(CONGESTION_CONTROLS)}"
        )
