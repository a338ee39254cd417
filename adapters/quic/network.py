"""QUIC as a `NetworkInterface`: listens, dials, and hands out connections whose peers have proven who they are."""

import asyncio
import contextlib
import logging
import socket
from collections import deque
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from typing import Final

from adapters.quic.certificate import make_configuration
from adapters.quic.congestion import CONGESTION_CONTROL, check_congestion_control
from adapters.quic.connection import PeerConnection
from adapters.quic.credit import ReceiveBudget
from adapters.quic.dialling import Dial, check_agreed
from adapters.quic.endpoint import Endpoint, OtherReceiver
from adapters.quic.engine import Engine
from adapters.quic.interface import reachable_addresses
from adapters.quic.path import Path
from adapters.quic.socket import DatagramSocket, Receiver, SocketOpener, open_raw_socket
from adapters.quic.source import RELAYED, Source, to_socket_address
from domain.connectivity.address import Address, AddressError, parse_address
from domain.connectivity.candidate import is_public
from domain.connectivity.close_codes import CloseCode
from domain.connectivity.hello import (
    INSTANCE_BYTES,
    NONCE_BYTES,
    PROBE_SECRET_BYTES,
    PROTOCOL_VERSIONS,
    HelloOffer,
)
from domain.connectivity.lifecycle import Lifecycle, Step
from domain.errors import DialError, NetworkError
from domain.identifiers import PeerId
from domain.identity import DeviceKey
from domain.limits import (
    ACCEPT_QUEUE_MAX,
    CLOSE_LINGER_S,
    DIAL_S_MAX,
    HALF_OPEN_RETRY,
    HELLO_S_MAX,
)
from domain.ports.environment import Clock, Entropy
from domain.ports.network import Connection, NetworkInterface

_logger: Final = logging.getLogger(__name__)

LocalAddresses = Callable[..., tuple[Address, ...]]
RESOLVED_MAX: Final = 4
"""So many of the addresses behind one name are tried."""


