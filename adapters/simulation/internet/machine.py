"""Machines on the simulated internet: a node on one uses the production transport, over simulated datagrams."""

import asyncio
from typing import Final

from adapters.simulation.internet.host import WILDCARDS, Host
from adapters.simulation.internet.internet import Internet
from adapters.simulation.network import SimulatedNetwork
from adapters.simulation.world import SimulatedMachine
from domain.connectivity.address import Address
from domain.connectivity.port_mapping import GatewayRoute

NODE_PORT: Final = 4_433


class InternetMachine(SimulatedMachine):
    """A machine whose network is a host of the internet.

    Args:
        host: The host, which has its name.
        seed: What chance follows, together with the name.
        idle: The network of the faster mode, of which nothing is used here.
    """

    def __init__(self, host: Host, seed: int, idle: SimulatedNetwork) -> None:
        super().__init__(idle, seed, host.name)
        self.host = host

    @property
    def address(self) -> str:
        """Where its node listens: on the first address of the host."""
        address = self.host.addresses[0]
        return f"[{address}]:{NODE_PORT}" if ":" in address else f"{address}:{NODE_PORT}"

    def local_addresses(self, port: int, *, with_ipv6: bool) -> tuple[Address, ...]:
        """Where the host can be reached now: on the interfaces that are up."""
        up = [each for each in self.host.interfaces if each.is_up]
        listed = [address for interface in up for address in interface.addresses]
        return tuple(
            Address.from_host(each, port) for each in listed if with_ipv6 or ":" not in each
        )

    def find_gateway_route(self, listening: str) -> GatewayRoute | None:
        """The router that leads out of the segment of the first interface that is up, if it talks to hosts within.

        Args:
            listening: The IP address where a node listens, or an unspecified one.
        """
        for interface in self.host.interfaces:
            local, gateway = interface.address(of_ipv6=False), interface.segment.gateway
            if not interface.is_up or local is None:
                continue
            if listening not in (*WILDCARDS.values(), local):
                continue
            router = gateway[1].address(of_ipv6=False) if gateway is not None else None
            return GatewayRoute(router, local) if router is not None else None
        return None

    def crash(self) -> None:
        """Cut everything off at once; whatever the node still does has no effect. Cancel its tasks next."""
        self.host.crash()
        self.disk.crash()


class InternetWorld:
    """An internet with machines.

    Args:
        internet: The internet; hosts are made and attached there.
        seed: What chance follows.
    """

    def __init__(self, internet: Internet, seed: int) -> None:
        self.internet = internet
        self._seed = seed
        self._idle = SimulatedNetwork(internet.loop, seed)
        self._machines: dict[str, InternetMachine] = {}

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """Whose time it uses."""
        return self.internet.loop

    def machine(self, name: str) -> InternetMachine:
        """The machine on the host of that name, made on first use."""
        machine = self._machines.get(name)
        if machine is None:
            host = self.internet.host(name)
            machine = self._machines[name] = InternetMachine(host, self._seed, self._idle)
        return machine
