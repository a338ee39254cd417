"""In which order the streams of a connection are served, packet by packet.

The most urgent goes first; streams of the same priority take turns. A priority that was passed over for
`PATIENCE_PACKETS` packets goes first once, so that none starves. The invariant: what is handed to the engine last can
still leave first, since nothing is put into a packet before the packet is about to leave.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from aioquic.quic.stream import QuicStream

from domain.ports.network import Priority

PATIENCE_PACKETS: Final = 16
"""A priority that has something to send has at least one packet in 17, or 6 % of the path."""


class ServiceOrder(dict[QuicStream, None]):
    """Stands in for aioquic's list of the streams to visit for a packet: each once, in order of service."""

    def __init__(self) -> None:
        super().__init__()
        self.priorities: dict[int, Priority] = {}
        self._passed_over = [0] * len(Priority)

    def __iter__(self) -> Iterator[QuicStream]:
        streams = tuple(super().__iter__())
        return iter(streams if len(streams) < 2 else sorted(streams, key=self._rank))  # noqa: PLR2004 - a choice

    def append(self, stream: QuicStream) -> None:
        """Visit this one too."""
        self[stream] = None

    def extend(self, served: Iterable[QuicStream]) -> None:
        """Put those that were served behind the others of their priority."""
        # They come as a set, in the order of their addresses in memory: no two runs would send the same packets.
        streams = sorted(served, key=lambda stream: stream.stream_id or 0)
        for stream in streams:
            self.pop(stream, None)
        if streams and self:
            self._count(streams)
        for stream in streams:
            self[stream] = None

    def _count(self, served: Iterable[QuicStream]) -> None:
        for priority in {self._priority(each) for each in self if not each.sender.buffer_is_empty}:
            self._passed_over[priority] += 1
        for stream in served:
            self._passed_over[self._priority(stream)] = 0

    def _priority(self, stream: QuicStream) -> Priority:
        return self.priorities.get(stream.stream_id or 0, Priority.CRITICAL)

    def _rank(self, stream: QuicStream) -> int:
        priority = self._priority(stream)
        return -1 if self._passed_over[priority] >= PATIENCE_PACKETS else priority