class QuicNetwork(NetworkInterface):
    """The network of one device: one UDP socket for listening and dialling.

    Args:
        key: The device key, which certificate and hello prove.
        listen: Where to listen, as `host:port` with an IP address; `[::]:0` is every interface, with IPv6 where there
            is one, and any port.
        network_id: Nodes of different networks do not get past the handshake.
        clock: The time for timers; goes on with the event loop's.
        entropy: For nonces.
        open_socket: How to bind the socket.
        local_addresses: Finds the addresses of this machine.
        receive_other: Takes what arrives on the socket and is not QUIC (STUN, path probes).
        versions: The protocol versions that we speak.
        dial_s_max: An address that has not answered after so long is given up.
        hello_s_max: Handshake and hello together end after so long.
        half_open_retry: From so many unfinished handshakes on, strangers have to prove their address.
        congestion_control: How fast connections send, by name: ours (`congestion`), `cubic` or `reno`.

    Raises:
        ValueError: There is no congestion control of that name.
    """

    def __init__(  # noqa: PLR0913 - deadlines and sockets are arguments so that they can be tested and simulated
        self,
        *,
        key: DeviceKey,
        listen: str,
        network_id: str,
        clock: Clock,
        entropy: Entropy,
        open_socket: SocketOpener = open_raw_socket,
        local_addresses: LocalAddresses = reachable_addresses,
        receive_other: OtherReceiver | None = None,
        versions: Sequence[int] = PROTOCOL_VERSIONS,
        dial_s_max: float = DIAL_S_MAX,
        hello_s_max: float = HELLO_S_MAX,
        half_open_retry: int = HALF_OPEN_RETRY,
        congestion_control: str = CONGESTION_CONTROL,
    ) -> None:
        check_congestion_control(congestion_control)
        self._key = key
        self._listen = listen
        self._network_id = network_id
        self._clock = clock
        self._entropy = entropy
        self._open_socket = open_socket
        self._local_addresses = local_addresses
        self.receive_other = receive_other
        self._versions = tuple(versions)
        self._dial_s_max = dial_s_max
        self._hello_s_max = hello_s_max
        self._half_open_retry = half_open_retry
        self._instance = entropy.draw(INSTANCE_BYTES)
        self._budget = ReceiveBudget()
        self._client, self._server = (
            make_configuration(
                key, network_id, is_client=is_client, congestion_control=congestion_control
            )
            for is_client in (True, False)
        )
        self._endpoint: Endpoint | None = None
        self._accepted: deque[PeerConnection] = deque()
        self._acceptors: list[asyncio.Future[None]] = []
        self._addresses: tuple[str, ...] = ()
        self._starters: list[asyncio.Future[None]] = []
        self._is_closed = False

    async def start(self) -> None:
        if self._endpoint is not None or self._is_closed:
            raise NetworkError("the network is already started")
        try:
            address = parse_address(self._listen)
        except AddressError as error:
            raise NetworkError(f"cannot listen: {error}") from error
        endpoint = Endpoint(
            loop=asyncio.get_running_loop(),
            clock=self._clock,
            entropy=self._entropy,
            accept=self._make_listening,
            established=self._take_established,
            receive_other=self._pass_on,
            half_open_retry=self._half_open_retry,
        )
        endpoint.attach(await self._open_socket(address, endpoint.receive))
        self._endpoint = endpoint
        self._addresses = tuple(map(str, self.find_local_addresses()))
        for waiting in self._starters:
            if not waiting.done():
                waiting.set_result(None)

    @property
    def addresses(self) -> tuple[str, ...]:
        return self._addresses

    @property
    def endpoint(self) -> Endpoint:
        """The socket and what is routed from it; only once started."""
        return self._check_open()

    async def wait_started(self) -> None:
        """Wait until it listens."""
        if self._endpoint is None:
            waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._starters.append(waiting)
            await waiting

    @property
    def is_closed(self) -> bool:
        """Whether it has been closed, or is being."""
        return self._is_closed

    def find_local_addresses(self) -> tuple[Address, ...]:
        """Where this machine can be reached now; asked anew each time, since interfaces come and go."""
        endpoint = self._check_open()
        address = Address.from_host(endpoint.socket.local[0], endpoint.socket.local[1])
        if ip_address(address.host).is_unspecified:
            with_ipv6 = endpoint.socket.family == socket.AF_INET6
            return self._local_addresses(address.port, with_ipv6=with_ipv6)
        return (address,)

    async def open_beside(self, receiver: Receiver) -> DatagramSocket:
        """Open another socket where ours listens, on a port that the system chooses; who opens it closes it.

        Raises:
            NetworkError: The network is closed, or the system has no socket left.
        """
        host = self._check_open().socket.local[0]
        return await self._open_socket(Address(host, 0), receiver)

    @property
    def half_open_count(self) -> int:
        """How many strangers are in the middle of a handshake."""
        return self._endpoint.half_open_count if self._endpoint is not None else 0

    async def dial(
        self,
        peer: PeerId,
        addresses: Sequence[str],
        lifecycle: Lifecycle | None = None,
        *,
        key: DeviceKey | None = None,
    ) -> Connection:
        life = self._begin_lifecycle(lifecycle)
        dial = Dial(
            clock=self._clock,
            begin=lambda path, proven: self._make_dialling(peer, path, key, life, proven),
            resolve=self._resolve,
            silent_s_max=self._dial_s_max,
        )
        return await dial.run(addresses)

    async def accept(self) -> Connection:
        while True:
            self._check_open()
            if self._accepted:
                connection = self._accepted.popleft()
                self._wake_acceptor()
                return connection
            waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._acceptors.append(waiting)
            try:
                await waiting
            finally:
                if waiting in self._acceptors:
                    self._acceptors.remove(waiting)
                elif self._accepted:
                    self._wake_acceptor()

    async def close(self, code: int, reason: str) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        for waiting in self._acceptors:
            if not waiting.done():
                waiting.set_result(None)
        self._acceptors.clear()
        if self._endpoint is None:
            return
        self._endpoint.is_admitting = False
        try:
            alive = [each for each in self._endpoint.connections() if each.lost is None]
            for connection in alive:
                connection.close(code, reason)
            if alive:
                # A peer whose datagram was lost sends something and is told again; once more at the end, in case.
                await asyncio.sleep(CLOSE_LINGER_S)
                for connection in alive:
                    connection.repeat_farewell()
        finally:
            self._endpoint.close()

    # --- Dialling ---

    async def _resolve(self, text: str) -> list[Source]:
        """The socket addresses behind an address, as far as our socket can reach them."""
        family = self._check_open().socket.family
        remotes: list[Source] = [
            remote
            for each in await _look_up(text)
            if (remote := to_socket_address(each, family)) is not None
        ]
        if not remotes:
            raise DialError("our socket cannot reach addresses of that family")
        return remotes[:RESOLVED_MAX]

    async def dial_by_relay(
        self, peer: PeerId, addresses: Sequence[str], *, key: DeviceKey | None = None
    ) -> Connection:
        """Connect to a peer at the first of its addresses that answers our port at a relay.

        Raises:
            DialError: Nobody answered.
            HandshakeError: Somebody answered who is not the peer.
            ConnectionLostError: The peer answered, and has ended the connection again.
        """
        for text in addresses:
            with contextlib.suppress(AddressError, OSError):
                found = [each for each in await _look_up(text) if is_public(each)]
                for address in found[:RESOLVED_MAX]:
                    path = Path((address.host, address.port, RELAYED))
                    with contextlib.suppress(DialError):
                        return await self.dial_on(peer, path, key=key)
        raise DialError("nobody answered through the relay")

    async def dial_on(
        self,
        peer: PeerId,
        path: Path,
        *,
        key: DeviceKey | None = None,
        lifecycle: Lifecycle | None = None,
    ) -> Connection:
        """Connect to a peer on a path; under another key than ours, if one is given.

        A life cycle that is given has been initialized: it takes the steps from `CONNECT` on.
        """
        connection = self._make_dialling(peer, path, key, lifecycle or self._begin_lifecycle(None))
        try:
            connection.dial()
            await asyncio.wait([connection.settled], timeout=self._dial_s_max)
            if connection.has_heard:
                await connection.settled
            check_agreed(connection, self._dial_s_max)
        except BaseException:
            connection.close(CloseCode.NORMAL, "the dial was given up")
            raise
        return connection

    def _begin_lifecycle(self, lifecycle: Lifecycle | None) -> Lifecycle:
        now = self._clock.now()
        begun = lifecycle or Lifecycle(now=now)
        begun.take(Step.INITIALIZE, now=now)
        return begun

    def _make_dialling(
        self,
        peer: PeerId,
        path: Path,
        key: DeviceKey | None,
        lifecycle: Lifecycle,
        proven: Callable[[PeerConnection], None] | None = None,
    ) -> PeerConnection:
        return PeerConnection(
            engine=Engine(configuration=self._client, budget=self._budget),
            path=path,
            host=self._check_open(),
            key=key or self._key,
            offer=self._make_offer(is_ours=key is None),
            expected=peer,
            proven=proven,
            lifecycle=lifecycle,
            hello_s_max=self._hello_s_max,
        )

    # --- Listening ---

    def _make_listening(self, path: Path, original: bytes, retried: bytes | None) -> PeerConnection:
        engine = Engine(
            configuration=self._server,
            budget=self._budget,
            original_destination_connection_id=original,
            retry_source_connection_id=retried,
        )
        return PeerConnection(
            engine=engine,
            path=path,
            host=self._check_open(),
            key=self._key,
            offer=self._make_offer(),
            expected=None,
            lifecycle=Lifecycle(now=self._clock.now()),
            hello_s_max=self._hello_s_max,
        )

    def _take_established(self, connection: PeerConnection) -> None:
        if self._is_closed or len(self._accepted) >= ACCEPT_QUEUE_MAX:
            _logger.warning("quic.accept.full", extra={"waiting": len(self._accepted)})
            connection.close(CloseCode.RESOURCES, "too many connections wait to be accepted")
            return
        self._accepted.append(connection)
        self._wake_acceptor()

    def _wake_acceptor(self) -> None:
        while self._accepted and self._acceptors:
            waiting = self._acceptors.pop(0)
            if not waiting.done():
                waiting.set_result(None)
                return

    def _pass_on(self, data: bytes, source: Source) -> None:
        if self.receive_other is not None:
            self.receive_other(data, source)

    def _make_offer(self, *, is_ours: bool = True) -> HelloOffer:
        return HelloOffer(
            network_id=self._network_id,
            # Another name of ours is not to be recognized as us.
            instance=self._instance if is_ours else self._entropy.draw(INSTANCE_BYTES),
            nonce=self._entropy.draw(NONCE_BYTES),
            probe_secret=self._entropy.draw(PROBE_SECRET_BYTES),
            versions=self._versions,
        )

    def _check_open(self) -> Endpoint:
        if self._is_closed:
            raise NetworkError("the network is closed")
        if self._endpoint is None:
            raise NetworkError("the network is not started")
        return self._endpoint


async def _look_up(text: str) -> list[Address]:
    """The IP addresses behind an address, which may have a name in it."""
    address = parse_address(text)
    try:
        ip_address(address.host)
    except ValueError:
        found = await asyncio.get_running_loop().getaddrinfo(
            address.host, address.port, type=socket.SOCK_DGRAM
        )
        return [Address.from_host(str(entry[4][0]), address.port) for entry in found]
    return [address]
