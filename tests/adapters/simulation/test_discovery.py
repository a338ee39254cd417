"""The simulated local network keeps to the port, whatever it loses and repeats."""

import asyncio

import pytest

from adapters.simulation.discovery import SimulatedDiscovery, SimulatedLan
from tests.contracts.discovery import DiscoveryContract


class TestSimulatedDiscovery(DiscoveryContract):
    @pytest.fixture(autouse=True)
    async def _lan(self, seed: int) -> None:
        self.lan = SimulatedLan(asyncio.get_running_loop(), seed)

    def discovery(self, *addresses: str) -> SimulatedDiscovery:
        return SimulatedDiscovery(self.lan, addresses)
