import asyncio
from itertools import count

import pytest

from adapters.simulation.environment import SimulatedEntropy
from adapters.simulation.link import LinkOptions
from adapters.simulation.network import SimulatedNetwork, SimulatedNetworkInterface
from domain.identity import DeviceKey
from domain.ports.network import NetworkInterface
from tests.contracts.network_interface import NetworkFactory, NetworkInterfaceContract

LINKS = {
    "instant": LinkOptions(delay_s=0.0),
    "plain": LinkOptions(),
    "jittery": LinkOptions(delay_s=0.005, jitter_s=0.03),
    "narrow": LinkOptions(delay_s=0.002, bytes_per_s=12_500_000.0),
}


class TestSimulatedNetworkInterface(NetworkInterfaceContract):
    @pytest.fixture(params=LINKS)
    async def open_network(self, request: pytest.FixtureRequest, seed: int) -> NetworkFactory:
        options = LINKS[request.param]
        network = SimulatedNetwork(asyncio.get_running_loop(), seed, options=options)
        numbers = count(1)

        def make(key: DeviceKey, *, network_id: str = "contract") -> NetworkInterface:
            number = next(numbers)
            return SimulatedNetworkInterface(
                network,
                peer=key.peer,
                address=f"host-{number}:1",
                entropy=SimulatedEntropy(seed, f"host-{number}"),
                network_id=network_id,
            )

        return make
