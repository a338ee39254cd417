"""The ways of a node, without its network."""

import gc
import weakref

from domain.connectivity.address import Address
from domain.connectivity.candidate import Candidate, CandidateKind
from domain.connectivity.probe import ProbeKey
from domain.identifiers import PeerId
from tests.adapters.quic.environment import paths


async def test_nothing_holds_what_was_closed_while_an_offer_was_open() -> None:
    """The timer of an offer runs for a minute: restarts would keep a socket's buffers in memory for each."""
    sent: list[bytes] = []
    ways = paths(lambda datagrams, _: sent.extend(datagrams))
    own, peer = PeerId(b"o" * 32), PeerId(b"p" * 32)
    key = ProbeKey(b"s" * 32, context=b"offer", own=own, peer=peer)
    candidates = [Candidate(CandidateKind.HOST, Address("10.0.0.1", 9))]
    for _ in range(2):
        ways.punch(peer, key, candidates, hopeless=False, is_stranger=False)
    assert sent
    there = weakref.ref(ways)
    ways.close()
    del ways
    gc.collect()
    assert there() is None
