"""What the clocks of a forked log mean: its branches use the same ones, so each has client ids of its own here.

An operation that builds on one branch alone may name its structs as its author did, or by the ids of the branch; one
that builds on several must use those. What it says follows from the operation and its causal past, as all rules do.
"""

from collections.abc import Mapping, Sequence

from domain.crdt.reissue import Names
from domain.identifiers import LogKey
from domain.ledger.branch import branch_client
from domain.ledger.ledger import Ledger
from domain.ledger.log import LogState
from domain.ledger.reach import Vector
from domain.ledger.staircase import Staircase


class Renaming:
    """Gives the clocks of forked logs their names.

    Args:
        ledger: The ledger of the document.
        ends: For each client id, by its name in the document, where it stands along its log.
    """

    def __init__(self, ledger: Ledger, ends: Mapping[int, Staircase]) -> None:
        self._ledger = ledger
        self._ends = ends

    def names(self, log: LogKey, past: Vector) -> Names:
        """Give the names of what an operation of that log, with that causal past, says."""
        names: dict[int, Sequence[tuple[int, int]]] = {}
        for logs in self._ledger.forks.logs.values():
            if logs and logs[0].is_content:
                own = self._ledger.log(log) if logs[0].root == self._root(log) else None
                names |= self._along(_chain(logs, past) if own is None else self._up_to(own))
        return names

    def names_up_to(self, log: LogKey) -> Names:
        """Give the names of what was said by who knew that branch and no other of its log."""
        state = self._ledger.log(log)
        return {} if state is None or not state.is_content else self._along(self._up_to(state))

    def originals(self, log: LogKey) -> Mapping[int, int]:
        """Give, for the ids of a branch, those that stand in its operations."""
        state = self._ledger.log(log)
        if state is None or not state.is_branch:
            return {}
        clients = self._ledger.claims.clients_of(state.root)
        return {branch_client(client, log): client for client in clients}

    def _root(self, log: LogKey) -> LogKey:
        state = self._ledger.log(log)
        return log if state is None else state.root

    def _up_to(self, log: LogState) -> Sequence[LogState]:
        chain = [log]
        while (parent := chain[0].parent) is not None:
            chain.insert(0, self._ledger.log_in(parent))
        return chain

    def _along(self, chain: Sequence[LogState]) -> Names:
        """Name the clocks of the log that a chain of branches is of, one branch after the other."""
        if not chain:
            return {}
        names: dict[int, list[tuple[int, int]]] = {}
        for client in self._ledger.claims.clients_of(chain[0].root):
            since = 0
            for log in chain:
                name = branch_client(client, log.key) if log.is_branch else client
                if log.is_branch:
                    names.setdefault(client, []).append((since, name))
                steps = self._ends.get(name)
                since += steps.last if steps is not None else 0
        return names


def _chain(logs: Sequence[LogState], past: Vector) -> Sequence[LogState]:
    """Give the branches of a log in a causal past, from its beginning, as far as there is one way to go."""
    seen = [log for log in logs if past.get(log.slot, 0) > log.base]
    chain: list[LogState] = []
    while True:
        parent = chain[-1].slot if chain else None
        following = [log for log in seen if log.parent == parent]
        if len(following) != 1:
            return chain
        chain += following
