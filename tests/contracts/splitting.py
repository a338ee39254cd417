"""What every operation store must pass besides: a log can be cut in two."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import StorageError
from domain.identifiers import Position
from domain.ports.storage import LogCut, Snapshot, StoredOperation
from tests.contracts.discarding import DiscardingStoreContract
from tests.contracts.operation_store import (
    document_id,
    histories,
    in_order,
    law,
    log_key,
    make_log,
    make_operation,
    read_all,
)

REST = log_key(9, 9)


class SplittingStoreContract(DiscardingStoreContract):
    """The laws of `OperationStore`, with `split`."""

    @law
    @given(history=histories(), first=st.integers(min_value=0, max_value=8), data=st.data())
    async def test_logs_can_be_cut_in_two(
        self, history: list[StoredOperation], first: int, data: st.DataObject
    ) -> None:
        logs = sorted({each.log for each in history}) or [log_key(1)]
        log = data.draw(st.sampled_from(logs))
        moved = [
            replace(each, log=REST) if each.log == log and each.seq_num >= first else each
            for each in history
        ]
        cut = LogCut(log=log, first=first, rest=REST)
        rival = make_operation(log_key(9, 8), first, salt=1)
        async with self.place() as open_store:
            async with open_store() as store:
                await store.append(document_id(1), history)
                await store.append(document_id(2), history)
                sealed = Snapshot(arrival_index=len(history), sealed=b"sealed")
                await store.save_snapshot(document_id(1), sealed)
                for _ in range(2):
                    last = await store.split(document_id(1), cut, [rival])
                    assert last == len(history) + 1
                    assert await store.snapshot(document_id(1)) is None
            async with open_store() as store:
                assert await read_all(store, document_id(1)) == in_order([*moved, rival])
                assert await read_all(store, document_id(2)) == in_order(history)
                places = await store.positions(
                    document_id(1), [each.operation_id for each in moved]
                )
                assert places == {
                    each.operation_id: Position(each.log, each.seq_num) for each in moved
                }
                for each in moved:
                    place = Position(each.log, each.seq_num)
                    assert await store.read_operation(document_id(1), place) == each

    async def test_a_split_whose_operations_cannot_be_stored_changes_nothing(self) -> None:
        history = make_log(1, 4)
        cut = LogCut(log=log_key(1), first=2, rest=REST)
        taken = make_operation(log_key(1), 0, salt=1)
        async with self.place() as open_store, open_store() as store:
            await store.append(document_id(1), history)
            with pytest.raises(StorageError):
                await store.split(document_id(1), cut, [taken])
            assert await read_all(store, document_id(1)) == in_order(history)
            assert await store.read_operation(document_id(1), Position(REST, 2)) is None
