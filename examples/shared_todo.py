"""A shared to-do list: what an application on top of culm looks like. Run it to see two nodes share one list.

The list is an array of maps in a culm document, so that two people who edit at the same time lose nothing: tasks that
both add are both there, and a task that one renames while the other finishes it is renamed and finished.
"""

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pycrdt import Map

from node import Document, Node, NodeConfig


class TodoList:
    """The tasks in a document.

    Args:
        document: The document; it may hold other things as well.
    """

    def __init__(self, document: Document) -> None:
        self.document = document

    def add(self, title: str) -> None:
        """Add a task at the end."""
        self.document.array("tasks").append(Map({"title": title, "done": False}))

    def rename(self, title: str, new_title: str) -> None:
        """Give a task another title."""
        self._find(title)["title"] = new_title

    def finish(self, title: str) -> None:
        """Note that a task is done."""
        self._find(title)["done"] = True

    def show(self) -> list[str]:
        """Give the list as people read it."""
        tasks = self.document.array("tasks").to_py() or []
        return [f"[{'x' if task['done'] else ' '}] {task['title']}" for task in tasks]

    def _find(self, title: str) -> "Map[Any]":
        for task in self.document.array("tasks"):
            if task["title"] == title:
                found: Map[Any] = task
                return found
        raise KeyError(title)


async def main() -> None:
    """Share a list between two nodes of this computer."""
    here = NodeConfig(listen="127.0.0.1:0")
    with TemporaryDirectory() as folder:
        async with (
            Node.open(Path(folder) / "alice", here) as alice,
            Node.open(Path(folder) / "bob", here) as bob,
        ):
            ours = TodoList(await alice.create("groceries"))
            ours.add("bread")
            theirs = TodoList(await bob.join(await ours.document.invite()))
            await theirs.document.synced()
            theirs.finish("bread")
            await theirs.document.durable("peers:1")
            print("\n".join(ours.show()))


if __name__ == "__main__":
    asyncio.run(main())
