"""Nodes that send each other numbered messages while the network and the machines fail, as the seed says.

Run as a program it prints a digest of everything that happened, for comparing two processes:
`python -m tests.adapters.simulation.conversation SEED`.
"""

import asyncio
import sys
from random import Random

from blake3 import blake3

from adapters.simulation.link import LinkOptions, TraceEvent
from adapters.simulation.loop import run
from adapters.simulation.network import SimulatedNetwork
from adapters.simulation.world import SimulatedMachine, SimulatedWorld
from domain.errors import ConnectionLostError, NetworkError, StorageError
from domain.limits import CHANNEL_NAME_BYTES
from domain.ports.network import Channel, Connection, NetworkInterface
from tests.contracts.operation_store import document_id, make_log

NAMES = ("alpha", "beta", "gamma")
CONVERSATION_S = 120.0
ROUGH = LinkOptions(delay_s=0.02, jitter_s=0.05, bytes_per_s=1e6, connection_lifetime_s=20.0)


class Talker:
    """A node that dials the others, says something on several channels now and then, and stores what it hears."""

    def __init__(self, machine: SimulatedMachine, world: SimulatedWorld, seed: int) -> None:
        self._machine = machine
        self._others = [world.machine(name) for name in NAMES if name != machine.name]
        self._random = Random(f"{seed} talker {machine.name}")
        self._stored = 0

    async def live(self) -> None:
        """Run until cancelled."""
        network = self._machine.open_network()
        await network.start()
        async with self._machine.open_database() as database, asyncio.TaskGroup() as group:
            self._store = database.store
            for other in self._others:
                group.create_task(self._dial_again_and_again(network, other))
            while True:
                group.create_task(self._listen(await network.accept()))

    async def _dial_again_and_again(
        self, network: NetworkInterface, other: SimulatedMachine
    ) -> None:
        while True:
            await asyncio.sleep(self._random.uniform(0, 3))
            try:
                await self._talk(await network.dial(other.key.peer, [other.address]))
            except NetworkError:
                continue

    async def _talk(self, connection: Connection) -> None:
        for number in range(10_000):
            name = self._random.randrange(4).to_bytes(CHANNEL_NAME_BYTES, "big")
            content = self._random.randbytes(self._random.randint(1, 30_000))
            await connection.channel(name).send(number.to_bytes(4, "big") + content)
            await asyncio.sleep(self._random.expovariate(5))

    async def _listen(self, connection: Connection) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(4):
                name = number.to_bytes(CHANNEL_NAME_BYTES, "big")
                group.create_task(self._hear(connection.channel(name)))

    async def _hear(self, channel: Channel) -> None:
        last = -1
        try:
            while True:
                number = int.from_bytes((await channel.receive())[:4], "big")
                assert number > last, "messages of a channel arrive in order"
                last = number
                self._stored += 1
                await self._store.append(document_id(1), make_log(self._stored, 2))
        except (ConnectionLostError, StorageError):
            return


async def trouble(world: SimulatedWorld, seed: int) -> None:
    """Let things go wrong for as long as the conversation lasts."""
    random = Random(f"{seed} trouble")
    loop = asyncio.get_running_loop()
    tasks: dict[str, asyncio.Task[None]] = {}
    async with asyncio.TaskGroup() as group:
        for name in NAMES:
            tasks[name] = group.create_task(Talker(world.machine(name), world, seed).live())
        while loop.time() < CONVERSATION_S:
            await asyncio.sleep(random.expovariate(1 / 4))
            victim = random.choice(NAMES)
            match random.choice(["partition", "heal", "heal", "break", "crash"]):
                case "partition":
                    world.network.partition([victim])
                case "heal":
                    world.network.heal()
                case "break":
                    world.network.break_connections(victim, random.choice(NAMES))
                case _:
                    world.machine(victim).crash()
                    tasks[victim].cancel()
                    await asyncio.wait([tasks[victim]])
                    tasks[victim] = group.create_task(
                        Talker(world.machine(victim), world, seed).live()
                    )
        for task in tasks.values():
            task.cancel()


async def converse(seed: int) -> list[TraceEvent]:
    """Hold the conversation and give everything that happened."""
    loop = asyncio.get_running_loop()
    trace: list[TraceEvent] = []
    network = SimulatedNetwork(loop, seed, options=ROUGH, report=trace.append)
    await trouble(SimulatedWorld(loop, seed, network=network), seed)
    return trace


def digest(trace: list[TraceEvent]) -> str:
    """Put a trace into one line."""
    state = blake3()
    for event in trace:
        state.update(repr(event).encode())
    return f"{len(trace)} events {state.hexdigest()}"


if __name__ == "__main__":
    print(digest(run(converse, int(sys.argv[1]))))
