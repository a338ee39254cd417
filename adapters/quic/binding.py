"""Lets the lifetime of bindings be measured where that is not known, in the background and once a day."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

from adapters.nat.judgement import Judgement
from adapters.nat.lifetime import measure_binding
from adapters.nat.scout import Receiver, ScoutSocket
from adapters.quic.network import QuicNetwork
from adapters.quic.socket import DatagramSocket
from adapters.quic.source import SocketAddress, pair_of, to_socket_address
from domain.connectivity.address import Address
from domain.errors import NetworkError
from domain.ports.environment import Clock, Entropy

_logger: Final = logging.getLogger(__name__)

CHECK_S: Final = 60.0
"""How often it is looked whether there is something to measure; who runs for less measures nothing."""


class _Scout(ScoutSocket):
    """A socket of the network, for those who know addresses alone."""

    def __init__(self, socket: DatagramSocket) -> None:
        self._socket = socket

    def send(self, data: bytes, to: Address) -> None:
        target = to_socket_address(to, self._socket.family)
        if target is not None:
            self._socket.send([data], target)

    def close(self) -> None:
        self._socket.close()


class BindingWatch:
    """Measures, and tells the judgement.

    Args:
        network: Beside whose socket others are opened.
        judgement: What is known of the NAT.
        servers: Gives the STUN servers that answered lately.
        clock: The time.
        entropy: For STUN requests.
    """

    def __init__(
        self,
        network: QuicNetwork,
        judgement: Judgement,
        *,
        servers: Callable[[], Sequence[Address]],
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._network = network
        self._judgement = judgement
        self._servers = servers
        self._clock = clock
        self._entropy = entropy

    async def run(self) -> None:
        """Measure whenever there is something to measure, until the network is closed."""
        await self._network.wait_started()
        while True:
            await asyncio.sleep(CHECK_S)
            if self._network.is_closed:
                return
            verdict = self._judgement.unmeasured()
            servers = self._servers()
            if verdict is None or not servers:
                continue
            try:
                binding_s = await measure_binding(
                    self.open, servers, clock=self._clock, entropy=self._entropy
                )
            except NetworkError as error:
                _logger.info("nat.binding.not_measured", extra={"error": str(error)})
                continue
            self._judgement.note_binding(verdict, binding_s)
            _logger.info("nat.binding", extra={"binding_s": binding_s})

    async def open(self, receiver: Receiver) -> ScoutSocket:
        """Open a socket beside that of the network.

        Raises:
            NetworkError: There is none.
        """

        def take(batch: Sequence[tuple[bytes, SocketAddress]]) -> None:
            for data, source in batch:
                receiver(data, pair_of(source).address)

        return _Scout(await self._network.open_beside(take))
