"""One of two processes that write into a document, until it is killed or told to settle."""

import asyncio
from multiprocessing.connection import Connection
from typing import Any

from node import Document, Node, NodeConfig

WORDS_MAX = 100
"""In one life: how much there is to compare must not depend on how slow the machine is."""


def live(
    path: str, listen: str, invite: str | None, name: str, first: int, pipe: "Connection[Any, Any]"
) -> None:
    """Open the document, found or join it where there is none; write `<name><number>` words, and say which are on disk.

    Once the other end sends words, write no more; each time that it does, wait until all of them are here and the peer
    holds everything, and report the text and how many connections there are. End once it sends None.
    """
    asyncio.run(_live(path, listen, invite, name, first, pipe))


async def _live(
    path: str, listen: str, invite: str | None, name: str, first: int, pipe: "Connection[Any, Any]"
) -> None:
    async with Node.open(path, NodeConfig(listen=listen)) as node:
        document = await _open(node, invite, pipe)
        text = document.text("text")
        pipe.send(("found", str(text)))
        for number in range(first, first + WORDS_MAX):
            if pipe.poll():
                break
            text.insert(0, f"{name}{number} ")
            pipe.send(("try", number))
            await document.durable("disk")
            pipe.send(("done", number))
        while (wanted := await asyncio.to_thread(pipe.recv)) is not None:
            await _until_here(document, wanted)
            await document.durable("peers:1")
            pipe.send(("settled", (str(text), len(node.peers.links()))))


async def _until_here(document: Document, wanted: set[str]) -> None:
    await document.wait_until(lambda: wanted <= set(str(document.text("text")).split()))


async def _open(node: Node, invite: str | None, pipe: "Connection[Any, Any]") -> Document:
    known = node.documents()
    if known:
        return await node.document(known[0].id)
    if invite is not None:
        return await node.join(invite)
    document = await node.create("words")
    pipe.send(("invite", await document.invite()))
    return document
