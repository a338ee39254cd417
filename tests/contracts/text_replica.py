"""What every replica of a text must pass."""

import asyncio
from abc import ABC, abstractmethod
from contextlib import AbstractAsyncContextManager

import pytest

from domain.errors import NotPermittedError, RefusedEditsError, UnsavedEditsError, UsageError
from domain.ports.mirror import TextEdit, TextReplica

WAIT_S = 10.0


def insert(position: int, text: str) -> TextEdit:
    return TextEdit(position=position, deleted=0, inserted=text)


class TextReplicaContract(ABC):
    """The laws of `TextReplica`."""

    @abstractmethod
    def replica(self, text: str) -> AbstractAsyncContextManager[TextReplica]:
        """Open a replica that has this text."""

    @abstractmethod
    async def edit_remotely(self, replica: TextReplica, edits: list[TextEdit]) -> None:
        """Let somebody else make these edits."""

    @abstractmethod
    async def forbid_writing(self, replica: TextReplica) -> None:
        """Take away our permission to write."""

    @abstractmethod
    async def fill_disk(self, replica: TextReplica) -> None:
        """Let everything fail from now on that wants to become durable."""

    async def test_an_edit_is_visible_at_once(self) -> None:
        async with self.replica("hello world") as replica:
            replica.edit([TextEdit(position=6, deleted=5, inserted="there")])
            assert replica.read() == "hello there"

    async def test_positions_of_several_edits_are_those_of_the_text_before(self) -> None:
        async with self.replica("abcdef") as replica:
            edits = [
                TextEdit(position=0, deleted=1, inserted="AA"),
                TextEdit(position=3, deleted=2, inserted=""),
                TextEdit(position=6, deleted=0, inserted="!"),
            ]
            replica.edit(edits)
            assert replica.read() == "AAbcf!"

    async def test_positions_count_code_points(self) -> None:
        async with self.replica("é😀e\u0301漢") as replica:
            replica.edit([insert(2, "x"), TextEdit(position=4, deleted=1, inserted="字")])
            assert replica.read() == "é😀xe\u0301字"

    async def test_no_edits_change_nothing(self) -> None:
        async with self.replica("text") as replica:
            replica.edit([])
            assert replica.read() == "text"

    async def test_a_large_edit_is_made_whole(self) -> None:
        async with self.replica("<>") as replica:
            replica.edit([insert(1, "å" * 200_000)])
            await asyncio.wait_for(replica.durable(), WAIT_S)
            assert replica.read() == "<" + "å" * 200_000 + ">"

    async def test_an_edit_outside_of_the_text_changes_nothing(self) -> None:
        async with self.replica("text") as replica:
            with pytest.raises(UsageError):
                replica.edit([insert(0, "a"), insert(5, "b")])
            assert replica.read() == "text"

    async def test_an_edit_that_is_not_permitted_changes_nothing(self) -> None:
        async with self.replica("text") as replica:
            await self.forbid_writing(replica)
            with pytest.raises(NotPermittedError):
                replica.edit([insert(0, "a")])
            assert replica.read() == "text"

    async def test_what_cannot_be_saved_is_not_durable(self) -> None:
        async with self.replica("text") as replica:
            await self.fill_disk(replica)
            replica.edit([insert(0, "a")])
            with pytest.raises(UnsavedEditsError):
                await asyncio.wait_for(replica.durable(), WAIT_S)
            assert replica.read() == "atext"

    async def test_what_is_refused_is_taken_back(self) -> None:
        async with self.replica("text") as replica:
            replica.edit([insert(0, "a")])
            await self.forbid_writing(replica)
            with pytest.raises(RefusedEditsError):
                await asyncio.wait_for(replica.durable(), WAIT_S)
            assert replica.read() == "text"
            await asyncio.wait_for(replica.durable(), WAIT_S)

    async def test_a_change_by_somebody_else_is_noticed(self) -> None:
        async with self.replica("text") as replica:
            assert replica.read() == "text"
            await self.edit_remotely(replica, [insert(4, "!")])
            await asyncio.wait_for(replica.changed(), WAIT_S)
            assert replica.read() == "text!"

    async def test_an_own_change_is_noticed(self) -> None:
        async with self.replica("text") as replica:
            assert replica.read() == "text"
            replica.edit([insert(4, "!")])
            await asyncio.wait_for(replica.changed(), WAIT_S)

    async def test_a_change_while_nobody_waits_is_noticed_later(self) -> None:
        async with self.replica("text") as replica:
            replica.read()
            for mark in "12":
                await self.edit_remotely(replica, [insert(0, mark)])
                await asyncio.wait_for(replica.changed(), WAIT_S)

    async def test_a_cancelled_wait_loses_no_change(self) -> None:
        async with self.replica("text") as replica:
            replica.read()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await replica.changed()
            await self.edit_remotely(replica, [insert(0, "1")])
            await asyncio.wait_for(replica.changed(), WAIT_S)
