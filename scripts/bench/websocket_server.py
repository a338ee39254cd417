"""The peer's server: pycrdt-websocket under uvicorn, in a process of its own, with a count of what it carries."""

import asyncio
import logging
import sys
from typing import Any

import uvicorn
from pycrdt.websocket import ASGIServer, WebsocketServer
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from node.demo.worker import RequestPipe, send
from scripts.bench.websocket_client import until


class Counter:
    """Bytes of all connections, after the upgrade."""

    total = 0


class CountingTransport:
    """Counts what is written."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - all that a transport has
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Count, and write."""
        Counter.total += len(data)
        self._transport.write(data)


class CountingProtocol(WebSocketsSansIOProtocol):
    """Counts what is read and written."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count what is written from here on."""
        super().connection_made(CountingTransport(transport))  # type: ignore[arg-type]

    def data_received(self, data: bytes) -> None:
        """Count, and read."""
        Counter.total += len(data)
        super().data_received(data)


def handle(_error: Exception, _log: logging.Logger) -> bool:
    """Keep the server alive when a client leaves."""
    return True


async def serve() -> None:
    """Serve until standard input ends."""
    loop = asyncio.get_running_loop()
    _, pipe = await loop.connect_read_pipe(RequestPipe, sys.stdin.buffer)
    rooms = WebsocketServer(exception_handler=handle, auto_clean_rooms=False)
    config = uvicorn.Config(
        ASGIServer(rooms), port=0, ws=CountingProtocol, log_level="error", ws_ping_interval=None
    )
    server = uvicorn.Server(config)
    async with rooms, asyncio.TaskGroup() as group:
        serving = group.create_task(server.serve())
        await until(lambda: server.started)
        try:
            while True:
                request = await pipe.next()
                if request["do"] == "port":
                    port = server.servers[0].sockets[0].getsockname()[1]
                    send({"done": {"port": port}})
                else:
                    send({"done": {"wire_bytes": Counter.total}})
        finally:
            serving.cancel()


if __name__ == "__main__":
    asyncio.run(serve())
