"""Handing events to listeners: each has a bounded queue of its own, and is told when it was too slow."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Self
from weakref import WeakSet

from domain import limits
from domain.events import Event, EventsDropped

Filter = Callable[[Event], bool]


class Listener(AsyncIterator[Event]):
    """One listener's queue, to be iterated over; it ends when the node closes. Dropping it is enough to stop listening.

    Args:
        wants: Which events it is to get.
    """

    def __init__(self, wants: Filter) -> None:
        self._wants = wants
        self._queue: deque[Event] = deque()
        self._arrived = asyncio.Event()
        self._dropped = 0
        self._is_closed = False

    def put(self, event: Event) -> None:
        """Queue an event if it is wanted, dropping the oldest one where the queue is full."""
        if not self._wants(event):
            return
        if len(self._queue) >= limits.EVENT_QUEUE_MAX:
            self._queue.popleft()
            self._dropped += 1
        self._queue.append(event)
        self._arrived.set()

    def close(self) -> None:
        """End the stream, once what is queued has been taken."""
        self._is_closed = True
        self._arrived.set()

    def __aiter__(self) -> Self:
        """Iterate over the events as they come."""
        return self

    async def __anext__(self) -> Event:
        """Wait for the next event. Cancelled, none is lost."""
        while not self._queue and not self._dropped:
            if self._is_closed:
                raise StopAsyncIteration
            self._arrived.clear()
            await self._arrived.wait()
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            return EventsDropped(count=dropped)
        return self._queue.popleft()


class EventStream:
    """Publishes events to any number of listeners."""

    def __init__(self) -> None:
        self._listeners: WeakSet[Listener] = WeakSet()
        self._is_closed = False

    def publish(self, event: Event) -> None:
        """Give an event to everybody who wants it."""
        for listener in tuple(self._listeners):
            listener.put(event)

    def close(self) -> None:
        """End every listener's stream."""
        self._is_closed = True
        for listener in tuple(self._listeners):
            listener.close()

    def listen(self, wants: Filter) -> Listener:
        """Listen from this very call on."""
        listener = Listener(wants)
        self._listeners.add(listener)
        if self._is_closed:
            listener.close()
        return listener
