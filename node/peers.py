"""All connections of a node: taking those that come, dialling those that are wanted, one for each peer.

A wanted peer is never given up, as long as we share a document with it. What follows an error stands in
`domain.connectivity.strategy`, which states there are in `domain.connectivity.lifecycle`; here is who runs them. All
that has to happen at some time lies in one heap of deadlines, which one task watches over; a dial has a task of its own
for as long as it lasts.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from typing import Final

from domain.connectivity.backoff import back_off_s, failed_retry_s, has_failed
from domain.connectivity.close_codes import CloseCode
from domain.connectivity.duplicate import has_lost, is_replaced
from domain.connectivity.lifecycle import AT_REST, Lifecycle, State, Step
from domain.connectivity.strategy import Action, Strategy, blame, connection_lost, strategy_of
from domain.errors import DialError, NetworkError
from domain.events import (
    ConnectionActive,
    NetworkErrorMet,
    PeerDisconnected,
    PeerStateChanged,
    SecurityEvent,
)
from domain.identifiers import DocumentId, PeerId
from domain.limits import (
    BACK_OFF_S_MAX,
    BACK_OFF_S_MIN,
    BRIEF_S,
    HEARTBEAT_ANSWER_S_MAX,
    HEARTBEAT_S,
    NEARBY_S_MAX,
    PEERS_DIALLED_MAX,
    STRANGER_S_MAX,
    UNUSED_S_MAX,
)
from domain.ports.network import Connection
from node.address_book import AddressBook
from node.bell import Bell
from node.deadlines import INSTANT_S, Deadlines
from node.link import Link
from node.owner import DocumentOwner
from node.peer_status import Due, PeerStatus
from node.reaching import ReachingNetwork
from node.services import Services
from node.strangers import Strangers

logger = logging.getLogger(__name__)

CONNECT_S_MAX: Final = 15.0
COMPARE_S: Final = 60.0  # how often digests are compared even though all seems well


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
        self._deadlines: Deadlines[tuple[Due, PeerId]] = Deadlines()
        self._changed: dict[PeerId, None] = {}
        self._queue: deque[PeerId] = deque()
        self._dial_count = 0
        self._bell = Bell()
        self._book = AddressBook(self.known, environment.store, environment.clock)
        self._strangers = Strangers(serves_anybody=environment.serves_anybody)
        self._is_outage = False
        self._returned_at = float("-inf")
        self._is_closing = False

    def links(self) -> list[Link]:
        """List the connections that serve now."""
        return [status.link for status in self.known.values() if status.link is not None]

    def next_dial(self, peer: PeerId) -> float | None:
        """Say at what time of the clock a peer is dialled next; None where nothing is planned."""
        return self._deadlines.at((Due.DIAL, peer))

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
            self._book.recall(self._status(record.peer), record.addresses)
        self._runtime.spawn(self._accept(), "accept")
        self._runtime.spawn(self._watch(), "peers")
        self._runtime.spawn(self._book.run(), "remember peers")

    def _status(self, peer: PeerId) -> PeerStatus:
        status = self.known.get(peer)
        if status is None:
            status = self.known[peer] = PeerStatus(self._make_lifecycle(peer))
        return status

    def _make_lifecycle(self, peer: PeerId) -> Lifecycle:
        lifecycle = Lifecycle(now=self._clock.now())
        self._follow(peer, lifecycle)
        return lifecycle

    def _follow(self, peer: PeerId, lifecycle: Lifecycle) -> None:
        def note() -> None:
            self._changed[peer] = None
            self._bell.ring()

        lifecycle.changed = note

    # -- Wanting --

    def want(self, peer: PeerId, addresses: Sequence[str] = ()) -> None:
        """Keep connected to a peer from now on, and remember it; addresses that are given are tried first.

        Where it may be is a sign of life, too, if that is news.
        """
        if peer == self.own_id:
            return
        status = self._status(peer)
        is_news = self._book.learn(status, addresses)
        if not status.is_wanted or is_news:
            status.is_wanted = True
            self._dial_soon(peer, status)

    def release(self, peer: PeerId) -> None:
        """Look for a peer no more, with whom we share nothing; a connection that there is ends when it is of no use."""
        status = self.known.get(peer)
        if status is None:
            return
        status.is_wanted = False
        self._deadlines.forget((Due.DIAL, peer))
        if status.link is None and status.dial is None and status.lifecycle.state in AT_REST:
            status.lifecycle.take(Step.REST, now=self._clock.now())
            self._forget_stranger(peer, status)

    async def remember(self, peer: PeerId, addresses: Sequence[str]) -> None:
        """Keep on disk where somebody is whom we are about to want; durable on return, unless the disk fails."""
        if peer != self.own_id:
            status = self._status(peer)
            self._book.learn(status, addresses)
            await self._book.save(peer, status)

    def sign_of_life(self, peer: PeerId, nearby: Sequence[str] = ()) -> None:
        """Dial a wanted peer now, whatever it waits for: it was seen nearby, or somebody has just heard it."""
        status = self.known.get(peer)
        if status is None or not status.is_wanted:
            return
        status.nearby, status.nearby_until = tuple(nearby), self._clock.now() + NEARBY_S_MAX
        status.tries = status.failures = 0
        self._dial_soon(peer, status)

    def network_returned(self) -> None:
        """Dial every wanted peer that is not connected, within a second: our own network is back."""
        now = self._clock.now()
        self._is_outage = False
        if now - self._returned_at < BACK_OFF_S_MAX:
            return  # it comes and goes: the back-off of each peer is short enough
        self._returned_at = now
        for peer, status in self.known.items():
            if status.is_wanted and status.link is None and status.dial is None:
                status.tries = status.failures = 0
                self._dial_at(peer, status, now + self._share())

    def _dial_soon(self, peer: PeerId, status: PeerStatus) -> None:
        """Dial now, but not so often that signs of life make us a nuisance."""
        now = self._clock.now()
        self._dial_at(peer, status, max(now, status.dialled_at + BACK_OFF_S_MIN))

    def _dial_at(self, peer: PeerId, status: PeerStatus, when: float) -> None:
        if status.link is None and status.dial is None and self._can_find(status):
            self._deadlines.set((Due.DIAL, peer), when)
            self._bell.ring()

    def _share(self) -> float:
        return int.from_bytes(self._entropy.draw(2)) / 65_535

    # -- Times --

    async def _watch(self) -> None:
        """Do what is due when it is due, and tell which states have changed."""
        loop = asyncio.get_running_loop()
        while True:
            for due, peer in self._deadlines.take_due(self._clock.now() + INSTANT_S):
                status = self.known.get(peer)
                if status is not None:
                    self._act(due, peer, status)
            self._show()
            next_due = self._deadlines.next()
            if next_due is not None:
                self._bell.ring_at(loop.time() + max(0.0, next_due - self._clock.now()))
            await self._bell.wait()

    def _act(self, due: Due, peer: PeerId, status: PeerStatus) -> None:
        link = status.link
        if due is Due.DIAL:
            self._begin_dial(peer, status)
        elif link is None:
            return
        elif due is Due.COMPARE:
            link.compare()
            self._deadlines.set((due, peer), self._clock.now() + self._draw_compare_s())
        elif due is Due.HEARTBEAT:
            if not link.is_quiet:
                link.beat()
            self._deadlines.set((due, peer), self._clock.now() + HEARTBEAT_S)
            self._deadlines.set((Due.ANSWER, peer), self._clock.now() + HEARTBEAT_ANSWER_S_MAX)
        elif due is Due.ANSWER:
            answers_until = link.connection.lifecycle.since + HEARTBEAT_ANSWER_S_MAX
            if link.is_quiet or self._clock.now() < answers_until:  # or was, a moment ago
                self._deadlines.set((due, peer), self._clock.now() + HEARTBEAT_ANSWER_S_MAX)
            elif link.is_unanswered:
                link.connection.close(CloseCode.TIMED_OUT, "the node did not answer a heartbeat")
        elif link.is_of_use:
            self._deadlines.set((due, peer), self._clock.now() + UNUSED_S_MAX)
        else:
            link.connection.close(CloseCode.UNUSED, "we share no document")

    def _draw_compare_s(self) -> float:
        """A minute, give or take a fifth, so that peers do not compare in step."""
        return COMPARE_S * (0.8 + 0.4 * self._share())

    def _show(self) -> None:
        """Tell of the states that peers have gone through since the last time."""
        changed, self._changed = self._changed, {}
        for peer in changed:
            status = self.known.get(peer)
            if status is None:
                continue
            for change in status.lifecycle.take_changes():
                if change.new is not status.shown:
                    self._publish(PeerStateChanged(peer=peer, old=status.shown, new=change.new))
                    status.shown = change.new
            if status.link is not None and status.link.is_quiet:
                self._runtime.spawn(status.link.tell_silence(), f"silence {peer.short}")

    # -- Dialling --

    def _begin_dial(self, peer: PeerId, status: PeerStatus) -> None:
        if self._is_closing or status.link is not None or status.dial is not None:
            return
        if self._dial_count >= PEERS_DIALLED_MAX:
            self._queue.append(peer)
            return
        self._dial_count += 1
        status.dialled_at = self._clock.now()
        if status.lifecycle.state not in AT_REST:  # another dial of ours is under way, to join
            status.lifecycle = self._make_lifecycle(peer)
        dial = self._dial_wanted(peer, status, status.lifecycle)
        task = self._runtime.spawn(dial, f"dial {peer.short}")
        task.add_done_callback(lambda _: self._end_dial(peer, status, task))
        status.dial = task

    async def _dial_wanted(
        self, peer: PeerId, status: PeerStatus, lifecycle: Lifecycle
    ) -> None:  # of the turn that started it: by now, the peer may have another one
        try:
            connection = await self._dial(peer, status.places(self._clock.now()), lifecycle)
        except NetworkError as error:
            status.dial = None
            self._book.distrust(status, error.refused)
            self._take_error(peer, status, error)
        else:
            status.dial = None
            self._adopt(connection)

    def _end_dial(self, peer: PeerId, status: PeerStatus, task: asyncio.Task[None]) -> None:
        if status.dial is task:
            status.dial = None
            if status.is_wanted:  # the connection that it gave way to may have ended before it
                self._dial_soon(peer, status)
        self._forget_stranger(peer, status)
        self._dial_count -= 1
        while self._queue and self._dial_count < PEERS_DIALLED_MAX:
            peer = self._queue.popleft()
            waiting = self.known.get(peer)
            if waiting is not None:
                self._begin_dial(peer, waiting)

    def introduce(self, peer: PeerId, discovery_key: bytes) -> None:
        """Know by which key a peer can be found, before we are a member of its document."""
        if isinstance(self._network, ReachingNetwork):
            self._network.introduce(peer, discovery_key)

    async def connect(self, peer: PeerId, addresses: Sequence[str]) -> Link:
        """Give the connection to a peer, dialling it now if there is none.

        Raises:
            NetworkError: It cannot be reached.
        """
        status = self._status(peer)
        if status.link is not None and not status.link.is_quiet:
            return status.link
        lifecycle = self._make_lifecycle(peer)
        if status.dial is None and status.lifecycle.state in AT_REST:  # else it is the dial's
            status.lifecycle = lifecycle
        try:
            self._adopt(
                await self._dial(peer, addresses or status.places(self._clock.now()), lifecycle)
            )
        except BaseException as error:
            if status.lifecycle is lifecycle:
                lifecycle.take(Step.REST, now=self._clock.now())
            if isinstance(error, NetworkError):
                # Another dial may lead there, or the peer keeps that one; by then what was known may be forgotten.
                if status.dial is not None:
                    await asyncio.wait([status.dial])
                status = self._status(peer)
                if status.link is not None and not status.link.is_quiet:
                    return status.link
            self._forget_stranger(peer, status)
            raise
        link = self._status(peer).link
        assert link is not None  # the one that was just dialled, or the one that it gave way to
        return link

    def _forget_stranger(self, peer: PeerId, status: PeerStatus) -> None:
        """Keep nothing about a peer that nobody wants and that is not here."""
        if not status.is_wanted and status.link is None and self.known.get(peer) is status:
            del self.known[peer]

    async def _dial(
        self, peer: PeerId, addresses: Sequence[str], lifecycle: Lifecycle
    ) -> Connection:
        try:
            async with asyncio.timeout(CONNECT_S_MAX):
                connection = await self._network.dial(peer, addresses, lifecycle)
        except TimeoutError:
            raise DialError(
                f"nobody answered within {CONNECT_S_MAX:.0f} s at {', '.join(addresses)}"
            ) from None
        if connection.lifecycle.state is State.CLOSED:  # before we could look at it
            code, reason, by_peer = await connection.wait_closed()
            raise connection_lost(code, reason, by_peer=by_peer)
        return connection

    def _can_find(self, status: PeerStatus) -> bool:
        signalling = self._services.signalling
        return bool(status.places(self._clock.now())) or (
            signalling is not None and signalling.can_signal()
        )

    def _take_error(self, peer: PeerId, status: PeerStatus, met: NetworkError) -> None:
        """Do about an error what the table says."""
        wanted = [each for each in self.known.values() if each.is_wanted]
        error = blame(met, peers_wanted=len(wanted), peers_connected=len(self.links()))
        self._is_outage |= error is not met
        strategy = strategy_of(error)
        status.error = error
        wait_s: float | None = None
        if status.link is None and status.dial is None and not self._is_closing:
            status.failures += strategy.is_counted
            wait_s = self._wait(peer, status, strategy)
        kind, action = type(error).__name__, strategy.action.value
        self._publish(
            NetworkErrorMet(peer=peer, error=kind, reason=str(error), action=action, retry_s=wait_s)
        )
        if strategy.is_security:
            self._publish(SecurityEvent(peer=peer, what=str(error)))

    def _wait(self, peer: PeerId, status: PeerStatus, strategy: Strategy) -> float | None:
        """Let a peer wait for the next try, and say how many seconds; None where it is not to be dialled."""
        now = self._clock.now()
        if not status.is_wanted or not self._can_find(status):
            status.lifecycle.take(Step.REST, now=now)
            return None
        if strategy.action is Action.GIVE_UP or has_failed(status.failures):
            status.lifecycle.take(Step.FAIL, now=now)
            wait_s = failed_retry_s(share=self._share())
        else:
            status.lifecycle.take(Step.WAIT, now=now)
            is_grown = strategy.action is Action.RETRY
            status.tries += is_grown
            tries = status.tries if is_grown else 0
            wait_s = back_off_s(tries, share=self._share(), floor_s=strategy.floor_s)
        self._dial_at(peer, status, now + wait_s)
        return wait_s

    # -- Having --

    async def _accept(self) -> None:
        while True:
            try:
                connection = await self._network.accept()
            except NetworkError:
                return
            if connection.lifecycle.state is State.ENCRYPTED:  # else it has ended meanwhile
                self._adopt(connection)

    def _adopt(self, connection: Connection) -> None:
        """Serve a connection, unless the peer has a better one; of two only one stays."""
        peer = connection.peer
        if peer == self.own_id:
            connection.close(CloseCode.NOT_WANTED, "this is myself")
            return
        status = self._status(peer)
        if status.link is not None:
            old = status.link.connection
            if not has_lost(old.lifecycle, connection.lifecycle) and not is_replaced(
                old_instance=old.instance,
                new_instance=connection.instance,
                old_dialler=self._dialler(old),
                new_dialler=self._dialler(connection),
            ):
                connection.close(CloseCode.REPLACED, "another connection stays")
                return
            status.link = None
            old.close(CloseCode.REPLACED, "a newer connection took its place")
        self._serve_link(peer, status, Link(connection, self._services))
        if self._is_outage:
            self.network_returned()

    def look_for_others(self) -> None:
        """Somebody has come who may hand on our offers: dial whom we knew no way to before."""
        for peer, status in self.known.items():
            is_planned = status.link or status.dial or self.next_dial(peer) is not None
            if status.is_wanted and not is_planned:
                self._deadlines.set((Due.DIAL, peer), self._clock.now() + self._share())
        self._bell.ring()

    def _dialler(self, connection: Connection) -> PeerId:
        return self.own_id if connection.is_dialler else connection.peer

    def _serve_link(self, peer: PeerId, status: PeerStatus, link: Link) -> None:
        connection, now = link.connection, self._clock.now()
        status.link = link
        status.lifecycle = connection.lifecycle
        self._follow(peer, connection.lifecycle)
        if status.dial is not None and not connection.is_dialler and peer < self.own_id:
            status.dial.cancel()  # it would have to give way
        connection.lifecycle.take(Step.ACTIVATE, now=now)
        self._deadlines.forget((Due.DIAL, peer))
        self._deadlines.set((Due.COMPARE, peer), now + self._draw_compare_s())
        is_stranger = not (connection.is_dialler or status.is_wanted or link.shares_something)
        unused_s_max = STRANGER_S_MAX if is_stranger else UNUSED_S_MAX
        self._deadlines.set((Due.UNUSED, peer), now + unused_s_max)
        if connection.is_dialler:
            self._deadlines.set((Due.HEARTBEAT, peer), now + HEARTBEAT_S)
        else:
            self._deadlines.forget((Due.HEARTBEAT, peer))
        self._book.meet(status, connection.remote_address)
        self._runtime.spawn(self._serve(link, status), f"link {peer.short}")
        if is_stranger:
            self._strangers.admit(link)
        elif self._services.signalling is not None:
            self.look_for_others()

    async def _serve(self, link: Link, status: PeerStatus) -> None:
        connection, peer = link.connection, link.peer
        phases_s = connection.lifecycle.phases_s()
        self._publish(
            ConnectionActive(
                peer=peer,
                address=connection.remote_address,
                is_dialler=connection.is_dialler,
                phases_s={state.value: took_s for state, took_s in phases_s.items()},
            )
        )
        started = self._clock.now()
        try:
            code, reason, by_peer = await link.run()
        finally:
            self._services.statistics.add_traffic(peer, connection.statistics())
            self._strangers.forget(link)
            if status.link is link:
                status.link = None
        if status.dial is not None and code == CloseCode.TIMED_OUT:
            status.dial.cancel()  # begun before: the peer may have lost it, too, and not be there to say so
        if self._clock.now() - started >= BRIEF_S:
            status.tries = status.failures = 0
        self._publish(PeerDisconnected(peer=peer, code=code, reason=reason, by_peer=by_peer))
        self._take_error(peer, status, connection_lost(code, reason, by_peer=by_peer))
        self._forget_stranger(peer, status)

    async def close(self) -> None:
        """Close every connection, telling each peer that we stop."""
        self._is_closing = True
        await self._network.close(CloseCode.SHUTTING_DOWN, "the node stops")
        self._bell.stop()
        self._book.close()
