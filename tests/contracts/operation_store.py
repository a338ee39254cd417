"""What every operation store must pass, and the material for it.

A subclass says where a store lives (`place`); the laws are here. They compare a store with a list:
whatever was appended, in the order in which it was appended.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from random import Random

import pytest
from blake3 import blake3
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.errors import StorageError
from domain.identifiers import DocumentId, LogId, LogKey, OperationId, PeerId, Position
from domain.ports.storage import Arrival, OperationStore, PeerRecord, Snapshot, StoredOperation
from tests.contracts.arrival import check_batches_whole, check_logs_gapless

OpenStore = Callable[[], AbstractAsyncContextManager[OperationStore]]
"""Opens the store of one place; it is closed before it is opened again."""

EVERYTHING = 1 << 40
"""A count or size that nothing here reaches."""

# A law is inherited by each adapter's tests, and opens its own store for each example.
law = settings(
    max_examples=20,
    deadline=None,
    print_blob=True,
    suppress_health_check=[
        HealthCheck.differing_executors,
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
    ],
)


def digest(*parts: object) -> bytes:
    """Make 32 bytes that depend on the parts alone."""
    return blake3(repr(parts).encode()).digest()


def document_id(number: int) -> DocumentId:
    return DocumentId(digest("document", number))


def peer_id(number: int) -> PeerId:
    return PeerId(digest("peer", number))


def log_key(author: int, log: int = 0) -> LogKey:
    return LogKey(peer_id(author), LogId(digest("log", author, log)))


def make_operation(
    log: LogKey, seq_num: int, *, body: bytes | None = b"body", salt: int = 0
) -> StoredOperation:
    """Make an operation; another `salt` is another operation at the same place."""
    header = digest("header", log, seq_num, salt) * 8
    return StoredOperation(
        operation_id=OperationId(blake3(header).digest()),
        log=log,
        seq_num=seq_num,
        header=header,
        body=body,
    )


def make_log(author: int, count: int, *, log: int = 0, first: int = 0) -> list[StoredOperation]:
    """Make the operations of one log from `first` on."""
    key = log_key(author, log)
    return [make_operation(key, seq_num) for seq_num in range(first, first + count)]


_BODIES = st.one_of(st.none(), st.binary(max_size=64), st.just(b"large" * 1_000))


@st.composite
def histories(draw: st.DrawFn, *, size_max: int = 40) -> list[StoredOperation]:
    """Draw operations of a few logs, each log in its order, the logs interleaved."""
    logs = [log_key(author, log) for author in range(3) for log in range(2)]
    heights = dict.fromkeys(logs, 0)
    history: list[StoredOperation] = []
    for log in draw(st.lists(st.sampled_from(logs), max_size=size_max)):
        history.append(make_operation(log, heights[log], body=draw(_BODIES)))
        heights[log] += 1
    return history


@st.composite
def batched_histories(draw: st.DrawFn) -> list[list[StoredOperation]]:
    """Draw a history cut into batches."""
    rest = draw(histories())
    batches = []
    while rest:
        size = draw(st.integers(min_value=1, max_value=len(rest)))
        batches.append(rest[:size])
        rest = rest[size:]
    return batches


def in_order(operations: Sequence[StoredOperation]) -> list[Arrival]:
    """Say what a store must return for a document that these were appended to."""
    return [Arrival(index=index, operation=each) for index, each in enumerate(operations, start=1)]


def page(
    arrivals: Sequence[Arrival], *, after: int, count_max: int, bytes_max: int
) -> list[Arrival]:
    """Cut the page that a store must return, which ends with the one that reaches the bytes."""
    taken: list[Arrival] = []
    size = 0
    for arrival in arrivals:
        if arrival.index <= after:
            continue
        if len(taken) == count_max or size >= bytes_max:
            break
        taken.append(arrival)
        size += len(arrival.operation.header) + len(arrival.operation.body or b"")
    return taken


async def read_all(store: OperationStore, document: DocumentId) -> list[Arrival]:
    return list(await store.read(document, after=0, count_max=EVERYTHING, bytes_max=EVERYTHING))


async def append_noting(
    store: OperationStore,
    document: DocumentId,
    batch: Sequence[StoredOperation],
    done: list[bool],
) -> None:
    """Append, and note that the call returned: it may be cancelled before."""
    await store.append(document, batch)
    done.append(True)


class OperationStoreContract(ABC):
    """The laws of `OperationStore`."""

    @abstractmethod
    def place(self) -> AbstractAsyncContextManager[OpenStore]:
        """Prepare an empty place; what it yields opens the store there, any number of times in turn."""

    @asynccontextmanager
    async def fresh_store(self) -> AsyncIterator[OperationStore]:
        async with self.place() as open_store, open_store() as store:
            yield store

    # --- append and read ---

    @law
    @given(batches=batched_histories())
    async def test_operations_come_back_in_arrival_order(
        self, batches: list[list[StoredOperation]]
    ) -> None:
        async with self.fresh_store() as store:
            count = 0
            for batch in batches:
                count += len(batch)
                assert await store.append(document_id(1), batch) == count
            expected = in_order([each for batch in batches for each in batch])
            assert await read_all(store, document_id(1)) == expected

    @law
    @given(history=histories(), data=st.data())
    async def test_appending_again_changes_nothing(
        self, history: list[StoredOperation], data: st.DataObject
    ) -> None:
        async with self.fresh_store() as store:
            await store.append(document_id(1), history)
            again = data.draw(st.lists(st.sampled_from(history)) if history else st.just([]))
            assert await store.append(document_id(1), again) == len(history)
            assert await read_all(store, document_id(1)) == in_order(history)

    @law
    @given(history=histories(), data=st.data())
    async def test_a_batch_may_hold_stored_and_new_operations(
        self, history: list[StoredOperation], data: st.DataObject
    ) -> None:
        async with self.fresh_store() as store:
            cut = data.draw(st.integers(min_value=0, max_value=len(history)))
            await store.append(document_id(1), history[:cut])
            assert await store.append(document_id(1), [*history, *history]) == len(history)
            assert await read_all(store, document_id(1)) == in_order(history)

    async def test_an_unknown_document_is_empty(self) -> None:
        async with self.fresh_store() as store:
            assert await store.append(document_id(1), []) == 0
            assert await read_all(store, document_id(1)) == []
            assert await store.snapshot(document_id(1)) is None
            assert not await store.positions(document_id(1), [make_log(1, 1)[0].operation_id])
            assert await store.read_operation(document_id(1), Position(log_key(1), 0)) is None

    @law
    @given(history=histories(), data=st.data())
    async def test_a_batch_with_a_taken_place_stores_nothing(
        self, history: list[StoredOperation], data: st.DataObject
    ) -> None:
        history = history or make_log(1, 1)
        async with self.fresh_store() as store:
            await store.append(document_id(1), history)
            victim = data.draw(st.sampled_from(history))
            fork = make_operation(victim.log, victim.seq_num, salt=1)
            batch = make_log(7, 3)
            batch.insert(data.draw(st.integers(min_value=0, max_value=3)), fork)
            with pytest.raises(StorageError):
                await store.append(document_id(1), batch)
            assert await read_all(store, document_id(1)) == in_order(history)
            without_fork = [each for each in batch if each != fork]
            assert await store.append(document_id(1), without_fork) == len(history) + 3

    async def test_a_batch_that_forks_within_itself_stores_nothing(self) -> None:
        async with self.fresh_store() as store:
            first, second = (make_operation(log_key(1), 0, salt=salt) for salt in (1, 2))
            with pytest.raises(StorageError):
                await store.append(document_id(1), [first, second])
            assert await read_all(store, document_id(1)) == []

    async def test_a_conflict_fails_alone_among_concurrent_batches(self) -> None:
        async with self.fresh_store() as store:
            await store.append(document_id(1), make_log(1, 1))
            outcomes: dict[int, bool] = {}

            async def append(number: int) -> None:
                fork = [make_operation(log_key(1), 0, salt=number)] if number % 3 == 0 else []
                try:
                    await store.append(document_id(1), [*make_log(number + 2, 2), *fork])
                except StorageError:
                    outcomes[number] = False
                else:
                    outcomes[number] = True

            async with asyncio.TaskGroup() as group:
                for number in range(3, 33):
                    group.create_task(append(number))
            assert outcomes == {number: number % 3 != 0 for number in range(3, 33)}
            stored = {each.operation.log for each in await read_all(store, document_id(1))}
            good = {log_key(number + 2) for number, succeeded in outcomes.items() if succeeded}
            assert stored == good | {log_key(1)}

    # --- paging ---

    @law
    @given(
        history=histories(),
        after=st.integers(min_value=0, max_value=45),
        count_max=st.integers(min_value=1, max_value=45),
        bytes_max=st.integers(min_value=1, max_value=20_000),
    )
    async def test_a_page_ends_at_the_count_or_with_the_operation_that_reaches_the_bytes(
        self, history: list[StoredOperation], after: int, count_max: int, bytes_max: int
    ) -> None:
        async with self.fresh_store() as store:
            await store.append(document_id(1), history)
            found = await store.read(
                document_id(1), after=after, count_max=count_max, bytes_max=bytes_max
            )
            assert list(found) == page(
                in_order(history), after=after, count_max=count_max, bytes_max=bytes_max
            )

    @law
    @given(
        history=histories(),
        count_max=st.integers(min_value=1, max_value=10),
        bytes_max=st.integers(min_value=1, max_value=6_000),
    )
    async def test_pages_put_together_are_the_whole(
        self, history: list[StoredOperation], count_max: int, bytes_max: int
    ) -> None:
        async with self.fresh_store() as store:
            await store.append(document_id(1), history)
            collected: list[Arrival] = []
            while True:
                after = collected[-1].index if collected else 0
                found = await store.read(
                    document_id(1), after=after, count_max=count_max, bytes_max=bytes_max
                )
                if not found:
                    break
                collected.extend(found)
            assert collected == in_order(history)

    @law
    @given(history=histories(), data=st.data())
    async def test_what_is_missing_is_everything_without_what_is_had(
        self, history: list[StoredOperation], data: st.DataObject
    ) -> None:
        logs = [log_key(author, log) for author in range(4) for log in range(2)]
        heights = st.integers(min_value=0, max_value=12)
        have = data.draw(st.dictionaries(st.sampled_from(logs), heights))
        limits = {
            "after": data.draw(st.integers(min_value=0, max_value=40)),
            "count_max": data.draw(st.sampled_from([1, 3, 10, EVERYTHING])),
            "bytes_max": data.draw(st.sampled_from([1, 700, 9_000, EVERYTHING])),
        }
        async with self.fresh_store() as store:
            await store.append(document_id(1), history)
            found = await store.read_missing(document_id(1), have, **limits)
            lacked = [
                arrival
                for arrival in in_order(history)
                if arrival.operation.seq_num >= have.get(arrival.operation.log, 0)
            ]
            assert list(found) == page(lacked, **limits)

    async def test_what_is_missing_is_found_with_thousands_of_logs_known(self) -> None:
        async with self.fresh_store() as store:
            await store.append(document_id(1), make_log(1, 10))
            have = {log_key(author): 5 for author in range(5_000)}
            found = await store.read_missing(
                document_id(1), have, after=0, count_max=EVERYTHING, bytes_max=EVERYTHING
            )
            assert [each.operation.seq_num for each in found] == [5, 6, 7, 8, 9]

    # --- points ---

    @law
    @given(history=histories())
    async def test_every_operation_is_found_by_id_and_by_place(
        self, history: list[StoredOperation]
    ) -> None:
        async with self.fresh_store() as store:
            await store.append(document_id(1), history)
            stranger = make_log(9, 1)[0]
            places = {each.operation_id: Position(each.log, each.seq_num) for each in history}
            found = await store.positions(document_id(1), {*places, stranger.operation_id})
            assert dict(found) == places
            for each in history:
                place = Position(each.log, each.seq_num)
                assert await store.read_operation(document_id(1), place) == each
            assert await store.read_operation(document_id(1), Position(stranger.log, 0)) is None

    async def test_thousands_of_ids_are_looked_up_at_once(self) -> None:
        async with self.fresh_store() as store:
            history = make_log(1, 3)
            await store.append(document_id(1), history)
            wanted = [OperationId(digest("nobody", number)) for number in range(5_000)]
            wanted += [each.operation_id for each in history]
            found = await store.positions(document_id(1), wanted)
            assert {place.seq_num for place in found.values()} == {0, 1, 2}

    # --- documents ---

    async def test_documents_do_not_mix(self) -> None:
        async with self.fresh_store() as store:
            first, second = document_id(1), document_id(2)
            await store.append(first, make_log(1, 3))
            # The same place in a log, and even the same operation, is free in another document.
            fork = [make_operation(log_key(1), 0, salt=1)]
            assert await store.append(second, fork) == 1
            assert await store.append(second, make_log(1, 2, first=1)) == 3
            assert await read_all(store, first) == in_order(make_log(1, 3))
            assert await read_all(store, second) == in_order(fork + make_log(1, 2, first=1))
            assert not await store.positions(first, [fork[0].operation_id])
            await store.save_snapshot(first, Snapshot(arrival_index=3, sealed=b"one"))
            assert await store.snapshot(second) is None

    async def test_a_document_record_replaces_the_one_before(self) -> None:
        async with self.fresh_store() as store:
            await store.append(document_id(3), make_log(1, 1))
            assert await store.documents() == {}
            await store.save_document(document_id(1), b"old")
            await store.save_document(document_id(2), b"other")
            await store.save_document(document_id(1), b"new")
            assert await store.documents() == {document_id(1): b"new", document_id(2): b"other"}

    async def test_a_snapshot_replaces_the_one_before(self) -> None:
        async with self.fresh_store() as store:
            await store.save_document(document_id(1), b"record")
            for snapshot in (
                Snapshot(arrival_index=0, sealed=b""),
                Snapshot(arrival_index=7, sealed=b"large" * 100_000),
                Snapshot(arrival_index=3, sealed=b"small"),
            ):
                await store.save_snapshot(document_id(1), snapshot)
                assert await store.snapshot(document_id(1)) == snapshot

    async def test_a_forgotten_document_leaves_nothing_and_may_come_again(self) -> None:
        async with self.fresh_store() as store:
            gone, kept = document_id(1), document_id(2)
            for document in (gone, kept):
                await store.save_document(document, b"record")
                await store.append(document, make_log(1, 3))
                await store.save_snapshot(document, Snapshot(arrival_index=3, sealed=b"state"))
            await store.forget(gone)
            await store.forget(gone)
            await store.forget(document_id(3))
            assert await store.documents() == {kept: b"record"}
            assert await read_all(store, gone) == []
            assert await store.snapshot(gone) is None
            assert not await store.positions(gone, [make_log(1, 1)[0].operation_id])
            assert await read_all(store, kept) == in_order(make_log(1, 3))
            fork = [make_operation(log_key(1), 0, salt=1)]
            assert await store.append(gone, fork) == 1
            assert await read_all(store, gone) == in_order(fork)

    # --- peers ---

    async def test_a_peer_record_replaces_the_one_before(self) -> None:
        async with self.fresh_store() as store:
            assert list(await store.peers()) == []
            old = PeerRecord(peer=peer_id(1), addresses=("127.0.0.1:1", "[::1]:2"), seen_us=5)
            new = PeerRecord(peer=peer_id(1), addresses=(), seen_us=2**53)
            other = PeerRecord(peer=peer_id(2), addresses=("näme.example:1",), seen_us=0)
            for record in (old, new, other):
                await store.save_peer(record)
            assert {each.peer: each for each in await store.peers()} == {
                peer_id(1): new,
                peer_id(2): other,
            }

    # --- durability and concurrency ---

    @law
    @given(batches=batched_histories())
    async def test_everything_is_there_after_reopening(
        self, batches: list[list[StoredOperation]]
    ) -> None:
        async with self.place() as open_store:
            record = PeerRecord(peer=peer_id(1), addresses=("127.0.0.1:1",), seen_us=1)
            history: list[StoredOperation] = []
            for batch in batches[:3]:
                async with open_store() as store:
                    history += batch
                    assert await store.append(document_id(1), batch) == len(history)
                    await store.save_document(document_id(1), b"record")
                    await store.save_peer(record)
            async with open_store() as store:
                assert await read_all(store, document_id(1)) == in_order(history)
                assert await store.documents() == ({document_id(1): b"record"} if batches else {})
                assert list(await store.peers()) == ([record] if batches else [])

    @pytest.mark.parametrize("seed", range(3))
    async def test_a_storm_of_cancelled_calls_tears_nothing(self, seed: int) -> None:
        random = Random(seed)
        batches = [make_log(number, random.randint(1, 5)) for number in range(120)]
        async with self.fresh_store() as store:
            done: list[list[bool]] = [[] for _ in batches]
            async with asyncio.TaskGroup() as group:
                for number, batch in enumerate(batches):
                    document = document_id(number % 3)
                    write = group.create_task(append_noting(store, document, batch, done[number]))
                    read = group.create_task(read_all(store, document))
                    for _ in range(random.randint(0, 20)):
                        await asyncio.sleep(0)
                    if random.random() < 0.5:
                        write.cancel()
                    if random.random() < 0.5:
                        read.cancel()
                    if random.random() < 0.2:
                        await read_all(store, document_id(0))
            for document_number in range(3):
                document = document_id(document_number)
                arrivals = await read_all(store, document)
                check_batches_whole(
                    arrivals,
                    {
                        log_key(number): (len(batch), bool(done[number]))
                        for number, batch in enumerate(batches)
                        if number % 3 == document_number
                    },
                )
                assert await store.append(document, make_log(999, 1)) == len(arrivals) + 1

    async def test_concurrent_readers_see_whole_batches_in_order(self) -> None:
        async with self.fresh_store() as store:

            async def write(author: int) -> None:
                for first in range(0, 20, 4):
                    await store.append(document_id(1), make_log(author, 4, first=first))

            async def read() -> None:
                for _ in range(10):
                    arrivals = await read_all(store, document_id(1))
                    assert len(arrivals) % 4 == 0
                    check_logs_gapless(arrivals)

            async with asyncio.TaskGroup() as group:
                for author in range(8):
                    group.create_task(write(author))
                    group.create_task(read())
            assert len(await read_all(store, document_id(1))) == 8 * 20
