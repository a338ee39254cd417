"""A table of ways to a peer, and the peer at the other ends of them."""

from collections.abc import Callable, Iterable

from adapters.simulation.environment import SimulatedEntropy
from domain.connectivity.address import Address
from domain.connectivity.candidate import Candidate, CandidateKind
from domain.connectivity.pair import Pair
from domain.connectivity.pairs import Outgoing, PairTable
from domain.connectivity.probe import ProbeKey
from domain.identifiers import PeerId

ALICE, BOB = PeerId(b"a" * 32), PeerId(b"b" * 32)
HERE = Address("198.51.100.1", 1)
DIRECT, OTHER, RELAY = (
    Pair(Address("203.0.113.1", 1)),
    Pair(Address("203.0.113.2", 2)),
    Pair(Address("203.0.113.9", 9), by_relay=True),
)


def key(own: PeerId, name: bytes = b"") -> ProbeKey:
    return ProbeKey(b"s" * 32, context=name, own=own, peer=BOB if own == ALICE else ALICE)


class World:
    """A table of Alice's, and a Bob who answers on some ways after a while.

    Args:
        live: The ways that work.
        follows: Whether Alice follows Bob.
    """

    def __init__(self, *live: Pair, follows: bool = False) -> None:
        self.table = PairTable(SimulatedEntropy(0, "alice").draw, follows=follows)
        self.table.add_key(key(ALICE), is_lasting=True)
        self.bob = key(BOB)
        self.live = set(live)
        self.now = 100.0
        self.sent: list[tuple[float, Pair]] = []

    def offer(self, *pairs: Pair, kind: CandidateKind = CandidateKind.SERVER_REFLEXIVE) -> None:
        for by_relay in (False, True):
            listed = [Candidate(kind, each.address) for each in pairs if each.by_relay == by_relay]
            self.table.add(listed, by_relay=by_relay, now=self.now)

    def answer(self, probes: Iterable[Outgoing]) -> None:
        for pair, data in probes:
            self.sent.append((self.now, pair))
            if pair in self.live:
                ping = self.bob.open(data)
                self.table.receive(self.bob.pong(ping.nonce, HERE), pair, self.now + 0.02)

    def run(self, seconds: float, until: Callable[[], bool] = lambda: False) -> None:
        end = self.now + seconds
        while (at := self.table.next_at()) is not None and at <= end and not until():
            self.now = max(self.now, at)
            self.answer(self.table.due(self.now))
        if not until():
            self.now = end

    def count(self, pair: Pair) -> int:
        return sum(each == pair for _, each in self.sent)
