"""What every operation store must pass about the sealed records that change with operations."""

import pytest

from domain.errors import StorageError
from tests.contracts.operation_store import (
    OperationStoreContract,
    document_id,
    log_key,
    make_log,
    make_operation,
)


class SealedRecordsContract(OperationStoreContract):
    """The laws of records, and with them all others of `OperationStore`."""

    async def test_records_change_with_the_operations_that_they_come_with(self) -> None:
        first, second = make_log(1, 1), make_log(1, 1, first=1)
        async with self.place() as open_store:
            async with open_store() as store:
                await store.append(document_id(1), first, {b"a": b"1", b"b": b"2"})
                await store.append(document_id(2), make_log(2, 1), {b"a": b"another's"})
                await store.append(document_id(1), second, {b"a": b"3", b"b": None, b"c": b"4"})
                await store.append(document_id(1), [], {b"d": b"5", b"unknown": None})
            async with open_store() as store:
                expected = {b"a": b"3", b"c": b"4", b"d": b"5"}
                assert await store.records(document_id(1)) == expected
                assert await store.records(document_id(2)) == {b"a": b"another's"}
                assert await store.records(document_id(3)) == {}
                await store.forget(document_id(1))
                assert await store.records(document_id(1)) == {}
                assert await store.records(document_id(2)) == {b"a": b"another's"}

    async def test_records_of_the_node_itself_outlive_documents(self) -> None:
        async with self.place() as open_store:
            async with open_store() as store:
                assert await store.own_records() == {}
                await store.append(document_id(1), make_log(1, 1), {b"a": b"the document's"})
                for name, sealed in ((b"a", b"1"), (b"b", b"2"), (b"a", b"3"), (b"c", b"4")):
                    await store.save_own_record(name, sealed)
                await store.save_own_record(b"b", None)
                await store.save_own_record(b"unknown", None)
                await store.forget(document_id(1))
            async with open_store() as store:
                assert await store.own_records() == {b"a": b"3", b"c": b"4"}
                assert await store.records(document_id(1)) == {}

    async def test_records_stay_as_they_were_when_an_operation_has_no_place(self) -> None:
        async with self.fresh_store() as store:
            await store.append(document_id(1), make_log(1, 2), {b"a": b"before"})
            fork = make_operation(log_key(1), 1, salt=1)
            with pytest.raises(StorageError):
                await store.append(document_id(1), [fork], {b"a": b"after", b"b": b"new"})
            assert await store.records(document_id(1)) == {b"a": b"before"}

    async def test_an_operation_that_is_stored_already_still_changes_its_records(self) -> None:
        async with self.fresh_store() as store:
            await store.append(document_id(1), make_log(1, 2), {b"a": b"before"})
            await store.append(document_id(1), make_log(1, 2), {b"a": b"after"})
            assert await store.records(document_id(1)) == {b"a": b"after"}
