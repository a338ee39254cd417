"""A token bucket: so many things at once, and so many a second on average."""


class TokenBucket:
    """Begins full.

    Args:
        rate: Tokens that come each second.
        burst: Tokens that it holds at most.
        now: Seconds.
    """

    __slots__ = ("_at", "_burst", "_rate", "tokens")

    def __init__(self, *, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._at = now
        self.tokens = burst

    def refill(self, now: float) -> float:
        """Add what has come since the last time; how many there are now. A clock that goes back adds nothing."""
        self.tokens = min(self._burst, self.tokens + max(0.0, now - self._at) * self._rate)
        self._at = now
        return self.tokens

    def take(self, now: float) -> bool:
        """Take one token; False if there is none."""
        if self.refill(now) < 1:
            return False
        self.tokens -= 1
        return True

    def take_some(self, count: int, now: float) -> int:
        """Take so many tokens, or as many as there are; how many."""
        taken = min(count, int(self.refill(now)))
        self.tokens -= taken
        return taken

    def give(self, count: float = 1.0) -> None:
        """Put tokens back."""
        self.tokens = min(self._burst, self.tokens + count)
