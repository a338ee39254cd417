"""Asks the store again and again until it can: what was taken in is not let go of because a disk fails for a while.

Damage does not pass by itself: where something is read, it is raised.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from domain import limits
from domain.errors import StorageCorruptError, StorageError
from domain.events import EditsUnsaved, Event
from domain.identifiers import DocumentId
from node.bell import Bell

T = TypeVar("T")


class Persistence:
    """What the owner of one document does about a store that fails.

    Args:
        document: The document.
        bell: Wakes its owner: then the store is asked once more at once.
        publish: Takes events.
        tell_changed: Makes everybody look again who waits for something about the document.
    """

    def __init__(
        self,
        document: DocumentId,
        bell: Bell,
        publish: Callable[[Event], None],
        tell_changed: Callable[[], Awaitable[None]],
    ) -> None:
        self.failure: StorageError | None = None
        """Why the store does not do what it was asked last; None where it does."""
        self.failure_count = 0
        self._document = document
        self._bell = bell
        self._publish = publish
        self._tell_changed = tell_changed

    async def until_stored(self, store: Callable[[], Awaitable[T]]) -> T:
        """Do something that writes, again and again until the store can."""
        return await self._until(store, endures_damage=True)

    async def until_read(self, read: Callable[[], Awaitable[T]]) -> T:
        """Do something that needs what is stored, again and again until the store can.

        Raises:
            StorageCorruptError: It is not what was written.
        """
        return await self._until(read, endures_damage=False)

    async def _until(self, do: Callable[[], Awaitable[T]], *, endures_damage: bool) -> T:
        while True:
            try:
                outcome = await do()
            except StorageError as error:
                if isinstance(error, StorageCorruptError) and not endures_damage:
                    raise
                await self._wait(error)
            else:
                self.failure = None
                return outcome

    async def _wait(self, error: StorageError) -> None:
        self.failure = error
        self.failure_count += 1
        self._publish(EditsUnsaved(document=self._document, reason=str(error)))
        await self._tell_changed()
        self._bell.ring_at(asyncio.get_running_loop().time() + limits.STORE_RETRY_S)
        await self._bell.wait()
