"""Time and chance of a simulated node."""

import asyncio
from typing import Final

from blake3 import blake3

from domain.ports.environment import Clock, Entropy

EPOCH_US: Final = 1_893_456_000_000_000
"""When virtual time begins for people: 2030-01-01 UTC."""
DRAW_BYTES_MAX: Final = 65_536


class SimulatedClock(Clock):
    """The time of a loop; what people read off it may be wrong and may jump.

    Args:
        loop: Whose time it is.
        wall_offset_s: How far the machine's date is ahead of the true one; may be changed at any time.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, *, wall_offset_s: float = 0.0) -> None:
        self._loop = loop
        self.wall_offset_s = wall_offset_s

    def now(self) -> float:
        return self._loop.time()

    def timestamp_us(self) -> int:
        return EPOCH_US + round((self._loop.time() + self.wall_offset_s) * 1_000_000)


class SimulatedEntropy(Entropy):
    """Bytes that depend on a seed, a name and how many were drawn before: the output of BLAKE3 over both.

    It belongs to a machine and outlives its processes: made anew with the same arguments it repeats itself.
    """

    def __init__(self, seed: int, name: str) -> None:
        self._stream = blake3(
            repr((seed, name)).encode(), derive_key_context="culm simulated entropy v1"
        )
        self._drawn_bytes = 0

    def draw(self, count: int) -> bytes:
        if not 0 <= count <= DRAW_BYTES_MAX:
            raise ValueError(f"draw 0 to {DRAW_BYTES_MAX} bytes, not {count}")
        drawn = self._stream.digest(length=count, seek=self._drawn_bytes)
        self._drawn_bytes += count
        return drawn
