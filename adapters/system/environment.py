"""The clock and the entropy of the machine."""

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from domain.ports.environment import Clock, Entropy

_NS_PER_US: Final = 1_000


class SystemClock(Clock):
    """Tells the time of the machine."""

    def now(self) -> float:
        return time.monotonic()

    def timestamp_us(self) -> int:
        return time.time_ns() // _NS_PER_US


def resident_bytes() -> int | None:
    """Say what memory the process holds now; None where the system does not tell (it has no /proc)."""
    with suppress(OSError, ValueError, IndexError):
        pages = Path("/proc/self/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")
    return None


class SystemEntropy(Entropy):
    """Draws from the generator of the kernel."""

    def draw(self, count: int) -> bytes:
        return os.urandom(count)
