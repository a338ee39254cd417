"""The one owner of all tasks of a node.

Every task belongs to one group, so that none outlives the node and none fails unseen. A task that fails with an error
that nobody expected takes the node down with it, loudly: going on in an unknown state could lose edits.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any

from domain.errors import CulmError, NodeClosedError

logger = logging.getLogger(__name__)


class Runtime:
    """Starts tasks within one group.

    Args:
        group: The group that every task joins.
    """

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self._group = group
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_ending = False

    @property
    def task_count(self) -> int:
        """How many tasks run."""
        return len(self._tasks)

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Start a task; a `CulmError` that escapes it is logged, any other error ends the node.

        Raises:
            NodeClosedError: The node ends, and nobody would end the task.
        """
        guarded = self._guard(work, name)
        try:
            task = self._start(guarded, name)
        except NodeClosedError:
            guarded.close()
            work.close()
            raise
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(
            lambda _: work.close()
        )  # never begun, if the task was cancelled at once
        return task

    def _start(self, guarded: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        if not self._is_ending:
            with suppress(RuntimeError):  # of a group that the error of another task ends
                return self._group.create_task(guarded, name=name)
        raise NodeClosedError("the node is closed")

    async def _guard(self, work: Coroutine[Any, Any, None], name: str) -> None:
        try:
            await work
        except CulmError as error:
            logger.warning("runtime.task_failed", extra={"task": name, "error": str(error)})
        except Exception:
            logger.exception("runtime.task_crashed", extra={"task": name})
            raise

    def cancel_all(self) -> None:
        """Ask every task to end; from now on none starts."""
        self._is_ending = True
        for task in tuple(self._tasks):
            task.cancel()


async def do_together(works: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Do several things side by side, also while a runtime ends; return when all are done.

    An error of one, or a cancellation, ends the others first.
    """
    async with asyncio.TaskGroup() as group:
        for work in works:
            group.create_task(work)


@asynccontextmanager
async def open_runtime() -> AsyncIterator[Runtime]:
    """Run tasks for as long as the block runs; at its end they are cancelled and waited for.

    An error of the block leaves as what it is, not in the group that a `TaskGroup` would wrap around it.
    """
    failure: Exception | None = None
    async with asyncio.TaskGroup() as group:
        runtime = Runtime(group)
        try:
            yield runtime
        except Exception as error:  # noqa: BLE001 - raised again below, once every task has ended
            failure = error
        finally:
            runtime.cancel_all()
    if failure is not None:
        raise failure
