from hypothesis import given
from hypothesis import strategies as st

from adapters.quic.credit import ReceiveBudget, ReceiveCredit
from domain.limits import (
    CONNECTION_RECEIVE_BYTES_MAX,
    HELLO_WINDOW_BYTES,
    MIB,
    RECEIVE_WINDOW_BYTES_MAX,
    RECEIVE_WINDOW_BYTES_MIN,
)


class Connection:
    """A connection whose peer sends whenever it may."""

    def __init__(self, budget: ReceiveBudget) -> None:
        self.credit = ReceiveCredit(budget)
        self.limit = self.credit.window
        self.delivered = 0

    def receive(self, count: int) -> None:
        self.delivered += min(count, self.limit - self.delivered)

    def consume(self, count: int) -> None:
        self.credit.consumed += min(count, self.delivered - self.credit.consumed)

    def update(self, now: float) -> None:
        before = self.limit
        self.limit = self.credit.next_limit(
            before, delivered=self.delivered, now=now, round_trip_s=0.01
        )
        assert self.limit >= before

    @property
    def outstanding(self) -> int:
        return self.limit - self.credit.consumed


STEPS = st.lists(
    st.tuples(
        st.integers(0, 4),
        st.sampled_from(["receive", "consume", "update"]),
        st.integers(0, 8 * MIB),
    ),
    max_size=200,
)


@given(steps=STEPS, total=st.sampled_from([0, MIB, 64 * MIB]))
def test_what_peers_may_send_stays_within_the_budget(
    steps: list[tuple[int, str, int]], total: int
) -> None:
    budget = ReceiveBudget(total)
    connections = [Connection(budget) for _ in range(5)]
    for connection in connections:
        connection.credit.open()
    for now, (number, action, count) in enumerate(steps):
        connection = connections[number]
        if action == "receive":
            connection.receive(count)
        elif action == "consume":
            connection.consume(count)
        else:
            connection.update(now * 0.01)
        assert connection.outstanding <= CONNECTION_RECEIVE_BYTES_MAX
        assert sum(each.outstanding for each in connections) <= total + 5 * RECEIVE_WINDOW_BYTES_MIN
    for connection in connections:
        connection.credit.close()
    assert budget.free == total


def test_before_the_hello_there_is_next_to_nothing() -> None:
    connection = Connection(ReceiveBudget())
    for now in range(100):
        connection.receive(MIB)
        connection.consume(MIB)
        connection.update(now * 0.001)
        assert connection.outstanding <= HELLO_WINDOW_BYTES


def test_a_reader_that_keeps_up_gets_the_largest_window() -> None:
    connection = Connection(ReceiveBudget())
    connection.credit.open()
    for now in range(1_000):
        connection.update(now * 0.001)
        connection.receive(8 * MIB)
        connection.consume(8 * MIB)
    assert connection.credit.window == RECEIVE_WINDOW_BYTES_MAX


def test_a_slow_reader_keeps_the_smallest() -> None:
    connection = Connection(ReceiveBudget())
    connection.credit.open()
    for now in range(1_000):
        connection.update(now * 0.1)
        connection.receive(8 * MIB)
        connection.consume(16_000)
    assert connection.credit.window == RECEIVE_WINDOW_BYTES_MIN
