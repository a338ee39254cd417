"""Where a node uses STUN, TURN and rendezvous: the same for real and for simulated sockets."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

from adapters.gateway.mapper import ClientMaker, GatewayPortMapper, RouteFinder
from adapters.gateway.route import find_gateway_route
from adapters.quic.network import QuicNetwork
from adapters.quic.traversal import QuicTraversal
from domain.connectivity.server import RendezvousServer, parse_stun, parse_turn
from domain.identity import DeviceKey
from domain.ports.environment import Clock, Entropy
from node.config import NodeConfig


def make_traversal(  # noqa: PLR0913 - it passes on what the traversal is made of
    network: QuicNetwork,
    config: NodeConfig,
    key: DeviceKey,
    clock: Clock,
    entropy: Entropy,
    *,
    find_route: RouteFinder = find_gateway_route,
    upnp: ClientMaker | None = None,
    entered: Callable[[], AbstractContextManager[None]] = nullcontext,
) -> QuicTraversal:
    """Make the NAT traversal of a network.

    Args:
        network: The network.
        config: Says which servers there are, and whether the router is asked for a port.
        key: Our device key.
        clock: The time.
        entropy: For STUN requests.
        find_route: Finds the router.
        upnp: Makes what asks the router by UPnP; None where nothing does.
        entered: Where the sockets of the relay, and to the router, are opened.

    Raises:
        ConfigurationError: A server is none.
    """
    mapper = None
    if config.port_mapping:
        mapper = GatewayPortMapper(
            secret=key.seed,
            find_route=find_route,
            clock=clock,
            entropy=entropy,
            upnp=upnp,
            entered=entered,
        )
    return QuicTraversal(
        network,
        stun=[parse_stun(each) for each in config.stun],
        turn=[parse_turn(each) for each in config.turn],
        clock=clock,
        entropy=entropy,
        mapper=mapper,
        predicts=config.predicts_ports,
        entered=entered,
    )


def load_upnp() -> ClientMaker | None:
    """Load what asks a router by UPnP; None where the extra `upnp` is not installed."""
    try:
        from adapters.gateway.upnp import UpnpClient  # noqa: PLC0415 - 20 MB that few need
    except ImportError:
        return None
    return UpnpClient


def rendezvous_servers(config: NodeConfig) -> Sequence[RendezvousServer]:
    """Read which rendezvous nodes there are.

    Raises:
        ConfigurationError: One is none.
    """
    return [RendezvousServer.parse(each) for each in config.via]
