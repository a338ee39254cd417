import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from adapters.simulation.text_replica import MemoryTextReplica
from domain.errors import NodeClosedError
from domain.ports.mirror import TextEdit, TextReplica
from tests.contracts.text_replica import TextReplicaContract, insert


class TestMemoryTextReplica(TextReplicaContract):
    @asynccontextmanager
    async def replica(self, text: str) -> AsyncIterator[TextReplica]:
        yield MemoryTextReplica(text)

    async def edit_remotely(self, replica: TextReplica, edits: list[TextEdit]) -> None:
        assert isinstance(replica, MemoryTextReplica)
        replica.edit_remotely(edits)

    async def forbid_writing(self, replica: TextReplica) -> None:
        assert isinstance(replica, MemoryTextReplica)
        replica.may_write = False

    async def fill_disk(self, replica: TextReplica) -> None:
        assert isinstance(replica, MemoryTextReplica)
        replica.is_disk_full = True


async def test_what_was_not_made_durable_is_not_saved() -> None:
    replica = MemoryTextReplica("a")
    replica.edit([insert(1, "b")])
    assert replica.saved == "a"
    await replica.durable()
    assert replica.saved == "ab"


async def test_a_held_disk_lets_durable_wait() -> None:
    replica = MemoryTextReplica()
    replica.hold_disk()
    replica.edit([insert(0, "a")])
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(replica.durable())
        await asyncio.sleep(0)
        assert not waiting.done()
        assert replica.saved == ""
        replica.release_disk()
    assert replica.saved == "a"


async def test_a_closed_document_ends_the_wait_for_a_change() -> None:
    replica = MemoryTextReplica()
    replica.close()
    with pytest.raises(NodeClosedError):
        await replica.changed()
    with pytest.raises(NodeClosedError):
        replica.edit([insert(0, "a")])
