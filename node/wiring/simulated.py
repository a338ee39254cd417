"""Simulated environments: virtual time, simulated disks, and simulated links, or datagrams under real QUIC."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, TypeVar

from adapters.quic.network import QuicNetwork
from adapters.quic.socket import DatagramSocket, Receiver, open_loop_socket
from adapters.simulation.internet.machine import InternetMachine
from adapters.simulation.link import LinkOptions, TraceEvent
from adapters.simulation.loop import run
from adapters.simulation.network import SimulatedNetwork
from adapters.simulation.pairwise import SimulatedPairwiseChannel
from adapters.simulation.storage import MemoryDatabase
from adapters.simulation.world import SimulatedMachine, SimulatedWorld
from domain.connectivity.address import Address
from domain.ports.network import NetworkInterface
from node.config import NodeConfig
from node.environment import Environment
from node.wiring.traversal import make_traversal, rendezvous_servers

T = TypeVar("T")


@asynccontextmanager
async def simulated_adapters(
    machine: SimulatedMachine, config: NodeConfig
) -> AsyncIterator[Environment]:
    """Open adapters over a machine of a simulated world; `config.listen` has no meaning there.

    Raises:
        StorageError: The machine crashed.
        NetworkError: Another node runs on the machine.
    """
    async with machine.open_database() as database:
        network = machine.open_network(config.network_id)
        await network.start()
        yield _simulated_environment(machine, database, network)


@asynccontextmanager
async def simulated_quic_adapters(
    machine: InternetMachine, config: NodeConfig
) -> AsyncIterator[Environment]:
    """Open adapters over a machine of a simulated internet: the production transport over simulated datagrams.

    Without `config.listen` the node listens on the first address of its host.

    Raises:
        StorageError: The machine crashed.
        NetworkError: The address cannot be listened on.
    """

    async def open_socket(address: Address, receiver: Receiver) -> DatagramSocket:
        with machine.host.entered():
            return await open_loop_socket(address, receiver)

    async with machine.open_database() as database:
        network = QuicNetwork(
            key=machine.key,
            listen=config.listen or machine.address,
            network_id=config.network_id,
            congestion_control=config.congestion_control,
            clock=machine.clock,
            entropy=machine.entropy,
            open_socket=open_socket,
            local_addresses=machine.local_addresses,
        )
        traversal = make_traversal(
            network,
            config,
            machine.key,
            machine.clock,
            machine.entropy,
            find_route=machine.find_gateway_route,
            entered=machine.host.entered,
        )
        await network.start()
        environment = _simulated_environment(machine, database, network)
        yield replace(
            environment,
            workers=[*environment.workers, *traversal.workers()],
            traversal=traversal,
            rendezvous=rendezvous_servers(config),
            serves_anybody=config.is_rendezvous,
        )


def _simulated_environment(
    machine: SimulatedMachine, database: MemoryDatabase, network: NetworkInterface
) -> Environment:
    return Environment(
        key=machine.key,
        storage_key=machine.storage_key,
        network=network,
        store=database.store,
        queue=database.queue,
        pairwise=SimulatedPairwiseChannel(machine.key, machine.entropy),
        clock=machine.clock,
        entropy=machine.entropy,
        workers=database.workers,
        close_store=database.close,
    )


def run_in_virtual_time(
    scenario: Callable[[int], Coroutine[Any, Any, T]], seed: int, *, virtual_s_max: float
) -> T:
    """Run a scenario on a loop whose time passes only while everybody waits; see `adapters.simulation.loop.run`."""
    return run(scenario, seed, virtual_s_max=virtual_s_max)


def simulated_world(seed: int, report: Callable[[str, str, str, bool], None]) -> SimulatedWorld:
    """Make a world on the running loop.

    Args:
        seed: What chance follows.
        report: Told of everything on the network: what, from whom, to whom, and whether on a control channel.
    """

    def pass_on(event: TraceEvent) -> None:
        report(event.kind.value, event.sender, event.receiver, not event.channel)

    loop = asyncio.get_running_loop()
    return SimulatedWorld(loop, seed, network=SimulatedNetwork(loop, seed, report=pass_on))


def simulated_link(
    *,
    delay_s: float,
    jitter_s: float,
    bytes_per_s: float | None,
    connection_lifetime_s: float | None,
) -> LinkOptions:
    """Say how a link of a simulated network behaves; see `LinkOptions`."""
    return LinkOptions(
        delay_s=delay_s,
        jitter_s=jitter_s,
        bytes_per_s=bytes_per_s,
        connection_lifetime_s=connection_lifetime_s,
    )
