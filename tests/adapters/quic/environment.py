"""Time and chance for the tests of QUIC."""

import asyncio
import socket
from typing import Any

from adapters.quic.connection import PeerConnection
from adapters.quic.engine import Engine
from adapters.quic.network import QuicNetwork
from adapters.quic.paths import Carrier, Paths
from adapters.system.environment import SystemEntropy
from domain.identity import DeviceKey
from domain.ports.environment import Clock
from domain.ports.network import Connection


class LoopClock(Clock):
    """The time of the running event loop."""

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def timestamp_us(self) -> int:
        return 0


def network(key: DeviceKey, **changes: object) -> QuicNetwork:
    """A network on the loopback interface, with some arguments changed."""
    arguments: dict[str, Any] = {
        "listen": "127.0.0.1:0",
        "network_id": "contract",
        "clock": LoopClock(),
        "entropy": SystemEntropy(),
        "dial_s_max": 0.2,
        **changes,
    }
    return QuicNetwork(key=key, **arguments)


def paths(carry: Carrier) -> Paths:
    """The ways of a node without a network; what they send is given to the carrier."""
    return Paths(
        loop=asyncio.get_running_loop(),
        clock=LoopClock(),
        entropy=SystemEntropy(),
        carry=carry,
        family=lambda: socket.AF_INET,
    )


def engine_of(connection: Connection) -> Engine:
    """Look behind the boundary."""
    assert isinstance(connection, PeerConnection)
    assert isinstance(connection._engine, Engine)
    return connection._engine
