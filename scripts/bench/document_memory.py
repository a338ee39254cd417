"""How much memory a plain pycrdt document takes, in a process of its own."""

import asyncio
import base64
import sys
from typing import Any

from pycrdt import Doc, Text

from node.demo.script import ROOT
from node.demo.worker import RequestPipe, resident_bytes, send


def load(update: bytes) -> int:
    """Load a document, and give by how much the process has grown."""
    warm: Doc[Any] = Doc()
    warm.get(ROOT, type=Text).insert(0, "warm")
    before = resident_bytes()
    doc: Doc[Any] = Doc()
    doc.apply_update(update)
    length = len(str(doc.get(ROOT, type=Text)))
    return resident_bytes() - before if length else 0


async def serve() -> None:
    """Answer one request."""
    loop = asyncio.get_running_loop()
    _, pipe = await loop.connect_read_pipe(RequestPipe, sys.stdin.buffer)
    request = await pipe.next()
    send({"done": {"memory_bytes": load(base64.b64decode(request["update"]))}})


if __name__ == "__main__":
    asyncio.run(serve())
