"""One end of what we compare ourselves with: `stock_aioquic` (by its own helpers), or `tls` (asyncio over TCP)."""

import asyncio
import ssl
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from aioquic.asyncio.client import connect as connect_quic
from aioquic.asyncio.server import serve as serve_quic
from aioquic.quic.configuration import QuicConfiguration
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from adapters.quic.certificate import make_certificate
from domain.identity import DeviceKey
from domain.limits import KIB
from node.demo.line import Message
from node.demo.worker import RequestPipe, send

CHUNK: Final = bytes(64 * KIB)
PROTOCOLS: Final = ["benchmark"]


class Other:
    """Does what is asked.

    Args:
        kind: `stock_aioquic` or `tls`.
    """

    def __init__(self, kind: str) -> None:
        self._is_quic = kind == "stock_aioquic"
        self._received = 0
        self._wanted = 0
        self._complete: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._writer: asyncio.StreamWriter | None = None
        self.actions = {
            "listen": self._listen,
            "aim": self._aim,
            "sink": self._sink,
            "blast": self._blast,
        }

    # -- The end that takes --

    async def _listen(self, _request: Message) -> Message:
        certificate, key = make_certificate(DeviceKey(b"k" * 32))
        pem = certificate.public_bytes(Encoding.PEM) + key.private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
        )
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "pem"
            path.write_bytes(pem)
            if self._is_quic:
                configuration = QuicConfiguration(is_client=False, alpn_protocols=PROTOCOLS)
                configuration.load_cert_chain(path, path)
                server = await serve_quic(
                    "127.0.0.1", 0, configuration=configuration, stream_handler=self._accept
                )
                transport = server._transport  # noqa: SLF001 - it has no other way to tell
                assert transport is not None
                return {"port": transport.get_extra_info("sockname")[1]}
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(path)
        listener = await asyncio.start_server(self._accept, "127.0.0.1", 0, ssl=context)
        return {"port": listener.sockets[0].getsockname()[1]}

    def _accept(self, reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        self._reading = asyncio.get_running_loop().create_task(self._read(reader))

    async def _read(self, reader: asyncio.StreamReader) -> None:
        while data := await reader.read(256 * KIB):
            self._received += len(data)
            if self._wanted and self._received >= self._wanted and not self._complete.done():
                self._complete.set_result(time.monotonic())

    async def _sink(self, request: Message) -> Message:
        """Wait until so many chunks more have come; say when the last one was there."""
        self._complete = asyncio.get_running_loop().create_future()
        self._wanted += request["messages"] * len(CHUNK)
        return {"ended": await self._complete}

    # -- The end that sends --

    async def _aim(self, request: Message) -> Message:
        port = request["port"]
        if self._is_quic:
            configuration = QuicConfiguration(alpn_protocols=PROTOCOLS, verify_mode=ssl.CERT_NONE)
            self._connection = connect_quic("127.0.0.1", port, configuration=configuration)
            protocol = await self._connection.__aenter__()
            _, self._writer = await protocol.create_stream()
        else:
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            _, self._writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        return {}

    async def _blast(self, request: Message) -> Message:
        """Send so many chunks; say when that began."""
        assert self._writer is not None
        began = time.monotonic()
        for _ in range(request["messages"]):
            self._writer.write(CHUNK)
            await self._writer.drain()
        return {"began": began}


async def serve(kind: str) -> None:
    """Do what is asked, until standard input ends."""
    loop = asyncio.get_running_loop()
    _, pipe = await loop.connect_read_pipe(RequestPipe, sys.stdin.buffer)
    other: Any = Other(kind)
    while True:
        request = await pipe.next()
        send({"done": await other.actions[request["do"]](request)})


if __name__ == "__main__":
    try:
        asyncio.run(serve(sys.argv[1]))
    except asyncio.CancelledError:
        sys.exit(0)
