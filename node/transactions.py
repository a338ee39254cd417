"""What embedders do: transactions that they keep open across an await, edits from elsewhere, observers that fail."""

import asyncio
from collections.abc import Callable
from threading import get_ident
from typing import Final

from domain import limits
from domain.document import Document
from domain.errors import WrongThreadError

TRANSACTION_S_MAX: Final = 10.0
"""So long the rest of a document waits for a transaction; what one that goes on has not committed then is lost."""


async def until_none_open(document: Document) -> None:
    """Wait until no transaction of `ydoc` is open: its edits would stay in a `Doc` that nobody looks at any more."""
    loop = asyncio.get_running_loop()
    give_up = loop.time() + TRANSACTION_S_MAX
    while document.is_in_transaction and loop.time() < give_up:  # noqa: ASYNC110 - pycrdt does not say
        await asyncio.sleep(limits.COALESCE_S_MAX)


def called_in(loop: asyncio.AbstractEventLoop, take: Callable[[], None]) -> Callable[[], None]:
    """Make a call, from this thread, of what belongs to a loop: soon, where it is made while the loop is not running.

    Raises:
        WrongThreadError: It is made from another thread; it comes to the loop all the same.
    """
    thread = get_ident()

    def call() -> None:
        if _running_loop() is loop:
            take()
            return
        loop.call_soon_threadsafe(take)
        if get_ident() != thread:
            raise WrongThreadError(
                "a document was edited from another thread than the one that opened its node: the edit is made, and "
                "will be saved; call into the event loop instead, since nothing guards the document against that"
            )

    return call


def report_observers(error: Exception) -> None:
    """Say that observers of an embedder failed on what it did not edit itself: as of any callback of the loop."""
    loop = asyncio.get_running_loop()
    context = {"message": "observers of a culm document failed", "exception": error}
    loop.call_soon(loop.call_exception_handler, context)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
