"""Edits that are made where no loop is running: they are saved like any others, without more being done."""

import asyncio
from pathlib import Path
from threading import Thread

from domain.errors import WrongThreadError
from node import Document, Node, NodeConfig
from node.mirror import BODY

CONFIG = NodeConfig(listen="127.0.0.1:0")
WAIT_S = 10.0


async def until_saved(document: Document) -> None:
    async with asyncio.timeout(WAIT_S):
        await document.wait_until(lambda: document.statistics().pending_bytes == 0)


async def test_edit_from_another_thread_is_saved_and_the_thread_is_told(tmp_path: Path) -> None:
    async with Node.open(tmp_path / "a", CONFIG) as node:
        document = await node.create("notes")
        text = document.text(BODY)
        told: list[BaseException] = []

        def edit() -> None:
            try:
                text.insert(0, "from a thread")
            except ExceptionGroup as error:
                told.extend(error.exceptions)

        thread = Thread(target=edit)
        thread.start()
        thread.join()
        await until_saved(document)
        assert [type(error) for error in told] == [WrongThreadError]


def test_edit_while_the_loop_is_not_running_is_saved_once_it_runs(tmp_path: Path) -> None:
    with asyncio.Runner() as runner:
        opening = Node.open(tmp_path / "a", CONFIG)
        node = runner.run(opening.__aenter__())
        document = runner.run(node.create("notes"))
        text = document.text(BODY)
        text.insert(0, "from outside")
        runner.run(until_saved(document))
        assert str(text) == "from outside"
        runner.run(opening.__aexit__(None, None, None))
