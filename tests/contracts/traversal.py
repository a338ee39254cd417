"""What every `Traversal` keeps to."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest

from domain.connectivity.address import Address
from domain.connectivity.candidate import Candidate, CandidateKind, is_probable
from domain.connectivity.close_codes import CloseCode
from domain.connectivity.nat import UNKNOWN, Mapping, NatBehavior
from domain.connectivity.probe import ProbeKey
from domain.connectivity.verdict import NatVerdict
from domain.errors import DialError
from domain.identity import DeviceKey
from domain.limits import CANDIDATES_MAX
from domain.ports.network import Connection, NetworkInterface
from domain.ports.traversal import Traversal
from tests.contracts.connected_peers import device, round_trips, running


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """One node, as far as this contract goes; `cut` takes it off the network, `mend` puts it back."""

    key: DeviceKey
    network: NetworkInterface
    traversal: Traversal
    workers: Sequence[Callable[[], Coroutine[None, None, None]]]
    cut: Callable[[], None]
    mend: Callable[[], None]


@asynccontextmanager
async def at_work(alice: Party, bob: Party) -> AsyncIterator[None]:
    """Start both, with everything that has to run."""
    async with running(alice.network, bob.network):
        workers = [*alice.workers, *bob.workers]
        tasks = [asyncio.create_task(worker()) for worker in workers]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def probe_keys(alice: Party, bob: Party, secret: bytes = bytes(32)) -> tuple[ProbeKey, ProbeKey]:
    one, other = alice.key.peer, bob.key.peer
    return (
        ProbeKey(secret, context=b"contract", own=one, peer=other),
        ProbeKey(secret, context=b"contract", own=other, peer=one),
    )


async def candidates(party: Party) -> tuple[Candidate, ...]:
    return await party.traversal.candidates(with_relay=False, is_fresh=False)


async def meet(alice: Party, bob: Party) -> tuple[Connection, Connection]:
    """Let both punch, and Alice dial."""
    ours, theirs = probe_keys(alice, bob)
    alice.traversal.punch(bob.key.peer, ours, await candidates(bob), bob.traversal.nat)
    bob.traversal.punch(alice.key.peer, theirs, await candidates(alice), alice.traversal.nat)
    accepting = asyncio.create_task(bob.network.accept())
    near = await alice.traversal.dial_punched(bob.key.peer)
    return near, await accepting


class TraversalContract:
    """Inherited by the tests of an adapter, which give the fixture `parties`: two that could reach each other."""

    async def test_two_that_punch_at_once_meet(self, parties: tuple[Party, Party]) -> None:
        alice, bob = parties
        async with at_work(alice, bob):
            near, far = await meet(alice, bob)
            assert (near.peer, far.peer) == (bob.key.peer, alice.key.peer)
            await round_trips(near, far)
            assert alice.traversal.is_relayed(bob.key.peer) is False

    async def test_candidates_are_places_where_another_machine_can_be(
        self, parties: tuple[Party, Party]
    ) -> None:
        async with at_work(*parties):
            found = await candidates(parties[0])
            assert 1 <= len(found) <= CANDIDATES_MAX
            assert all(is_probable(each.address) for each in found)
            assert len(set(found)) == len(found)

    async def test_who_was_not_offered_cannot_be_dialled(
        self, parties: tuple[Party, Party]
    ) -> None:
        alice, bob = parties
        async with at_work(alice, bob):
            with pytest.raises(DialError):
                await alice.traversal.dial_punched(bob.key.peer)

    async def test_where_nobody_answers_nobody_is_met(self, parties: tuple[Party, Party]) -> None:
        alice, bob = parties
        nowhere = Candidate(CandidateKind.HOST, Address("192.0.2.77", 9))
        async with at_work(alice, bob):
            alice.traversal.punch(bob.key.peer, probe_keys(alice, bob)[0], (nowhere,), UNKNOWN)
            with pytest.raises(DialError):
                await alice.traversal.dial_punched(bob.key.peer)
            assert alice.traversal.is_relayed(bob.key.peer) is None

    async def test_who_has_another_secret_is_not_met(self, parties: tuple[Party, Party]) -> None:
        alice, bob = parties
        async with at_work(alice, bob):
            ours, _ = probe_keys(alice, bob)
            _, wrong = probe_keys(alice, bob, secret=b"x" * 32)
            alice.traversal.punch(bob.key.peer, ours, await candidates(bob), UNKNOWN)
            bob.traversal.punch(alice.key.peer, wrong, await candidates(alice), UNKNOWN)
            with pytest.raises(DialError):
                await alice.traversal.dial_punched(bob.key.peer)

    async def test_without_a_relay_nobody_is_dialled_by_it(
        self, parties: tuple[Party, Party]
    ) -> None:
        alice, bob = parties
        async with at_work(alice, bob):
            assert not alice.traversal.has_relay
            with pytest.raises(DialError):
                await alice.traversal.dial_by_relay(bob.key.peer, bob.network.addresses)

    async def test_under_another_key_we_are_somebody_else(
        self, parties: tuple[Party, Party]
    ) -> None:
        alice, bob = parties
        async with at_work(alice, bob):
            near, far = await meet(alice, bob)
            accepting = asyncio.create_task(bob.network.accept())
            other = await alice.traversal.dial_as(
                device(99), bob.key.peer, [near.remote_address], by_relay=False
            )
            seen = await accepting
            assert seen.peer == device(99).peer
            assert seen.instance != far.instance
            await round_trips(other, seen)

    async def test_silence_is_trouble(self, parties: tuple[Party, Party]) -> None:
        alice, bob = parties
        async with at_work(alice, bob):
            near, far = await meet(alice, bob)
            await round_trips(near, far)
            assert not alice.traversal.is_dark(bob.key.peer)
            bob.cut()
            assert await alice.traversal.trouble() == bob.key.peer
            assert alice.traversal.is_dark(bob.key.peer)

    async def test_no_way_leads_anywhere_once_the_network_is_closed(
        self, parties: tuple[Party, Party]
    ) -> None:
        alice, bob = parties
        async with at_work(alice, bob):
            await meet(alice, bob)
            await alice.network.close(CloseCode.NORMAL, "done")
            assert not alice.traversal.is_dark(bob.key.peer)
            assert alice.traversal.is_relayed(bob.key.peer) is None

    async def test_who_comes_back_to_a_network_is_told(self, parties: tuple[Party, Party]) -> None:
        alice, bob = parties
        async with at_work(alice, bob):
            near, far = await meet(alice, bob)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(3.0):  # nothing has happened
                    await bob.traversal.moved()
            bob.cut()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(3.0):  # there is no network
                    await bob.traversal.moved()
            bob.mend()
            async with asyncio.timeout(5.0):
                await bob.traversal.moved()
                await round_trips(near, far)

    async def test_it_does_not_go_by_what_was_known_elsewhere(
        self, parties: tuple[Party, Party]
    ) -> None:
        alice, _ = parties
        blocked = NatVerdict(
            behavior=NatBehavior(Mapping.BLOCKED), measured_us=1, local=("192.0.2.77",)
        )
        async with at_work(*parties):
            alice.traversal.recall(blocked)
            assert alice.traversal.verdict != blocked
            assert alice.traversal.nat.mapping is not Mapping.BLOCKED

    async def test_it_says_what_it_knows(self, parties: tuple[Party, Party]) -> None:
        alice, _ = parties
        async with at_work(*parties):
            report = await alice.traversal.examine()
            assert report.nat == alice.traversal.nat
            assert report.local
            assert report.turn == ()
