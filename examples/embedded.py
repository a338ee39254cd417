"""An application of your own with a node inside: two people edit one document, here as two nodes in one process.

Run it with `python examples/embedded.py`. It stays on loopback and keeps nothing.
"""

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory

from domain.events import DocumentChanged
from node import Document, Node, NodeConfig

LOOPBACK = NodeConfig(listen="127.0.0.1:0")


async def follow(document: Document, done: asyncio.Event) -> None:
    """Print the text whenever somebody else has changed it, until it is complete."""
    async for event in document.events():
        if isinstance(event, DocumentChanged):
            text = str(document.text("body"))
            print(f"{event.operations} operations came; now it reads {text!r}")
            if text.endswith("world"):
                done.set()
                return


async def main(directory: Path) -> None:
    """Let Ada found a document, and Ben join it and edit it."""
    async with (
        asyncio.timeout(30),
        Node.open(directory / "ada", LOOPBACK) as ada,
        Node.open(directory / "ben", LOOPBACK) as ben,
    ):
        document = await ada.create("greeting")
        text = document.text("body")
        text += "hello"
        await document.durable("disk")

        copy = await ben.join(await document.invite())
        await copy.synced()
        print(f"Ben reads {str(copy.text('body'))!r}")

        done = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            group.create_task(follow(document, done))
            await asyncio.sleep(0)  # let it listen
            text = copy.text("body")
            text += " world"
            await copy.durable("peers:1")
            print("Ben knows that Ada has it")
            await done.wait()


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        asyncio.run(main(Path(folder)))
