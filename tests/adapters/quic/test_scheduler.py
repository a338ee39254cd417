from collections import Counter

from aioquic.quic.stream import QuicStream
from hypothesis import given
from hypothesis import strategies as st

from adapters.quic.scheduler import PATIENCE_PACKETS, ServiceOrder
from domain.ports.network import Priority
from tests.adapters.quic.engine_pair import EnginePair

PRIORITIES = st.sampled_from(Priority)


def order_of(priorities: list[Priority]) -> ServiceOrder:
    """Streams with more to send than will ever be sent, one for each priority given."""
    order = ServiceOrder()
    for number, priority in enumerate(priorities):
        stream = QuicStream(stream_id=4 * number + 2)
        stream.sender.write(b"much")
        order.priorities[4 * number + 2] = priority
        order.append(stream)
    return order


def serve(order: ServiceOrder, packets: int) -> list[int]:
    """Let each packet carry one stream, as when all have much to send; which ones they were."""
    served = []
    for _ in range(packets):
        stream = next(iter(order))
        assert stream.stream_id is not None
        served.append(stream.stream_id // 4)
        order.extend({stream})
    return served


@given(priorities=st.lists(PRIORITIES, min_size=1, max_size=12))
def test_nobody_starves(priorities: list[Priority]) -> None:
    order = order_of(priorities)
    classes = len(set(priorities))
    most = max(Counter(priorities).values())
    served = serve(order, (PATIENCE_PACKETS + classes) * most * 2)
    assert set(served) == set(range(len(priorities)))


@given(priorities=st.lists(PRIORITIES, min_size=2, max_size=12))
def test_the_most_urgent_has_nearly_all_of_the_path(priorities: list[Priority]) -> None:
    served = serve(order_of(priorities), 1_000)
    share = sum(priorities[number] == min(priorities) for number in served) / 1_000
    others = len(set(priorities)) - 1
    assert share >= 1 - others / PATIENCE_PACKETS - 0.01


@given(count=st.integers(1, 10))
def test_streams_of_one_priority_take_turns(count: int) -> None:
    served = serve(order_of([Priority.LOW] * count), 10 * count)
    assert served == list(range(count)) * 10


def test_what_is_urgent_leaves_before_what_waited_longer() -> None:
    pair = EnginePair().opened()
    engine = pair.client.engine
    bulk = engine.open_stream(bytes(200_000), Priority.LOW)
    pair.flush()  # as much as the window takes
    live = engine.open_stream(b"live", Priority.HIGH)
    while live not in pair.server.received:
        pair.run(0.001)
    assert len(pair.server.received[bulk]) < 40_000
    pair.run(3)
    assert len(pair.server.received[bulk]) == 200_000


def test_bulk_goes_on_beside_any_amount_of_what_is_urgent() -> None:
    pair = EnginePair().opened()
    engine = pair.client.engine
    bulk = engine.open_stream(bytes(60_000), Priority.LOW)
    live = engine.open_stream(b"", Priority.HIGH)
    for _ in range(400):
        if engine.unsent(live) < 64_000:
            engine.write(live, bytes(64_000))
        pair.run(0.01)
    assert len(pair.server.received[bulk]) == 60_000
    assert len(pair.server.received[live]) > 8 * 60_000


def test_what_was_said_of_a_stream_is_forgotten_with_it() -> None:
    pair = EnginePair().opened()
    engine = pair.client.engine
    stream = engine.open_stream(b"x", Priority.LOW)
    engine.write(stream, b"", end=True)
    pair.run(1)
    assert stream not in engine._stream_table.active.priorities
