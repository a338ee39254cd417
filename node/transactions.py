"""What embedders do in a document: transactions that they keep open across an await, observers that fail."""

import asyncio
from typing import Final

from domain import limits
from domain.document import Document

TRANSACTION_S_MAX: Final = 10.0
"""So long the rest of a document waits for a transaction; what one that goes on has not committed then is lost."""


async def until_none_open(document: Document) -> None:
    """Wait until no transaction of `ydoc` is open: its edits would stay in a `Doc` that nobody looks at any more."""
    loop = asyncio.get_running_loop()
    give_up = loop.time() + TRANSACTION_S_MAX
    while document.is_in_transaction and loop.time() < give_up:  # noqa: ASYNC110 - pycrdt does not say
        await asyncio.sleep(limits.COALESCE_S_MAX)


def report_observers(error: Exception) -> None:
    """Say that observers of an embedder failed on what it did not edit itself: as of any callback of the loop."""
    loop = asyncio.get_running_loop()
    context = {"message": "observers of a culm document failed", "exception": error}
    loop.call_soon(loop.call_exception_handler, context)
