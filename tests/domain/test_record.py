"""What a device keeps of a document besides its operations is read as it was written."""

from pycrdt import Doc, Text

from domain import limits
from domain.crdt.reissue import rename
from domain.crdt.walker import walk_update
from domain.identifiers import LogId
from domain.record import DocumentRecord, Rescue


def test_edit_that_grew_by_the_name_of_the_new_log_can_be_read_again() -> None:
    document: Doc[Text] = Doc(client_id=1)
    text = document.get("body", type=Text)
    with document.transaction():
        text.insert(0, "x" * (limits.UPDATE_BYTES_MAX - 4_100))
        for _ in range(500):
            text.insert(0, "y")
    update = document.get_update()
    walk_update(update)
    assert len(update) <= limits.UPDATE_BYTES_MAX
    moved = rename(update, {1: [(0, limits.CLIENT_ID_MAX)]})
    assert len(moved) > limits.BODY_BYTES_MAX
    record = DocumentRecord(
        name="notes",
        control_log=LogId(bytes(32)),
        content_log=LogId(bytes(32)),
        rescue=Rescue(discard={}, updates=(moved,)),
    )
    assert DocumentRecord.decode(record.encode()) == record
