"""The streams of a connection, so that the work per packet follows those that have something to say."""

# ruff: noqa: SLF001 - like `engine`, it touches what aioquic keeps to itself

from collections.abc import Iterable
from typing import Any

from aioquic.quic.packet_builder import QuicDeliveryState
from aioquic.quic.stream import QuicStream

from adapters.quic.scheduler import ServiceOrder


class StreamTable(dict[int, QuicStream]):
    """Stands in for aioquic's table of streams: what is looked up is about to have something to say."""

    __slots__ = ("active", "touched", "unacknowledged")

    def __init__(self) -> None:
        super().__init__()
        self.active = ServiceOrder()
        self.touched: dict[QuicStream, None] = {}
        self.unacknowledged = 0
        """How many bytes were written on all streams and are not acknowledged."""

    # --- What aioquic does with it ---

    def get(self, key: int, default: Any = None) -> Any:  # noqa: ANN401 - as in dict
        stream = super().get(key, default)
        if stream is not None:
            self._touch(stream)
        return stream

    def pop(self, key: int, *default: Any) -> Any:  # noqa: ANN401 - as in dict
        self.active.priorities.pop(key, None)
        return super().pop(key, *default)

    def values(self) -> Any:  # noqa: ANN401 - only read by the loop that writes stream limits
        return tuple(self.touched)

    def __setitem__(self, key: int, stream: QuicStream) -> None:
        super().__setitem__(key, stream)
        self._touch(stream)
        sender, receiver = stream.sender, stream.receiver
        data_delivered, reset_delivered = sender.on_data_delivery, sender.on_reset_delivery
        stop_delivered = receiver.on_stop_sending_delivery

        def on_data(delivery: QuicDeliveryState, start: int, stop: int, fin: bool) -> None:  # noqa: FBT001
            before = sender._buffer_start
            data_delivered(delivery, start, stop, fin)
            self.unacknowledged -= sender._buffer_start - before
            if delivery is not QuicDeliveryState.ACKED or stream.is_finished:
                self.rouse(stream)

        def on_reset(delivery: QuicDeliveryState) -> None:
            reset_delivered(delivery)
            self.rouse(stream)

        def on_stop(delivery: QuicDeliveryState) -> None:
            stop_delivered(delivery)
            self.rouse(stream)

        sender.on_data_delivery = on_data  # type: ignore[method-assign]
        sender.on_reset_delivery = on_reset  # type: ignore[method-assign]
        receiver.on_stop_sending_delivery = on_stop  # type: ignore[method-assign]

    # --- What the engine does with it ---

    def look_up(self, key: int) -> QuicStream | None:
        """Find a stream that has nothing to say for that."""
        return super().get(key)

    def waiting(self) -> list[QuicStream]:
        """List those that have data to send, in no order."""
        return [each for each in dict.keys(self.active) if not each.sender.buffer_is_empty]

    def rouse(self, stream: QuicStream) -> None:
        """Visit a stream for the next packet."""
        # News of a packet may come after its stream is gone, if the same bytes were acknowledged in another.
        if self.look_up(stream.stream_id or 0) is stream:
            self._touch(stream)

    def keep_active(self, streams: Iterable[QuicStream]) -> None:
        """Visit those of some streams that have something to say, and no others, in this order."""
        streams = [each for each in streams if _has_something_to_say(each)]
        self.active.clear()
        self.active.update(dict.fromkeys(streams))
        self.touched.clear()

    def _touch(self, stream: QuicStream) -> None:
        self.touched[stream] = None
        self.active[stream] = None


def _has_something_to_say(stream: QuicStream) -> bool:
    sender, receiver = stream.sender, stream.receiver
    return (
        not sender.buffer_is_empty
        or sender.reset_pending
        or receiver.stop_pending
        or stream.is_finished
    )
