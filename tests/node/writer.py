"""A process that writes words into a document and says what it does, until it is killed."""

import asyncio
from itertools import count
from multiprocessing.connection import Connection
from typing import Any

from node import Document, Node, NodeConfig

LOOPBACK = NodeConfig(listen="127.0.0.1:0")


def write(path: str, invite: str, first: int, pipe: "Connection[Any, Any]") -> None:
    """Report the text; then write `w<number>`, report `try`, wait for the disk, report `done`, for ever."""
    asyncio.run(_write(path, invite, first, pipe))


async def _write(path: str, invite: str, first: int, pipe: "Connection[Any, Any]") -> None:
    async with Node.open(path, LOOPBACK) as node:
        document = await node.join(invite)
        text = document.text("text")
        pipe.send(("found", str(text)))
        for number in count(first):
            text.insert(0, f"w{number} ")
            pipe.send(("try", number))
            await document.durable("disk")
            pipe.send(("done", number))


def read(path: str, invite: str, wanted: str, pipe: "Connection[Any, Any]") -> None:
    """Wait until a word is there and everybody has what we have, report the text, and end in good order."""
    asyncio.run(_read(path, invite, wanted, pipe))


async def _read(path: str, invite: str, wanted: str, pipe: "Connection[Any, Any]") -> None:
    async with Node.open(path, LOOPBACK) as node:
        document = await node.join(invite)
        await _until_has(document, wanted)
        await document.durable("peers:1")
        pipe.send(("found", str(document.text("text"))))


async def _until_has(document: Document, word: str) -> None:
    events = document.events()
    while word not in str(document.text("text")).split():
        await anext(events)
