"""Where a scenario takes place: on the fast network of messages, or on an internet of datagrams under real QUIC.

Both do the same things wrong, as far as they can; the scenario does not know on which of them it runs.
"""

import asyncio
from abc import abstractmethod
from contextlib import AbstractAsyncContextManager, ExitStack
from enum import Enum
from random import Random
from typing import Final, Protocol

from adapters.simulation.internet.internet import Internet
from adapters.simulation.internet.line import LineOptions
from adapters.simulation.internet.machine import InternetMachine, InternetWorld
from adapters.simulation.internet.nat import PRESETS
from adapters.simulation.internet.reproducible import reproducible_transport
from adapters.simulation.internet.router import Router
from adapters.simulation.internet.segment import Interface
from adapters.simulation.link import LinkOptions
from adapters.simulation.loop import VirtualTimeLoop
from adapters.simulation.network import SimulatedNetwork
from adapters.simulation.world import SimulatedMachine, SimulatedWorld
from domain.limits import PEER_SILENCE_S_MAX
from node import NodeConfig
from node.environment import Environment
from node.wiring.simulated import simulated_adapters, simulated_quic_adapters
from tests.simulation.options import ROGUE, Options
from tests.simulation.trace import (
    IDLE_DATAGRAMS_PER_S_MAX,
    TRYING_DATAGRAMS_PER_S_MAX,
    DatagramTrace,
    MessageTrace,
    Trace,
)

LOSS_MAX: Final = 0.05
NAT_SHARE: Final = 0.5
"""So many of those whom nobody has to dial are behind a NAT box."""


class Mode(Enum):
    """What carries what the nodes say."""

    MESSAGES = "messages"
    """A network of whole messages, at `NetworkInterface`: fast."""
    DATAGRAMS = "datagrams"
    """The production transport, over lines that lose, double and reorder datagrams, and NAT boxes."""


class Stage(Protocol):
    """The machines of a scenario, and the ways between them.

    Attributes:
        trace: What went over the network.
        silence_s: After so long without a word each end has given up a connection.
        settle_s: How long replicas may take to be equal and quiet once all is well.
    """

    trace: Trace
    silence_s: float
    settle_s: float

    @abstractmethod
    def machine(self, name: str) -> SimulatedMachine:
        """The machine of that name."""

    @abstractmethod
    def open_adapters(
        self, machine: SimulatedMachine, config: NodeConfig
    ) -> AbstractAsyncContextManager[Environment]:
        """Open what a node needs to run on a machine."""

    @abstractmethod
    def partition(self, hosts: tuple[str, ...]) -> None:
        """Cut these off from the others, until all is well."""

    @abstractmethod
    def heal(self) -> None:
        """End the partition."""

    @abstractmethod
    def block(self, one: str, other: str) -> None:
        """Let two not reach each other."""

    @abstractmethod
    def unblock(self, one: str, other: str) -> None:
        """Let them reach each other again."""

    @abstractmethod
    def break_connections(self, one: str, other: str) -> None:
        """Break what connects two."""

    @abstractmethod
    def calm(self) -> None:
        """From now on all ways are short and lose nothing."""

    @abstractmethod
    def check_end(self) -> list[str]:
        """Complain about what is left though every node has ended."""

    @abstractmethod
    def close(self) -> None:
        """Give back what it took from the process."""


class MessageStage(Stage):
    """The fast network.

    Args:
        seed: What chance follows.
        options: The scenario.
    """

    silence_s: float
    settle_s = 60.0

    def __init__(self, seed: int, options: Options) -> None:
        loop = asyncio.get_running_loop()
        self.trace = MessageTrace()
        self.silence_s = options.silence_s_max
        self._options = options
        self._network = SimulatedNetwork(
            loop,
            seed,
            options=LinkOptions(
                delay_s=options.delay_s,
                jitter_s=options.jitter_s,
                connection_lifetime_s=options.lifetime_s,
            ),
            silence_s_max=options.silence_s_max,
            report=self.trace.report,
        )
        self._world = SimulatedWorld(loop, seed, network=self._network)

    def machine(self, name: str) -> SimulatedMachine:
        return self._world.machine(name)

    def open_adapters(
        self, machine: SimulatedMachine, config: NodeConfig
    ) -> AbstractAsyncContextManager[Environment]:
        return simulated_adapters(machine, config)

    def partition(self, hosts: tuple[str, ...]) -> None:
        self._network.partition(hosts)

    def heal(self) -> None:
        self._network.heal()

    def block(self, one: str, other: str) -> None:
        self._network.block(one, other)

    def unblock(self, one: str, other: str) -> None:
        self._network.unblock(one, other)

    def break_connections(self, one: str, other: str) -> None:
        self._network.break_connections(one, other)

    def calm(self) -> None:
        names = self._options.names
        for name in names:
            for other in names:
                if name < other:
                    self._network.set_link(name, other, LinkOptions(delay_s=self._options.delay_s))

    def check_end(self) -> list[str]:
        count = self._network.connection_count
        return [f"{count} leaked connections"] if count else []

    def close(self) -> None:
        pass


