"""Measures pycrdt-websocket side by side: a server, a writer and a reader, each in a process of its own."""

from typing import Any

from node.demo.process import start_module
from scripts.bench.nodes import Plan


async def measure_peer(plan: Plan) -> dict[str, Any]:
    """Type the same session; `live_seconds` ends when the reader has all of it."""
    async with start_module("scripts.bench.websocket_server") as server:
        port = str((await server.ask("port"))["port"])
        async with (
            start_module("scripts.bench.websocket_client", port) as writer,
            start_module("scripts.bench.websocket_client", port) as reader,
        ):
            await reader.ask("ready")
            loaded = await writer.ask("load", trace=str(plan.trace.resolve()), edits=plan.edits)
            before = (await server.ask("count"))["wire_bytes"]
            typed = await writer.ask("type")
            arrived = await reader.ask(
                "wait", client=loaded["client"], clock=typed["clock"], digest=typed["digest"]
            )
            wire_bytes = (await server.ask("count"))["wire_bytes"] - before
            return {"live_seconds": arrived["ended"] - typed["started"], "wire_bytes": wire_bytes}
