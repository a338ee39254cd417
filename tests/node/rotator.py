"""A process that renews secrets, lets others in and says what it does, until it is killed."""

import asyncio
from itertools import count
from multiprocessing.connection import Connection
from typing import Any

from node import Document, Node
from tests.node.writer import LOOPBACK


def rotate(path: str, invite: str, first: int, pipe: "Connection[Any, Any]") -> None:
    """Report how many secrets it holds; then invite, renew the secret and write a word under it, for ever."""
    asyncio.run(_rotate(path, invite, first, pipe))


async def _rotate(path: str, invite: str, first: int, pipe: "Connection[Any, Any]") -> None:
    async with Node.open(path, LOOPBACK) as node:
        pipe.send(("started", None))
        document = await node.join(invite)
        pipe.send(("found", secrets_held(document)))
        for number in count(first):
            pipe.send(("round", number))
            pipe.send(("invite", await document.invite()))
            await document.rotate()
            document.text("text").insert(0, f"v{number} ")
            await document.durable()
            pipe.send(("done", number))


def secrets_held(document: Document) -> int:
    return len(document._owner.document.keyring.secrets)
