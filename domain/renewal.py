"""Going on in new logs: with which record, and what of our edits comes along."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from domain import limits
from domain.crdt.reissue import rename
from domain.crdt.walker import walk_update
from domain.document import Document
from domain.identifiers import LogId, LogKey
from domain.ledger.branch import branch_client
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
    updates += document.pending.split()[0]
    return Rescue(discard=ends, updates=tuple(moved(document, updates, ends, record)))


def moved(
    document: Document,
    updates: Sequence[bytes],
    ends: Mapping[LogKey, int],
    record: DocumentRecord,
) -> list[bytes]:
    """Give edits of ours under client ids of our new log, on which they are the first.

    Args:
        document: The document, still with its old logs.
        updates: What we wrote after the end of our old log, and what is pending, the oldest first.
        ends: From which sequence number on each log goes.
        record: Our record with the new logs.
    """
    old, new = document.author.content_log, LogKey(document.key.peer, record.content_log)
    end = ends.get(old)
    names: dict[int, list[tuple[int, int]]] = {}
    for client in document.ledger.claims.clients_of(old):
        # Where our log was not cut it may have grown meanwhile: by what others had of it.
        since = (
            _first_clock(client, updates)
            if end is None
            else document.replica.clock_before(client, end)
        )
        # What was imported is known by ids that belong to the old log: the new one claims others.
        is_derived = client == document.pending.client
        names[client] = [(since, client_id(new) if is_derived else branch_client(client, new))]
    return [rename(update, names) for update in updates]


def _first_clock(client: int, updates: Iterable[bytes]) -> int:
    starts = (
        section.clock
        for update in updates
        for section in walk_update(update).sections
        if section.client == client
    )
    return next(starts, limits.CLOCK_MAX)
