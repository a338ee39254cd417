"""Going on in new logs: with which record, and what of our edits comes along."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from domain.crdt.reissue import move_client
from domain.document import Document
from domain.identifiers import LogId, LogKey
from domain.ledger.claim import client_id
from domain.operations.operation import Operation
from domain.ports.environment import Entropy
from domain.record import DocumentRecord, Rescue


def with_new_logs(record: DocumentRecord, entropy: Entropy) -> DocumentRecord:
    """Give a record with two fresh logs; to be kept before it is used."""
    return replace(
        record,
        control_log=LogId(entropy.draw(LogId.LENGTH)),
        content_log=LogId(entropy.draw(LogId.LENGTH)),
    )


def plan_rescue(
    document: Document,
    ends: Mapping[LogKey, int],
    own: Sequence[Operation],
    record: DocumentRecord,
) -> Rescue:
    """Tell what is to be done so that the ends of some logs can be deleted here and our edits stay, pending ones too.

    Args:
        document: The document, still with its old logs.
        ends: From which sequence number on each log goes.
        own: Our operations among these, in log order.
        record: Our record with the new logs.
    """
    updates = [
        update for operation in own if (update := document.replica.read(operation)) is not None
    ]
    updates += document.pending
    return Rescue(
        discard=ends, updates=tuple(moved(document, update, ends, record) for update in updates)
    )


def moved(
    document: Document, update: bytes, ends: Mapping[LogKey, int], record: DocumentRecord
) -> bytes:
    """Give an edit of ours, which was made after the end of our log, under the client id of our new log."""
    log, client = document.author.content_log, document.pending.client
    end = ends.get(log, document.author.next_seq_num(log))
    new = client_id(LogKey(document.key.peer, record.content_log))
    return move_client(update, client, since=document.replica.clock_before(client, end), to=new)
