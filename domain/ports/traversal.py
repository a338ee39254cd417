"""How a node gets through the NAT boxes between it and its peers: where it may be reached, and opening ways at once.

Beside `NetworkInterface`, whose connections use the ways: what has been dialled stays connected while ways change.
"""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Protocol

from domain.connectivity.candidate import Candidate
from domain.connectivity.diagnosis import TraversalReport
from domain.connectivity.nat import NatBehavior
from domain.connectivity.probe import ProbeKey
from domain.connectivity.verdict import NatVerdict
from domain.identifiers import PeerId
from domain.identity import DeviceKey
from domain.ports.network import Connection


class Traversal(Protocol):
    """Knows where the node may be reached, and opens ways to peers that say where they may be."""

    @property
    @abstractmethod
    def nat(self) -> NatBehavior:
        """How the NAT before us behaves, as far as is known."""

    @property
    @abstractmethod
    def verdict(self) -> NatVerdict | None:
        """What was found out about the NAT before us, when, and where; None where nothing is known of this network."""

    @abstractmethod
    def recall(self, verdict: NatVerdict) -> None:
        """Go by what was known before the node started, until it is measured again, if the machine is still there."""

    @abstractmethod
    async def judged(self) -> NatVerdict:
        """Wait until another verdict is to be kept, and give it; the last one of several that nobody waited for."""

    @property
    @abstractmethod
    def has_relay(self) -> bool:
        """Whether we could have a port at a relay: one is configured."""

    @abstractmethod
    async def candidates(
        self, *, with_relay: bool, is_fresh: bool, witnesses: Sequence[PeerId] = ()
    ) -> tuple[Candidate, ...]:
        """Where the node may be reached, the best first.

        Args:
            with_relay: Get a port at a relay as well, if one is configured and answers.
            is_fresh: Ask the servers again: something has changed.
            witnesses: Connected peers whose word may count about as what they see us, each of which may lie.
        """

    @abstractmethod
    async def predicted(self) -> tuple[Candidate, ...]:
        """Where peers that we are about to probe may see us, guessed, the likeliest first; none unless that is wanted.

        For one offer alone, and none within `PREDICTION_S` of the last ones.
        """

    @abstractmethod
    def punch(
        self,
        peer: PeerId,
        key: ProbeKey,
        candidates: Sequence[Candidate],
        nat: NatBehavior,
        *,
        is_stranger: bool = False,
    ) -> None:
        """Probe where a peer may be, for a minute at most; at once, without waiting.

        A connection to the peer that is there gets the ways that are found; else `dial_punched` uses them, or the
        peer dials us.

        Args:
            peer: Whom.
            key: For the probes.
            candidates: Where it says that it may be.
            nat: What it knows of its NAT.
            is_stranger: It has nothing to do with us, as far as we know: few probes go to one host, and nothing that
                was begun for others ends for it.
        """

    @abstractmethod
    async def dial_punched(
        self, peer: PeerId, found: Callable[[], None] = lambda: None
    ) -> Connection:
        """Connect to a peer on a way that `punch` has opened; `found` is told of it before it is used.

        Raises:
            DialError: None of its candidates answers.
            HandshakeError: Somebody else answered.
        """

    @abstractmethod
    async def dial_by_relay(self, peer: PeerId, addresses: Sequence[str]) -> Connection:
        """Connect to a peer at one of its addresses from our port at a relay: where no UDP leaves the network.

        Raises:
            DialError: There is no relay, or nobody answers.
        """

    @abstractmethod
    async def dial_as(
        self, key: DeviceKey, peer: PeerId, addresses: Sequence[str], *, by_relay: bool
    ) -> Connection:
        """Connect to a peer under another key than ours, which it is not to learn.

        Raises:
            DialError: Nobody answers.
            HandshakeError: Somebody else answered.
        """

    @abstractmethod
    async def trouble(self) -> PeerId:
        """Wait until no way to some connected peer answers any more: it and we should tell each other new ones."""

    @abstractmethod
    async def moved(self) -> None:
        """Wait until this machine is in another network, or in one again.

        The ways to all peers and the servers are then being asked already. Once for any number of changes that nobody
        waited for.
        """

    @abstractmethod
    def is_dark(self, peer: PeerId) -> bool:
        """Whether there is a connection to that peer, and none of its ways answers."""

    @abstractmethod
    def is_relayed(self, peer: PeerId) -> bool | None:
        """Whether a relay forwards what goes to a peer; None if no connection is there."""

    @abstractmethod
    async def examine(self) -> TraversalReport:
        """Find out what this network lets through, asking all servers."""
