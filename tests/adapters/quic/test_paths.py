"""The ways of a node, without its network."""

import asyncio
import gc
import weakref
from collections.abc import Sequence

from adapters.quic.paths import Paths
from adapters.quic.source import Source
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


async def test_two_who_look_for_each_other_at_once_meet_though_a_way_opens_before_the_answers() -> (
    None
):
    """Each probes under the key of its own offer then, when the other has found a way under that of its own."""
    loop = asyncio.get_running_loop()
    alice, bob = PeerId(b"a" * 32), PeerId(b"b" * 32)
    hosts = {alice: "10.0.0.1", bob: "10.0.0.2"}
    ways: dict[PeerId, Paths] = {}

    def wire(own: PeerId, other: PeerId) -> Paths:
        def carry(datagrams: Sequence[bytes], to: Source) -> None:
            assert to[:2] == (hosts[other], 9)
            for each in datagrams:
                loop.call_soon(ways[other].receive, each, (hosts[own], 9))

        return paths(carry)

    def punch(own: PeerId, other: PeerId, offerer: PeerId, *, has_come: bool) -> None:
        key = ProbeKey(b"s" * 32, context=bytes(offerer), own=own, peer=other)
        listed = [Candidate(CandidateKind.HOST, Address(hosts[other], 9))] if has_come else []
        ways[own].punch(other, key, listed, hopeless=False, is_stranger=False)

    pairs = ((alice, bob), (bob, alice))
    ways.update({own: wire(own, other) for own, other in pairs})
    for own, other in pairs:
        punch(own, other, own, has_come=False)
    for own, other in pairs:
        punch(own, other, other, has_come=True)
        await ways[own].punched(other, 5.0)
    for own, other in pairs:  # the answers
        punch(own, other, own, has_come=True)
    for own, other in pairs:
        await ways[own].punched(other, 5.0)
        ways[own].close()
