"""Where peers are, kept on disk so that a node which starts again finds them."""

import asyncio
import logging
from collections.abc import Mapping, Sequence

from domain.errors import StorageError
from domain.identifiers import PeerId
from domain.limits import PEER_ADDRESSES_MAX, PEER_ADDRESSES_RECALLED, STORE_RETRY_S
from domain.ports.environment import Clock
from domain.ports.storage import OperationStore, PeerRecord
from node.bell import Bell
from node.peer_status import PeerStatus

logger = logging.getLogger(__name__)


class AddressBook:
    """Keeps where wanted peers are, and those that an invite names; other strangers leave no trace.

    Args:
        known: What is known about peers.
        store: Where it is kept.
        clock: The time.
    """

    def __init__(
        self, known: Mapping[PeerId, PeerStatus], store: OperationStore, clock: Clock
    ) -> None:
        self._known = known
        self._store = store
        self._clock = clock
        self._bell = Bell()

    def recall(self, status: PeerStatus, addresses: Sequence[str]) -> None:
        """Take what was kept on disk: who was given comes first there, and so much of it is taken as given."""
        status.addresses = tuple(addresses)
        status.given = frozenset(status.addresses[:PEER_ADDRESSES_RECALLED])

    def learn(self, status: PeerStatus, addresses: Sequence[str]) -> bool:
        """Note where a peer is said to be, by its user or an invite, the likeliest first; whether that is news."""
        merged = tuple(dict.fromkeys((*addresses, *status.addresses)))[:PEER_ADDRESSES_MAX]
        status.given = (status.given | frozenset(addresses)) & frozenset(merged)
        return self._note(status, merged)

    def meet(self, status: PeerStatus, address: str) -> bool:
        """Note where a peer was met; that takes the place of where it was met long ago, and of nothing else."""
        status.met = address
        if address in status.addresses:
            return False
        given = [each for each in status.addresses if each in status.given]
        others = [each for each in status.addresses if each not in status.given]
        return self._note(status, (*given, address, *others)[:PEER_ADDRESSES_MAX])

    def distrust(self, status: PeerStatus, addresses: Sequence[str]) -> bool:
        """Somebody else was there: these come last, and are the first that have to go."""
        refused = frozenset(addresses) & frozenset(status.addresses)
        status.given -= refused
        kept = [each for each in status.addresses if each not in refused]
        return self._note(status, (*kept, *sorted(refused)))

    def _note(self, status: PeerStatus, merged: tuple[str, ...]) -> bool:
        is_news = merged != status.addresses
        status.addresses = merged
        status.is_news |= is_news
        if status.is_news:
            self._bell.ring()
        return is_news

    async def save(self, peer: PeerId, status: PeerStatus) -> bool:
        """Keep on disk where a peer is, if that is news; False, and it stays news, where the disk does not take it."""
        if not status.is_news:
            return True
        seen_us = self._clock.timestamp_us() if status.link is not None else 0
        record = PeerRecord(peer=peer, addresses=status.addresses, seen_us=seen_us)
        try:
            await self._store.save_peer(record)
        except StorageError as error:
            logger.warning("peers.not_remembered", extra={"peer": peer.short, "error": str(error)})
            return False
        status.is_news = status.addresses != record.addresses
        return True

    async def run(self) -> None:
        """Keep what is news until cancelled, and try again while the disk does not take it."""
        loop = asyncio.get_running_loop()
        while True:
            wanted = [(peer, each) for peer, each in self._known.items() if each.is_wanted]
            saved = [await self.save(peer, status) for peer, status in wanted]
            if not all(saved):
                self._bell.ring_at(loop.time() + STORE_RETRY_S)
            await self._bell.wait()

    def close(self) -> None:
        """Forget about trying again."""
        self._bell.stop()
