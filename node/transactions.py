"""Transactions that an embedder keeps open across an await, and a document that is about to be replaced under them."""

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
