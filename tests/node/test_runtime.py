"""The tasks of a node: none starts that nobody would end."""

import asyncio

import pytest

from domain.errors import NodeClosedError
from node.runtime import Runtime, open_runtime


async def wait_for_ever() -> None:
    await asyncio.get_running_loop().create_future()


def spawn_late(runtime: Runtime, refused: list[NodeClosedError]) -> None:
    try:
        runtime.spawn(wait_for_ever(), "late")
    except NodeClosedError as error:
        refused.append(error)


async def test_no_task_starts_once_the_node_has_ended() -> None:
    async with open_runtime() as runtime:
        pass
    with pytest.raises(NodeClosedError):
        runtime.spawn(wait_for_ever(), "late")


async def test_task_that_would_start_another_as_it_ends_does_not_keep_the_node_open() -> None:
    async def work(runtime: Runtime, refused: list[NodeClosedError]) -> None:
        try:
            await wait_for_ever()
        finally:
            spawn_late(runtime, refused)

    refused: list[NodeClosedError] = []
    async with asyncio.timeout(10), open_runtime() as runtime:
        runtime.spawn(work(runtime, refused), "work")
        await asyncio.sleep(0)
    assert len(refused) == 1


async def test_no_task_starts_while_the_error_of_another_ends_the_node() -> None:
    refused: list[NodeClosedError] = []

    async def fail() -> None:
        raise ValueError("nobody expected this")

    async def run() -> None:
        async with open_runtime() as runtime:
            runtime.spawn(fail(), "fail")
            try:
                await wait_for_ever()
            finally:
                spawn_late(runtime, refused)

    with pytest.raises(ExceptionGroup):
        await run()
    assert len(refused) == 1
