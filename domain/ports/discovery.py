"""How nodes notice each other in one local network, with no server.

What comes from it is hearsay: anybody in the network can announce any name at any address. Whoever uses it decides
which addresses are worth a dial, and how often; that a connection leads to the right peer is proven there.
"""

from abc import abstractmethod
from collections.abc import Collection, Sequence
from typing import Protocol

from domain.connectivity.sightings import Sighting


class Discovery(Protocol):
    """Announces names in the local network, and watches for others that do."""

    @abstractmethod
    def announce(self, names: Sequence[bytes]) -> None:
        """Announce these names (1 to 31 bytes each, at most `ANNOUNCED_NAMES_MAX`; more are left out) from now on.

        At once, without waiting; names of before that are not among them are withdrawn. Others may go on believing
        what they have heard for two minutes.
        """

    @abstractmethod
    def look_for(self, names: Collection[bytes]) -> None:
        """Report these names from now on, and no others; those that are announced already are reported soon."""

    @abstractmethod
    async def sighting(self) -> Sighting:
        """Wait until somebody announces a name that is looked for.

        Each is reported when it is first seen, and when its announcement has changed. Of one name the latest sighting
        waits for who asks. Cancelled, none is lost. One task at a time may wait.
        """

    @abstractmethod
    async def run(self) -> None:
        """Do the work, until cancelled; whatever was announced is then withdrawn.

        A network that cannot be used is tried again: its errors never leave.
        """
