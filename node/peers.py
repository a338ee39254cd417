"""All connections of a node: taking those that come, dialling those that are wanted, one for each peer."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from domain.connectivity.close_codes import CloseCode
from domain.connectivity.duplicate import is_replaced
from domain.errors import ConnectionLostError, DialError, HandshakeError, NetworkError, StorageError
from domain.events import PeerConnected, PeerDisconnected
from domain.identifiers import DocumentId, PeerId
from domain.ports.network import Connection
from domain.ports.storage import PeerRecord
from node.bell import Bell
from node.link import Link
from node.owner import DocumentOwner
from node.reaching import ReachingNetwork
from node.services import Services

logger = logging.getLogger(__name__)

BACK_OFF_S_MIN: Final = 0.5
BACK_OFF_S_MAX: Final = 30.0
ADDRESSES_KEPT_MAX: Final = 8
CONNECT_S_MAX: Final = 15.0
BRIEF_S: Final = 1.0  # a connection that ended so soon counts as a failure to connect


@dataclass(slots=True)
class PeerStatus:
    """What is known about a peer."""

    addresses: tuple[str, ...] = ()
    link: Link | None = None
    since: float | None = None
    failures: int = 0
    brief: NetworkError | None = None
    last_error: str | None = None
    next_dial: float | None = None
    is_wanted: bool = False
    is_news: bool = False
    bell: Bell = field(default_factory=Bell)


class Peers:
    """Knows every peer, and keeps the wanted ones connected.

    Args:
        services: The rest of the node.
    """

    def __init__(self, services: Services) -> None:
        environment = services.environment
        self.own_id = environment.key.peer
        self.known: dict[PeerId, PeerStatus] = {}
        self._services = services
        self._network = services.network
        self._store = environment.store
        self._runtime = services.runtime
        self._clock = environment.clock
        self._entropy = environment.entropy
        self._publish = services.publish
        self._is_closing = False

    def links(self) -> list[Link]:
        """List the connections that serve now."""
        return [status.link for status in self.known.values() if status.link is not None]

    def announce(self, owner: DocumentOwner) -> None:
        """Tell every connected member that does not exchange a document with us yet how far we are with it."""
        for link in self.links():
            if owner.document.document not in link.exchanges:
                link.announce(owner)

    def detach(self, document: DocumentId) -> None:
        """Stop exchanging a document with anybody."""
        for link in self.links():
            link.detach(document)

    async def start(self) -> None:
        """Recall where peers were, and take connections from now on."""
        for record in await self._store.peers():
            self._status(record.peer).addresses = record.addresses
        self._runtime.spawn(self._accept(), "accept")

    def _status(self, peer: PeerId) -> PeerStatus:
        return self.known.setdefault(peer, PeerStatus())

    # -- Wanting --

    def want(self, peer: PeerId, addresses: Sequence[str] = ()) -> None:
        """Keep connected to a peer from now on, and remember it; addresses that are given are tried first."""
        if peer == self.own_id:
            return
        status = self._status(peer)
        self._learn(status, addresses)
        if not status.is_wanted:
            status.is_wanted = True
            self._runtime.spawn(self._keep_connected(peer, status), f"dial {peer.short}")
        status.bell.ring()

    @staticmethod
    def _learn(status: PeerStatus, addresses: Sequence[str]) -> None:
        merged = tuple(dict.fromkeys((*addresses, *status.addresses)))[:ADDRESSES_KEPT_MAX]
        if merged != status.addresses:
            status.addresses = merged
            status.is_news = True

    def introduce(self, peer: PeerId, document: DocumentId) -> None:
        """Know by which document a peer can be found, before we are a member of it."""
        if isinstance(self._network, ReachingNetwork):
            self._network.introduce(peer, document)

    async def connect(self, peer: PeerId, addresses: Sequence[str]) -> Link:
        """Give the connection to a peer, dialling it now if there is none.

        Raises:
            NetworkError: It cannot be reached.
        """
        status = self._status(peer)
        if status.link is not None:
            return status.link
        self._adopt(await self._dial(peer, addresses or status.addresses))
        link = self._status(peer).link
        assert link is not None  # the one that was just dialled, or the one that it gave way to
        return link

    async def _dial(self, peer: PeerId, addresses: Sequence[str]) -> Connection:
        try:
            async with asyncio.timeout(CONNECT_S_MAX):
                return await self._network.dial(peer, addresses)
        except TimeoutError:
            raise DialError(
                f"nobody answered within {CONNECT_S_MAX:.0f} s at {', '.join(addresses)}"
            ) from None

    async def _keep_connected(self, peer: PeerId, status: PeerStatus) -> None:
        while not self._is_closing:
            await self._remember(peer, status)
            if status.link is not None or not (status.addresses or self._can_signal()):
                await status.bell.wait()
                continue
            if status.brief is not None:
                brief, status.brief = status.brief, None
                await self._wait_after(status, brief)
                continue
            try:
                connection = await self._dial(peer, status.addresses)
            except NetworkError as error:
                if status.link is None:
                    await self._wait_after(status, error)
            else:
                self._adopt(connection)

    def _can_signal(self) -> bool:
        signalling = self._services.signalling
        return signalling is not None and signalling.can_signal()

    async def _remember(self, peer: PeerId, status: PeerStatus) -> None:
        """Keep on disk where a wanted peer is; strangers leave no trace there."""
        if not status.is_news:
            return
        status.is_news = False
        seen_us = self._clock.timestamp_us() if status.link is not None else 0
        try:
            await self._store.save_peer(
                PeerRecord(peer=peer, addresses=status.addresses, seen_us=seen_us)
            )
        except StorageError as error:
            logger.warning("peers.not_remembered", extra={"peer": peer.short, "error": str(error)})

    async def _wait_after(self, status: PeerStatus, error: NetworkError) -> None:
        """Wait before the next try: half a second, doubling to 30 s, with full jitter; less if something changes."""
        status.failures += 1
        status.last_error = str(error)
        ceiling = min(BACK_OFF_S_MAX, BACK_OFF_S_MIN * 2 ** min(status.failures - 1, 16))
        delay = ceiling * (0.5 + 0.5 * self._entropy.draw(1)[0] / 255)
        if isinstance(error, HandshakeError):
            delay = BACK_OFF_S_MAX
        status.next_dial = self._clock.now() + delay
        status.bell.ring_at(asyncio.get_running_loop().time() + delay)
        await status.bell.wait()
        status.next_dial = None

    # -- Having --

    async def _accept(self) -> None:
        while True:
            try:
                connection = await self._network.accept()
            except NetworkError:
                return
            self._adopt(connection)

    def _adopt(self, connection: Connection) -> None:
        """Serve a connection, unless the peer has a better one; of two only one stays."""
        peer = connection.peer
        status = self._status(peer)
        if peer == self.own_id:
            connection.close(CloseCode.NOT_WANTED, "this is myself")
            return
        if status.link is not None:
            old = status.link.connection
            if not self._is_lost(status) and not is_replaced(
                old_instance=old.instance,
                new_instance=connection.instance,
                old_dialler=self._dialler(old),
                new_dialler=self._dialler(connection),
            ):
                connection.close(CloseCode.REPLACED, "another connection stays")
                return
            status.link = None
            old.close(CloseCode.REPLACED, "a newer connection took its place")
        link = Link(connection, self._services)
        status.link = link
        status.since, status.brief = self._clock.now(), None
        self._learn(status, (connection.remote_address,))
        self._runtime.spawn(self._serve(link, status), f"link {peer.short}")

    def _is_lost(self, status: PeerStatus) -> bool:
        """Whether a connection is too old for both sides to have dialled at once: who dials now has lost it."""
        return status.since is not None and self._clock.now() - status.since > CONNECT_S_MAX

    def _dialler(self, connection: Connection) -> PeerId:
        return self.own_id if connection.is_dialler else connection.peer

    async def _serve(self, link: Link, status: PeerStatus) -> None:
        connection = link.connection
        address = connection.remote_address
        self._publish(
            PeerConnected(peer=link.peer, address=address, is_dialler=connection.is_dialler)
        )
        status.bell.ring()
        started = self._clock.now()
        try:
            code, reason, by_peer = await link.run()
        finally:
            if status.link is link:
                status.link = None
                status.since = None
                status.bell.ring()
            if not status.is_wanted and status.link is None:
                self.known.pop(link.peer, None)
        status.last_error = reason or None
        if status.link is None and self._clock.now() - started < BRIEF_S:
            status.brief = ConnectionLostError(code, reason, by_peer=by_peer)
        else:
            status.failures = 0
        self._publish(PeerDisconnected(peer=link.peer, code=code, reason=reason, by_peer=by_peer))

    async def close(self) -> None:
        """Close every connection, telling each peer that we stop."""
        self._is_closing = True
        await self._network.close(CloseCode.SHUTTING_DOWN, "the node stops")
        for status in self.known.values():
            status.bell.stop()
