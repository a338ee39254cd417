"""How a node gets the router of its network to forward a port to it."""

from abc import abstractmethod
from typing import Protocol

from domain.connectivity.address import Address
from domain.connectivity.port_mapping import PortMappingReport


class PortMapper(Protocol):
    """Keeps one UDP port open at the router, for as long as it runs.

    What the router says is believed as far as it comes from the router: a wrong address makes a candidate that nobody
    answers at, nothing worse.
    """

    @property
    @abstractmethod
    def report(self) -> PortMappingReport:
        """How it stands now."""

    @abstractmethod
    async def run(self, listening: Address) -> None:
        """Keep the port mapped until cancelled, whatever the router does; it is renewed, and asked for anew elsewhere.

        Cancelled, the mapping is given back, for which the router has half a second; a process that dies leaves it
        behind for an hour at most. Nobody is asked where we listen on loopback: then this returns.

        Args:
            listening: Where our socket is bound; its host may be unspecified.
        """

    @abstractmethod
    async def settled(self) -> None:
        """Wait until the router has answered, has let its time pass, or turns out not to be there.

        That is within 3 s of `run`, and before it for ever.
        """

    @abstractmethod
    def look_again(self) -> None:
        """Something about the network has changed: ask now, whether the mapping still stands."""
