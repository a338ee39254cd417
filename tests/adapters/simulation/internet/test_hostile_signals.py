"""What strangers achieve with signals: no node ends, floods anybody, or tells more than it has to."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from adapters.quic.network import QuicNetwork
from adapters.simulation.internet.machine import NODE_PORT
from adapters.simulation.internet.reproducible import reproducible_transport
from domain.connectivity.candidate import Candidate
from domain.connectivity.nat import UNKNOWN
from domain.connectivity.offer import Offer, seal_offer
from domain.connectivity.signal import Deliver, Signal, encode_signal, signal_channel
from domain.errors import DialError
from domain.identifiers import PeerId
from domain.identity import DeviceKey
from domain.ports.network import Channel, Connection
from node import Node, NodeConfig
from tests.adapters.simulation.internet.nat_lab import LISTEN, NatLab
from tests.unsound_keys import MIXED, NO_POINT

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
