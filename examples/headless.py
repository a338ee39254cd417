"""A service that keeps documents available while their authors are away: it founds them and lets people in.

`python examples/headless.py DIR NAME...` runs until Ctrl-C, and prints an invite for ten people to each document. The
command `culm run` keeps documents in sync as well (see `culm.service`): take this where you want to add to it. Without
arguments it shows itself on loopback: a text goes from an author to a reader who are never there at the same time.
"""

import asyncio
import signal
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from node import Node, NodeConfig

LOOPBACK = NodeConfig(listen="127.0.0.1:0")


async def keep(node: Node, name: str) -> str:
    """Found the document of that name, unless it is there, and make an invite to it."""
    known = {info.name: info.id for info in node.documents()}
    document = await node.document(known[name]) if name in known else await node.create(name)
    return await document.invite(uses=10, expires_s=7 * 86_400)


async def serve(directory: Path, names: list[str]) -> None:
    """Run until a signal comes; what was received is on disk by then."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with Node.open(directory) as node:
        for name in names:
            print(f"{name}: {await keep(node, name)}", flush=True)
        await stop.wait()


async def show(directory: Path) -> None:
    """Let a text travel from an author to a reader who never meet."""
    async with asyncio.timeout(30), Node.open(directory / "service", LOOPBACK) as service:
        invite = await keep(service, "log")
        async with Node.open(directory / "author", LOOPBACK) as author:
            document = await author.join(invite)
            text = document.text("body")
            text += "written while the reader was away"
            await document.durable("peers:1")
        print("the author has left")
        async with Node.open(directory / "reader", LOOPBACK) as reader:
            document = await reader.join(invite)
            await document.synced()
            print(f"the reader reads {str(document.text('body'))!r}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        asyncio.run(serve(Path(sys.argv[1]), sys.argv[2:]))
    else:
        with TemporaryDirectory() as folder:
            asyncio.run(show(Path(folder)))
