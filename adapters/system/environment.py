"""The clock and the entropy of the machine."""

import os
import time
from typing import Final

from domain.ports.environment import Clock, Entropy

_NS_PER_US: Final = 1_000


class SystemClock(Clock):
    """Tells the time of the machine."""

    def now(self) -> float:
        return time.monotonic()

    def timestamp_us(self) -> int:
        return time.time_ns() // _NS_PER_US


class SystemEntropy(Entropy):
    """Draws from the generator of the kernel."""

    def draw(self, count: int) -> bytes:
        return os.urandom(count)
