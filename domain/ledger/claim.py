"""Whose each CRDT client id is.

Two writers with one client id make a document diverge without a sign (equal state vectors, different text), so an id
belongs to exactly one content log. The id that is derived from a log belongs to that log, whoever else claims it. The
others belong to the log that an operation claims them for; of several such claims, which only a hostile or broken
device makes, the one with the lowest operation id counts. All are kept, so that replicas which have the same ones
answer alike, in whatever order they came.
"""

from bisect import insort
from typing import NamedTuple

from blake3 import blake3

from domain import codec, limits
from domain.errors import OperationError
from domain.identifiers import LogId, LogKey, OperationId, PeerId
from domain.ledger.branch import branch_client
from domain.ledger.reach import Vector


def client_id(log: LogKey) -> int:
    """Derive the client id of a content log: 53 bits, since Yjs keeps client ids in JavaScript numbers."""
    digest = blake3(log.author + log.log_id, derive_key_context="culm client id v1").digest()
    return int.from_bytes(digest[:8], "little") % (limits.CLIENT_ID_MAX + 1)


class ExplicitClaim(NamedTuple):
    """A claim operation: its id, its place, and the log that it claims for."""

    operation_id: OperationId
    slot: int
    seq_num: int
    log: LogKey


class Claims:
    """Whose each client id is, by everything that this replica has."""

    def __init__(self) -> None:
        self._derived: dict[int, LogKey] = {}
        self._explicit: dict[int, list[ExplicitClaim]] = {}  # the one that counts first
        self.contested: set[int] = set()
        """Ids whose owner has changed since this was last cleared: content that used them must be judged again."""

    def owner(self, client: int) -> LogKey | None:
        """Give the log that the id belongs to; None while it is free."""
        derived = self._derived.get(client)
        if derived is not None:
            return derived
        claims = self._explicit.get(client)
        return claims[0].log if claims else None

    def may_write(self, client: int, log: LogKey, past: Vector) -> bool:
        """Whether an operation of that log, with that causal past, may bring structs of that client."""
        if client in self._derived:
            return self._derived[client] == log
        claims = self._explicit.get(client, [])
        return any(
            claim.log == log == claims[0].log and claim.seq_num < past.get(claim.slot, 0)
            for claim in claims
        )

    def derive(self, log: LogKey) -> None:
        """Take a new content log into account."""
        client = client_id(log)
        if client in self._explicit:
            self.contested.add(client)
        self._derived.setdefault(client, log)

    def derive_branch(self, root: LogKey, branch: LogKey) -> None:
        """Take a branch of a forked content log into account: it has ids of its own, one for each of the log's."""
        for client in self.clients_of(root):
            name = branch_client(client, branch)
            if name in self._explicit:
                self.contested.add(name)
            self._derived.setdefault(name, branch)

    def clients_of(self, log: LogKey) -> list[int]:
        """List the ids that operations of a log may use, its own first."""
        claimed = (
            client
            for client, claims in self._explicit.items()
            if any(claim.log == log for claim in claims)
        )
        return [client_id(log), *claimed]

    def check(self, clients: tuple[int, ...], log: LogKey, past: Vector) -> None:
        """Check a claim at its place.

        Raises:
            OperationError: One of the ids belongs, in that causal past, to another log.
        """
        for client in clients:
            for known in self._explicit.get(client, ()):
                if known.log != log and known.seq_num < past.get(known.slot, 0):
                    raise OperationError(
                        "already-claimed", f"client id {client} belongs to another log"
                    )

    def claim(self, clients: tuple[int, ...], claim: ExplicitClaim) -> None:
        """Take a checked claim into account."""
        for client in clients:
            known = self._explicit.setdefault(client, [])
            if known and known[0].log != claim.log and claim < known[0]:
                self.contested.add(client)
            insort(known, claim)

    def to_value(self) -> codec.Value:
        """Give what `restore` reads (derived ids are derived again from the logs)."""
        return [
            (
                client,
                claim.operation_id,
                claim.slot,
                claim.seq_num,
                claim.log.author,
                claim.log.log_id,
            )
            for client, claims in self._explicit.items()
            for claim in claims
        ]

    def restore(self, value: object) -> None:
        """Read what `to_value` gave."""
        for entry in codec.take_list(value, maximum=2**32):
            client, operation_id, slot, seq_num, author, log_id = codec.take_list(entry, maximum=6)
            claim = ExplicitClaim(
                OperationId(codec.take_bytes(operation_id, maximum=32)),
                codec.take_int(slot, maximum=2**32),
                codec.take_int(seq_num, maximum=2**32),
                LogKey(
                    PeerId(codec.take_bytes(author, maximum=32)),
                    LogId(codec.take_bytes(log_id, maximum=32)),
                ),
            )
            client = codec.take_int(client, maximum=limits.CLIENT_ID_MAX)
            self._explicit.setdefault(client, []).append(claim)
