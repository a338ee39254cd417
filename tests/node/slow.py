"""Two processes: one has a large document and tells how much memory it uses, the other fetches it."""

import asyncio
import gc
import os
from hashlib import blake2b
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Final

from domain.events import DocumentChanged
from node import Document, Node, NodeConfig

LOOPBACK: Final = NodeConfig(listen="127.0.0.1:0")
PIECE_BYTES: Final = 64 * 1024
PIECES_AT_ONCE: Final = 16
SAMPLE_S: Final = 0.05

if TYPE_CHECKING:
    Pipe = Connection[Any, Any]
else:
    Pipe = Connection


def resident_bytes() -> int:
    """The memory of this process that is in RAM."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def digest(document: Document) -> str:
    found = blake2b(digest_size=16)
    for piece in document.array("pieces"):
        found.update(piece)
    return found.hexdigest()


def offer(path: str, size_bytes: int, seed: int, pipe: Pipe) -> None:
    """Make a large document, give `(invite, digest)`, then `(memory, bytes sent)` over and over until told to stop."""
    asyncio.run(_offer(path, size_bytes, seed, pipe))


async def _offer(path: str, size_bytes: int, seed: int, pipe: Pipe) -> None:
    random = Random(seed)
    async with Node.open(path, LOOPBACK) as node:
        document = await node.create("large")
        pieces = document.array("pieces")
        for at in range(size_bytes // PIECE_BYTES):
            pieces.append(random.randbytes(PIECE_BYTES))
            if at % PIECES_AT_ONCE == 0:
                await document.durable()
        await document.durable()
        invite = await document.invite()
        gc.collect()
        pipe.send((invite, digest(document)))
        while not pipe.poll():
            sent = sum(link.connection.statistics().bytes_sent for link in node.peers.links())
            pipe.send((resident_bytes(), sent))
            await asyncio.sleep(SAMPLE_S)


def fetch(path: str, invite: str, count: int, pipe: Pipe) -> None:
    """Join, and give the digest once all pieces are there."""
    asyncio.run(_fetch(path, invite, count, pipe))


async def _fetch(path: str, invite: str, count: int, pipe: Pipe) -> None:
    async with Node.open(path, LOOPBACK) as node:
        document = await node.join(invite)
        events = document.events()
        while len(document.array("pieces")) < count:
            while not isinstance(await anext(events), DocumentChanged):
                pass
        pipe.send(digest(document))