class DatagramStage(Stage):
    """An internet: those who are dialled are in public, of the others some are behind NAT boxes.

    Args:
        seed: What chance follows.
        options: The scenario.
    """

    silence_s = PEER_SILENCE_S_MAX
    settle_s = 60.0 + PEER_SILENCE_S_MAX
    """A connection whose other end restarted, or whose NAT box did, is missed only after its idle time-out."""

    def __init__(self, seed: int, options: Options) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        self.trace = DatagramTrace(
            IDLE_DATAGRAMS_PER_S_MAX if options.is_mesh else TRYING_DATAGRAMS_PER_S_MAX
        )
        self._random = Random(f"{seed} internet")
        self._internet = Internet(loop, seed, report=self.trace.report)
        self._world = InternetWorld(self._internet, seed)
        self._lines: dict[str, Interface] = {}
        self._routers: dict[str, Router] = {}
        self._calm = LineOptions(delay_s=max(0.000_2, options.delay_s / 2))
        rough = LineOptions(
            delay_s=self._calm.delay_s,
            jitter_s=min(options.jitter_s, 0.05),
            loss=self._random.choice((0.0, 0.0, 0.01, LOSS_MAX)),
            duplication=self._random.choice((0.0, 0.01)),
            reordering=self._random.choice((0.0, 0.02)),
            bytes_per_s=self._random.choice((None, 1_250_000.0)),
        )
        for number, name in enumerate(options.names, 1):
            is_dialled = options.is_mesh or name == options.names[0]
            self._place(name, number, rough, is_public=is_dialled)
        if options.rogue is not None:
            self._place(ROGUE, len(options.names) + 1, rough, is_public=True)
        self._borrowed = ExitStack()
        self._borrowed.enter_context(reproducible_transport(seed, loop.time))

    def _place(self, name: str, number: int, options: LineOptions, *, is_public: bool) -> None:
        if is_public or self._random.random() > NAT_SHARE:
            host = self._internet.public_host(name, f"198.51.100.{number}", options=options)
            self._lines[name] = host.interfaces[0]
            return
        nat = PRESETS[self._random.choice(sorted(PRESETS))]
        router, inside = self._internet.router(
            f"box of {name}", f"203.0.113.{number}", nat=nat, options=options
        )
        self._internet.host(name).attach(inside, f"10.{number}.0.2", options=self._calm)
        self._lines[name] = router.outside
        self._routers[name] = router

    def machine(self, name: str) -> SimulatedMachine:
        return self._world.machine(name)

    def open_adapters(
        self, machine: SimulatedMachine, config: NodeConfig
    ) -> AbstractAsyncContextManager[Environment]:
        assert isinstance(machine, InternetMachine)
        return simulated_quic_adapters(machine, config)

    def partition(self, hosts: tuple[str, ...]) -> None:
        self._internet.partition(hosts)

    def heal(self) -> None:
        self._internet.heal()

    def block(self, one: str, other: str) -> None:
        self._internet.block(one, other)

    def unblock(self, one: str, other: str) -> None:
        self._internet.unblock(one, other)

    def break_connections(self, one: str, other: str) -> None:
        for name in (one, other):
            if name in self._routers:
                self._routers[name].rebind()

    def calm(self) -> None:
        for interface in self._lines.values():
            interface.set_options(self._calm)

    def check_end(self) -> list[str]:
        return [
            f"{name} has left {count} sockets open"
            for name in self._lines
            if (count := self._internet.host(name).socket_count)
        ]

    def close(self) -> None:
        self._borrowed.close()


def make_stage(mode: Mode, seed: int, options: Options) -> Stage:
    """Make the stage of a mode, on the running loop."""
    return (MessageStage if mode is Mode.MESSAGES else DatagramStage)(seed, options)
