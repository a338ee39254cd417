"""Coming up again after a log forked: what is here of it has other names then, and edits that wait name it."""

from collections.abc import Sequence

from domain.crdt.reissue import rename
from domain.document import Document
from domain.ledger.branch import Fork
from domain.operations.operation import Operation
from domain.record import DocumentRecord
from domain.renewal import moved


def is_ours(document: Document, fork: Fork) -> bool:
    """Whether it is one of our logs that forked, in which we must not go on."""
    return fork.rival.root in document.own_logs


def renamed_log(operations: Sequence[Operation], fork: Fork) -> list[Operation]:
    """Give operations of a document under the names that they have once a fork is known."""
    return [
        operation.in_branch(fork.held)
        if operation.log == fork.log and operation.header.seq_num >= fork.first
        else operation
        for operation in operations
    ]


def take_pending(old: Document, fresh: Document, fork: Fork, record: DocumentRecord) -> list[bytes]:
    """Give the edits that wait in a document, for the one that was brought up with the fork.

    Args:
        old: The document without the fork.
        fresh: The same document with it.
        fork: The fork.
        record: Our logs from now on: new ones, if one of ours forked.
    """
    updates, _, _ = old.pending.split()
    if is_ours(old, fork):
        updates = moved(old, updates, {}, record)
    names = fresh.replica.renaming.names_up_to(fork.held)
    return [rename(update, names) for update in updates]
