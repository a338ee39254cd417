"""The simulated pairwise channel passes the contract, and repeats what a seed says."""

from adapters.simulation.pairwise import SimulatedPairwiseChannel
from domain.identity import DeviceKey
from tests.contracts.pairwise_channel import (
    ALICE,
    BOB,
    CONTEXT,
    Draws,
    PairwiseChannelContract,
    own_prekey,
)


class TestSimulatedPairwiseChannel(PairwiseChannelContract):
    draws = Draws(0)

    def channel(self, key: DeviceKey) -> SimulatedPairwiseChannel:
        return SimulatedPairwiseChannel(key, self.draws)


async def test_the_same_entropy_makes_the_same_message() -> None:
    messages = {
        (
            await SimulatedPairwiseChannel(ALICE, Draws(7)).start(
                BOB.peer, own_prekey(BOB).prekey, b"x", context=CONTEXT
            )
        ).message
        for _ in range(2)
    }
    assert len(messages) == 1
