"""The peer's writer or reader: pycrdt's Provider over httpx-ws, in a process of its own."""

import asyncio
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from itertools import count
from pathlib import Path
from typing import Any, Final

from blake3 import blake3
from httpx_ws import aconnect_ws
from pycrdt import Doc, Provider, Text
from pycrdt.websocket.websocket import HttpxWebsocket

from domain.crdt.walker import decode_state_vector
from node.demo.script import ROOT
from node.demo.typist import SLICE_S, Splice, to_splices
from node.demo.worker import RequestPipe, send
from node.trace import read_trace

UNANSWERED_MAX: Final = 8_192  # the server throws updates away where more than 65,536 wait
POLL_S: Final = 0.005


async def until(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds; neither the provider nor the server tell of anything that could be waited for."""
    for _ in count():
        if condition():
            return
        await asyncio.sleep(POLL_S)


class CountingChannel(HttpxWebsocket):
    """Counts messages: the server sends each update back to whom it came from."""

    sent = 0
    received = 0

    async def send(self, message: bytes) -> None:
        """Count, and send."""
        self.sent += 1
        await super().send(message)

    async def recv(self) -> bytes:
        """Receive, and count."""
        message: bytes = await super().recv()
        self.received += 1
        return message


class Client:
    """Does what is asked."""

    def __init__(self) -> None:
        self.doc: Doc[Any] = Doc()
        self.text = self.doc.get(ROOT, type=Text)
        self.splices: list[tuple[Splice, ...]] = []

    async def type(self, channel: CountingChannel) -> dict[str, Any]:
        """Type everything, leaving the loop to the provider as often as the typist of our own nodes does."""
        loop = asyncio.get_running_loop()
        started, turn_ends = loop.time(), 0.0
        for splices in self.splices:
            with self.doc.transaction():
                for start, stop, inserted in splices:
                    if stop > start:
                        del self.text[start:stop]
                    if inserted:
                        self.text.insert(start, inserted)
            if loop.time() > turn_ends:
                await asyncio.sleep(0)
                await until(lambda: channel.sent - channel.received <= UNANSWERED_MAX)
                turn_ends = loop.time() + SLICE_S
        return {"started": started, **self.look()}

    def look(self) -> dict[str, Any]:
        """Say what is here."""
        digest = blake3(str(self.text).encode()).hexdigest()
        clocks = decode_state_vector(self.doc.get_state())
        return {"digest": digest, "clock": clocks.get(self.doc.client_id, 0)}

    async def wait(self, client: int, clock: int, digest: str) -> dict[str, Any]:
        """Wait until the writer's text is here."""
        await until(lambda: decode_state_vector(self.doc.get_state()).get(client, 0) >= clock)
        await until(lambda: self.look()["digest"] == digest)
        return {"ended": asyncio.get_running_loop().time()}


async def serve() -> None:
    """Connect, and do what standard input asks for, to its end."""
    loop = asyncio.get_running_loop()
    _, pipe = await loop.connect_read_pipe(RequestPipe, sys.stdin.buffer)
    client = Client()
    url = f"http://127.0.0.1:{sys.argv[1]}/benchmark"
    connecting: AbstractAsyncContextManager[Any] = aconnect_ws(
        url, max_message_size_bytes=2**24, queue_size=2**16
    )
    async with connecting as websocket:
        channel = CountingChannel(websocket, "benchmark")
        async with Provider(client.doc, channel):
            while True:
                request = await pipe.next()
                answer: dict[str, Any] = {}
                match request["do"]:
                    case "load":
                        trace = read_trace(Path(request["trace"]))
                        client.splices = to_splices(trace)[: request["edits"]]
                        answer = {"client": client.doc.client_id}
                    case "type":
                        answer = await client.type(channel)
                    case "wait":
                        answer = await client.wait(
                            request["client"], request["clock"], request["digest"]
                        )
                    case _:
                        pass
                send({"done": answer})


if __name__ == "__main__":
    asyncio.run(serve())
