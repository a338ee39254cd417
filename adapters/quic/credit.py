"""How much a peer may have us hold: receive credit that follows what is consumed.

Credit starts tiny, opens with the hello, and doubles while the peer fills it quickly. What one connection has
outstanding beyond the minimum comes out of a budget that all connections of a node share, and goes back as it is
consumed. The invariant: a peer can never make us hold more than it has credit for.
"""

from domain.limits import (
    CONNECTION_RECEIVE_BYTES_MAX,
    HELLO_WINDOW_BYTES,
    RECEIVE_BUDGET_BYTES,
    RECEIVE_WINDOW_BYTES_MAX,
    RECEIVE_WINDOW_BYTES_MIN,
)

GROW_S = 0.05
"""A window that is used up by half in less than this, or in four round trips, is too small."""


class ReceiveBudget:
    """What all connections of a node may have outstanding, beyond the minimum of each.

    Args:
        total: Bytes.
    """

    def __init__(self, total: int = RECEIVE_BUDGET_BYTES) -> None:
        self.free = total

    def resize(self, lease: int, wanted: int) -> int:
        """Change a lease: smaller at once, larger by at most a quarter of what is free; the new lease."""
        granted = min(wanted, lease + self.free // 4) if wanted > lease else wanted
        self.free -= granted - lease
        return granted


class ReceiveCredit:
    """The credit of one connection.

    Args:
        budget: Shared with the other connections of the node.
    """

    def __init__(self, budget: ReceiveBudget) -> None:
        self._budget = budget
        self._lease = 0
        self._consumed_before = 0
        self._raised_at = 0.0
        self.window = HELLO_WINDOW_BYTES
        self.consumed = 0

    def open(self) -> None:
        """The hello is done: give the minimum."""
        self.window = RECEIVE_WINDOW_BYTES_MIN

    def close(self) -> None:
        """Give everything back to the budget."""
        self._lease = self._budget.resize(self._lease, 0)

    def is_due(self, limit: int, delivered: int) -> bool:
        """Whether the peer should be told of a new limit."""
        wanted = self.consumed + self._outstanding(delivered)
        return wanted - limit >= self.window // 2

    def next_limit(self, limit: int, *, delivered: int, now: float, round_trip_s: float) -> int:
        """The number of bytes that the peer may have sent in total.

        Args:
            limit: What it was told last.
            delivered: What has arrived without gaps: holes that a peer leaves raise no limit.
            now: Seconds.
            round_trip_s: How long it takes to tell it.
        """
        if not self.is_due(limit, delivered):
            return limit
        if self._consumed_before + self.window // 2 <= self.consumed:
            if now - self._raised_at < max(GROW_S, 4 * round_trip_s) and self._is_open:
                self.window = min(2 * self.window, RECEIVE_WINDOW_BYTES_MAX)
            self._consumed_before, self._raised_at = self.consumed, now
        base = min(self.window, RECEIVE_WINDOW_BYTES_MIN)
        wanted = self._outstanding(delivered) - base
        self._lease = self._budget.resize(self._lease, max(0, limit - self.consumed - base))
        self._lease = self._budget.resize(self._lease, max(self._lease, wanted))
        return max(limit, self.consumed + base + self._lease)

    def _outstanding(self, delivered: int) -> int:
        # What is held for readers that have stopped does not count against those that have not, up to the maximum.
        return min(delivered - self.consumed + self.window, CONNECTION_RECEIVE_BYTES_MAX)

    @property
    def _is_open(self) -> bool:
        return self.window >= RECEIVE_WINDOW_BYTES_MIN
