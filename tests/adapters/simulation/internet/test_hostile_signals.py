"""What strangers achieve with signals: no node ends, floods anybody, or tells more than it has to."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

import pytest

from adapters.quic.network import QuicNetwork
from adapters.simulation.internet.internet import PacketEvent, PacketFate
from adapters.simulation.internet.machine import NODE_PORT
from adapters.simulation.internet.nat import PORT_RESTRICTED, SYMMETRIC
from adapters.simulation.internet.reproducible import reproducible_transport
from domain.connectivity.address import Address
from domain.connectivity.candidate import Candidate, CandidateKind
from domain.connectivity.nat import UNKNOWN
from domain.connectivity.offer import Offer, open_offer, seal_offer
from domain.connectivity.probe import ProbeKey
from domain.connectivity.signal import (
    Deliver,
    Forward,
    Nobody,
    Register,
    Signal,
    decode_signal,
    encode_signal,
    signal_channel,
)
from domain.errors import ConnectionLostError, DialError
from domain.identifiers import PeerId
from domain.identity import DeviceKey
from domain.limits import (
    HOST_PROBES_BURST,
    NOBODY_TAGS_MAX,
    PUNCHES_MAX,
    STRANGER_HOST_PROBES_BURST,
    STRANGER_HOST_PROBES_PER_S,
    STRANGER_S_MAX,
)
from domain.ports.network import Channel, Connection
from node import Node, NodeConfig
from tests.adapters.simulation.internet.datagrams import until
from tests.adapters.simulation.internet.nat_lab import LISTEN, RENDEZVOUS, NatLab
from tests.unsound_keys import MIXED, NO_POINT

Heard = TypeVar("Heard", bound=Signal)
VICTIM, STRANGER, THIRD = "198.51.100.50", "198.51.100.60", "198.51.100.77"


@pytest.fixture(autouse=True)
async def _reproducible(seed: int) -> AsyncIterator[None]:
    with reproducible_transport(seed, asyncio.get_running_loop().time):
        yield


class Visit:
    """A stranger that is connected to a node.

    Args:
        network: The stranger's transport.
        connection: The connection.
    """

    def __init__(self, network: QuicNetwork, connection: Connection) -> None:
        self.network = network
        self.connection = connection

    @property
    def signals(self) -> Channel:
        return self.connection.channel(signal_channel(self.connection.binding))

    async def say(self, signal: Signal) -> None:
        await self.signals.send(encode_signal(signal))

    async def hear(self, kind: type[Heard]) -> Heard:
        """Wait for the next signal of a kind."""
        while True:
            signal = decode_signal(await self.signals.receive())
            if isinstance(signal, kind):
                return signal

    def offer(self, key: DeviceKey, candidates: Sequence[Candidate] = ()) -> bytes:
        """A sealed offer of whoever has that key to the node."""
        entropy = self.network._entropy
        offer = Offer(
            offer_id=entropy.draw(16),
            sender=key.peer,
            recipient=self.connection.peer,
            secret=entropy.draw(32),
            expires_us=self.network._clock.timestamp_us() + 30_000_000,
            nat=UNKNOWN,
            candidates=tuple(candidates),
        )
        return seal_offer(offer, key, entropy.draw)


@asynccontextmanager
async def visited(
    lab: NatLab, config: NodeConfig | None = None
) -> AsyncIterator[tuple[Node, Visit]]:
    """A node in public, and a stranger that dials it."""
    lab.internet.public_host("victim", VICTIM)
    lab.internet.public_host("stranger", STRANGER)
    async with (
        lab.node("victim", config or NodeConfig(listen=LISTEN)) as victim,
        lab.stranger("stranger") as network,
    ):
        connection = await network.dial(victim.peer_id, [f"{VICTIM}:{NODE_PORT}"])
        yield victim, Visit(network, connection)


@pytest.mark.parametrize("recipient", [NO_POINT, MIXED.peer])
async def test_a_peer_to_which_nothing_can_be_sealed_cannot_be_reached_and_that_is_all(
    recipient: PeerId, seed: int
) -> None:
    async with visited(NatLab(seed)) as (victim, _):
        assert victim._signalling is not None
        with pytest.raises(DialError, match="wrong-key"):
            await victim._signalling.reach(recipient, bytes(32))


async def test_an_offer_that_cannot_be_answered_leaves_the_node_as_it_is(seed: int) -> None:
    async with visited(NatLab(seed)) as (victim, visit):
        await visit.say(Deliver(visit.offer(MIXED)))
        await asyncio.sleep(5.0)
        assert (await victim.create("still there")).id


class Toll:
    """What reaches a third party that has nothing to do with any of it."""

    def __init__(self, lab: NatLab) -> None:
        self.packets = 0
        lab.internet.public_host("third", THIRD)
        lab.internet.report = self._count

    def _count(self, event: PacketEvent) -> None:
        is_there = event.packet.destination[0] == THIRD
        self.packets += is_there and event.fate is PacketFate.SENT


def third_party(count: int = 16) -> list[Candidate]:
    return [Candidate(CandidateKind.HOST, Address(THIRD, 1_000 + each)) for each in range(count)]


async def test_a_stranger_does_not_make_a_node_flood_a_third_party(seed: int) -> None:
    """Whoever it says to speak for, on however many connections."""
    lab = NatLab(seed)
    toll = Toll(lab)
    async with visited(lab) as (victim, first):
        keys = [DeviceKey(bytes([each]) * 32) for each in range(1, 17)]
        visits = [first]
        for key in keys:
            address = f"{VICTIM}:{NODE_PORT}"
            connection = await first.network.dial(victim.peer_id, [address], key=key)
            visits.append(Visit(first.network, connection))
        for _ in range(int(STRANGER_S_MAX) - 5):  # then they are let go
            for visit, key in zip(visits, [keys[0], *keys], strict=True):
                await visit.say(Deliver(visit.offer(key, third_party())))
            await asyncio.sleep(1.0)
        assert toll.packets < STRANGER_HOST_PROBES_BURST + 40 * STRANGER_HOST_PROBES_PER_S


@pytest.mark.parametrize(
    ("network", "is_stranger", "limit"),
    [
        ("2001:db8::{:x}", True, STRANGER_HOST_PROBES_BURST),
        ("203.0.113.{}", True, STRANGER_HOST_PROBES_BURST),
        ("2001:db8::{:x}", False, HOST_PROBES_BURST),
    ],
)
async def test_many_addresses_of_one_network_get_no_more_probes_than_one(
    network: str, is_stranger: bool, limit: float, seed: int
) -> None:
    async with visited(NatLab(seed)) as (victim, _):
        assert isinstance(victim.environment.network, QuicNetwork)
        paths = victim.environment.network.endpoint.paths
        hosts = [network.format(each) for each in range(1, 255)]
        asked = [paths.may_probe(each, is_stranger=is_stranger) for each in hosts * 40]
        assert sum(asked) == limit


async def test_who_joins_from_one_house_does_not_share_its_probes_with_the_others_there(
    seed: int,
) -> None:
    async with visited(NatLab(seed)) as (victim, _):
        assert isinstance(victim.environment.network, QuicNetwork)
        paths = victim.environment.network.endpoint.paths
        hosts = [f"192.168.1.{each}" for each in range(1, 17)]
        assert all(paths.may_probe(each, is_stranger=True) for each in hosts * 40)


async def test_what_strangers_begin_ends_no_punch_of_ours(seed: int) -> None:
    async with visited(NatLab(seed)) as (victim, _):
        network, own = victim.environment.network, victim.peer_id
        assert isinstance(network, QuicNetwork)
        paths = network.endpoint.paths

        def punch(number: int, *, is_stranger: bool) -> PeerId:
            peer = DeviceKey(number.to_bytes(32, "big")).peer
            key = ProbeKey(bytes(32), context=bytes(16), own=own, peer=peer)
            paths.punch(peer, key, (), hopeless=False, is_stranger=is_stranger)
            return peer

        ours = {punch(each, is_stranger=False) for each in range(PUNCHES_MAX // 2)}
        for each in range(1_000, 1_000 + 2 * PUNCHES_MAX):
            punch(each, is_stranger=True)
        assert ours < set(paths._punches)
        ours |= {punch(each, is_stranger=False) for each in range(PUNCHES_MAX // 2, PUNCHES_MAX)}
        assert ours == set(paths._punches)
        punch(9_999, is_stranger=True)
        assert ours == set(paths._punches)


@pytest.mark.parametrize("is_inviting", [False, True])
async def test_a_stranger_is_told_neither_where_a_node_is_at_home_nor_its_port_at_a_relay(
    is_inviting: bool, seed: int
) -> None:
    """Who is connected already does not need it, though others may be invited."""
    lab = NatLab(seed)
    lab.house("victim", 1, SYMMETRIC)
    lab.internet.public_host("stranger", STRANGER)
    async with lab.servers(), lab.node("victim") as victim, lab.stranger("stranger") as network:
        await asyncio.sleep(5.0)
        if is_inviting:
            await (await victim.create("shared")).invite()
        key = lab.world.machine("stranger").key
        victim.peers.want(key.peer, [f"{STRANGER}:{NODE_PORT}"])
        visit = Visit(network, await network.accept())
        await visit.say(Deliver(visit.offer(key)))
        answer = await visit.hear(Deliver)
        now_us = lab.world.machine("stranger").clock.timestamp_us()
        listed = open_offer(answer.sealed, key, now_us=now_us).candidates
        assert listed
        assert {kind for kind, _ in listed} == {CandidateKind.SERVER_REFLEXIVE}


async def test_a_stranger_is_not_told_by_which_tags_a_node_is_found(seed: int) -> None:
    """At a rendezvous, the tags would say whose they are."""
    async with visited(NatLab(seed)) as (victim, visit):
        await victim.create("shared")
        with pytest.raises(ConnectionLostError, match="share no document"):
            await visit.signals.receive()


async def test_offers_reach_a_node_though_others_registered_its_tags(seed: int) -> None:
    """Four connections that know its tags, and a node whose tags change after that."""
    lab = NatLab(seed)
    lab.house("left", 1, PORT_RESTRICTED)
    lab.internet.public_host("stranger", STRANGER)
    async with (
        lab.servers() as server,
        lab.node("left") as left,
        lab.stranger("stranger") as network,
    ):
        await asyncio.sleep(5.0)
        await left.create("shared")
        assert left._signalling is not None
        tags = left._signalling._own_tags()
        address = [f"{RENDEZVOUS}:{NODE_PORT}"]
        for number in range(1, 5):
            key = DeviceKey(bytes([number]) * 32)
            squatter = Visit(network, await network.dial(server.peer_id, address, key=key))
            await squatter.say(Register(tags))
        await asyncio.sleep(1.0)
        await left.create("another")
        await asyncio.sleep(1.0)
        sealed = bytes(range(100))
        taken = list[bytes]()
        left._signalling._take_offer = lambda link, sealed: taken.append(sealed)  # type: ignore[method-assign]
        caller = await network.dial(server.peer_id, address, key=DeviceKey(bytes([9]) * 32))
        await Visit(network, caller).say(Forward(tags[0], sealed))
        await until(lambda: sealed in taken)


async def test_what_somebody_says_to_know_nobody_under_takes_bounded_memory(seed: int) -> None:
    async with visited(NatLab(seed)) as (victim, visit):
        tags = [number.to_bytes(32, "big") for number in range(2 * NOBODY_TAGS_MAX + 1)]
        for tag in tags:
            await visit.say(Nobody(tag))
        assert victim._signalling is not None
        [link] = victim._signalling._links
        await until(lambda: tags[-1] in link.nobody)
        assert len(link.nobody) <= NOBODY_TAGS_MAX
