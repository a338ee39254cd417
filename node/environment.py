"""Everything outside that a node needs, behind ports: `node.wiring` makes it, and a simulation makes another."""

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field

from domain.connectivity.server import RendezvousServer
from domain.identity import DeviceKey
from domain.ports.discovery import Discovery
from domain.ports.environment import Clock, Entropy
from domain.ports.network import NetworkInterface
from domain.ports.pairwise import PairwiseChannel
from domain.ports.storage import OperationQueue, OperationStore
from domain.ports.traversal import Traversal

Worker = Callable[[], Coroutine[None, None, None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What a node runs on.

    Args:
        key: Our device key.
        storage_key: 32 secret bytes that seal records at rest.
        network: Reaches peers; listening already, closed by the node.
        store: Keeps operations.
        queue: Keeps what peers have acknowledged.
        pairwise: Seals what is for one other device alone.
        clock: Tells the time.
        entropy: Draws randomness.
        workers: Coroutines that the node has to run until `close_store`.
        close_store: Brings to disk what is on its way, and lets the workers end.
        traversal: Gets through NAT boxes; None where there are none.
        rendezvous: Nodes that hand on offers for us.
        serves_anybody: Whether we hand on offers for strangers.
        discovery: Notices members in the local network; None where nobody is to be noticed.
        announces: Whether they notice us.
        memory_bytes: Says what the process holds, where the system tells.
    """

    key: DeviceKey
    storage_key: bytes = field(repr=False)
    network: NetworkInterface
    store: OperationStore
    queue: OperationQueue
    pairwise: PairwiseChannel
    clock: Clock
    entropy: Entropy
    workers: Sequence[Worker]
    close_store: Callable[[], Awaitable[None]]
    traversal: Traversal | None = None
    rendezvous: Sequence[RendezvousServer] = ()
    serves_anybody: bool = False
    discovery: Discovery | None = None
    announces: bool = False
    memory_bytes: Callable[[], int | None] = lambda: None
