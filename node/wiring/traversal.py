"""Where a node uses STUN, TURN and rendezvous: the same for real and for simulated sockets."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

from adapters.quic.network import QuicNetwork
from adapters.quic.traversal import QuicTraversal
from domain.connectivity.server import RendezvousServer, parse_stun, parse_turn
from domain.ports.environment import Clock, Entropy
from node.config import NodeConfig


def make_traversal(
    network: QuicNetwork,
    config: NodeConfig,
    clock: Clock,
    entropy: Entropy,
    *,
    entered: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> QuicTraversal:
    """Make the NAT traversal of a network.

    Args:
        network: The network.
        config: Says which servers there are.
        clock: The time.
        entropy: For STUN requests.
        entered: Where the sockets of the relay are opened.

    Raises:
        ConfigurationError: A server is none.
    """
    return QuicTraversal(
        network,
        stun=[parse_stun(each) for each in config.stun],
        turn=[parse_turn(each) for each in config.turn],
        clock=clock,
        entropy=entropy,
        entered=entered,
    )


def rendezvous_servers(config: NodeConfig) -> Sequence[RendezvousServer]:
    """Read which rendezvous nodes there are.

    Raises:
        ConfigurationError: One is none.
    """
    return [RendezvousServer.parse(each) for each in config.via]
