"""Time and chance: the only sources of either."""

from abc import abstractmethod
from typing import Protocol


class Clock(Protocol):
    """Tells the time."""

    @abstractmethod
    def now(self) -> float:
        """Seconds on a clock that never goes back; its zero means nothing."""

    @abstractmethod
    def timestamp_us(self) -> int:
        """Microseconds since 1970-01-01 UTC, as the machine believes; may jump. For people and expiry only."""


class Entropy(Protocol):
    """Draws unpredictable bytes."""

    @abstractmethod
    def draw(self, count: int) -> bytes:
        """Draw `count` bytes (0 to 65,536), fit for keys and nonces."""
