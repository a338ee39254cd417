"""A whole simulated world: one network, and machines that crash and start again.

A machine keeps what a computer keeps when its node dies: its disk, its keys, and where its entropy had got to.
"""

import asyncio
from contextlib import AbstractAsyncContextManager
from typing import Final

from adapters.simulation.disk import SimulatedDisk
from adapters.simulation.environment import SimulatedClock, SimulatedEntropy
from adapters.simulation.network import SimulatedNetwork, SimulatedNetworkInterface
from adapters.simulation.storage import MemoryDatabase
from domain.identity import SEED_BYTES, DeviceKey

NODE_PORT: Final = 1
STORAGE_KEY_BYTES: Final = 32


class SimulatedMachine:
    """A host of the network, with a disk of its own.

    Args:
        network: The network that it is on.
        seed: What chance follows, together with the name.
        name: Its host name.
    """

    def __init__(self, network: SimulatedNetwork, seed: int, name: str) -> None:
        self.name = name
        self.clock = SimulatedClock(network.loop)
        self.entropy = SimulatedEntropy(seed, name)
        self.disk = SimulatedDisk(network.loop, seed, name)
        self.key = DeviceKey(self.entropy.draw(SEED_BYTES))
        self.storage_key = self.entropy.draw(STORAGE_KEY_BYTES)
        self._network = network

    @property
    def address(self) -> str:
        """Where its node listens."""
        return f"{self.name}:{NODE_PORT}"

    def open_network(
        self, network_id: str = "culm", *, port: int = NODE_PORT
    ) -> SimulatedNetworkInterface:
        """Make the network interface of one run of its node, not yet started."""
        return SimulatedNetworkInterface(
            self._network,
            peer=self.key.peer,
            address=f"{self.name}:{port}",
            entropy=self.entropy,
            network_id=network_id,
        )

    def open_database(self) -> AbstractAsyncContextManager[MemoryDatabase]:
        """Open the stores of one run of its node, and close them in good order at the end."""
        return MemoryDatabase.open(self.disk)

    def crash(self) -> None:
        """Cut everything off at once; whatever the node still does has no effect. Cancel its tasks next."""
        self._network.crash(self.name)
        self.disk.crash()


class SimulatedWorld:
    """A network with machines.

    Args:
        loop: Whose time it uses.
        seed: What chance follows.
        network: The network, if it is not to be an ordinary one.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        seed: int,
        *,
        network: SimulatedNetwork | None = None,
    ) -> None:
        self.network = network or SimulatedNetwork(loop, seed)
        self._seed = seed
        self._machines: dict[str, SimulatedMachine] = {}

    def machine(self, name: str) -> SimulatedMachine:
        """The machine of that name, made on first use."""
        machine = self._machines.get(name)
        if machine is None:
            machine = self._machines[name] = SimulatedMachine(self.network, self._seed, name)
        return machine
