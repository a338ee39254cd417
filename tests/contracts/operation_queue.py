"""What every operation queue must pass.

The law: what is read is what a dictionary would hold after the same calls, now and after reopening.
A height of 0 says the same as no height.
"""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from hypothesis import given
from hypothesis import strategies as st

from domain.identifiers import DocumentId, LogKey, PeerId
from domain.ports.storage import OperationQueue
from tests.contracts.operation_store import document_id, law, log_key, peer_id

OpenQueue = Callable[[], AbstractAsyncContextManager[OperationQueue]]
"""Opens the queue of one place; it is closed before it is opened again."""

Call = tuple[PeerId, DocumentId, dict[LogKey, int]]

_LOGS = [log_key(author, log) for author in range(3) for log in range(2)]
_CALLS = st.lists(
    st.tuples(
        st.sampled_from([peer_id(number) for number in range(3)]),
        st.sampled_from([document_id(number) for number in range(2)]),
        st.dictionaries(st.sampled_from(_LOGS), st.integers(min_value=0, max_value=2**32)),
    ),
    max_size=20,
)


def replay(calls: list[Call], document: DocumentId) -> dict[PeerId, dict[LogKey, int]]:
    """Say what a queue must hold for a document after those calls."""
    state: dict[PeerId, dict[LogKey, int]] = {}
    for peer, of_document, heights in calls:
        if of_document == document:
            state.setdefault(peer, {}).update(heights)
    return without_zeros(state)


def without_zeros(
    state: Mapping[PeerId, Mapping[LogKey, int]],
) -> dict[PeerId, dict[LogKey, int]]:
    """Leave out what says nothing."""
    heights = {
        peer: {log: height for log, height in logs.items() if height}
        for peer, logs in state.items()
    }
    return {peer: logs for peer, logs in heights.items() if logs}


class OperationQueueContract(ABC):
    """The laws of `OperationQueue`."""

    @abstractmethod
    def place(self) -> AbstractAsyncContextManager[OpenQueue]:
        """Prepare an empty place; what it yields opens the queue there, any number of times in turn."""

    @asynccontextmanager
    async def fresh_queue(self) -> AsyncIterator[OperationQueue]:
        async with self.place() as open_queue, open_queue() as queue:
            yield queue

    @law
    @given(calls=_CALLS)
    async def test_the_last_height_of_each_log_is_what_was_told_last(
        self, calls: list[Call]
    ) -> None:
        async with self.fresh_queue() as queue:
            for number, (peer, document, heights) in enumerate(calls, start=1):
                await queue.acknowledge(peer, document, heights)
                found = without_zeros(await queue.acknowledged(document))
                assert found == replay(calls[:number], document)

    @law
    @given(calls=_CALLS)
    async def test_an_orderly_close_keeps_every_height(self, calls: list[Call]) -> None:
        async with self.place() as open_queue:
            for start in range(0, len(calls), 8):
                async with open_queue() as queue:
                    for peer, document, heights in calls[start : start + 8]:
                        await queue.acknowledge(peer, document, heights)
            async with open_queue() as queue:
                for document in (document_id(0), document_id(1)):
                    found = without_zeros(await queue.acknowledged(document))
                    assert found == replay(calls, document)

    async def test_a_height_goes_down_as_well(self) -> None:
        async with self.place() as open_queue:
            async with open_queue() as queue:
                await queue.acknowledge(peer_id(1), document_id(1), {log_key(1): 9, log_key(2): 4})
                await queue.acknowledge(peer_id(1), document_id(1), {log_key(1): 3})
                expected = {peer_id(1): {log_key(1): 3, log_key(2): 4}}
                assert await queue.acknowledged(document_id(1)) == expected
            async with open_queue() as queue:
                assert await queue.acknowledged(document_id(1)) == expected

    async def test_nothing_is_acknowledged_at_first(self) -> None:
        async with self.fresh_queue() as queue:
            assert await queue.acknowledged(document_id(1)) == {}

    async def test_what_was_read_does_not_change_afterwards(self) -> None:
        async with self.fresh_queue() as queue:
            heights = {log_key(1): 1}
            await queue.acknowledge(peer_id(1), document_id(1), heights)
            found = await queue.acknowledged(document_id(1))
            heights[log_key(1)] = 5
            await queue.acknowledge(peer_id(1), document_id(1), {log_key(1): 2})
            assert found == {peer_id(1): {log_key(1): 1}}
            assert await queue.acknowledged(document_id(1)) == {peer_id(1): {log_key(1): 2}}

    async def test_many_heights_are_taken_at_once(self) -> None:
        async with self.place() as open_queue:
            heights = {log_key(author): author + 1 for author in range(3_000)}
            async with open_queue() as queue:
                await queue.acknowledge(peer_id(1), document_id(1), heights)
                assert await queue.acknowledged(document_id(1)) == {peer_id(1): heights}
            async with open_queue() as queue:
                assert await queue.acknowledged(document_id(1)) == {peer_id(1): heights}
