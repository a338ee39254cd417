"""What every operation store must pass besides: the ends of logs can be deleted."""

from hypothesis import given
from hypothesis import strategies as st

from domain.ports.storage import Snapshot, StoredOperation
from tests.contracts.operation_store import (
    document_id,
    histories,
    in_order,
    law,
    make_operation,
    read_all,
)
from tests.contracts.sealed_records import SealedRecordsContract


class DiscardingStoreContract(SealedRecordsContract):
    """The laws of `OperationStore`, with `discard`."""

    @law
    @given(history=histories(), data=st.data())
    async def test_ends_of_logs_can_be_discarded(
        self, history: list[StoredOperation], data: st.DataObject
    ) -> None:
        logs = sorted({each.log for each in history})
        ends = {
            log: data.draw(st.integers(min_value=0, max_value=8))
            for log in (data.draw(st.lists(st.sampled_from(logs))) if logs else [])
        }
        kept = [each for each in history if each.seq_num < ends.get(each.log, 1 << 32)]
        async with self.place() as open_store:
            async with open_store() as store:
                await store.append(document_id(1), history)
                await store.append(document_id(2), history)
                sealed = Snapshot(arrival_index=len(history), sealed=b"sealed")
                await store.save_snapshot(document_id(1), sealed)
                for _ in range(2):
                    await store.discard(document_id(1), ends)
                    assert await read_all(store, document_id(1)) == in_order(kept)
                if len(kept) < len(history):
                    assert await store.snapshot(document_id(1)) is None
                places = await store.positions(
                    document_id(1), {each.operation_id for each in history}
                )
                assert set(places) == {each.operation_id for each in kept}
            async with open_store() as store:
                others = [
                    make_operation(each.log, each.seq_num, salt=1)
                    for each in history
                    if each not in kept
                ]
                assert await store.append(document_id(1), others) == len(history)
                assert await read_all(store, document_id(1)) == in_order([*kept, *others])
                assert await read_all(store, document_id(2)) == in_order(history)
                await store.discard(document_id(3), ends)
                assert await read_all(store, document_id(3)) == []
