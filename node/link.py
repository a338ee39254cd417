"""One connection to one peer: on its control channel both sides say which documents they share and how far they are."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Final

from domain import limits
from domain.connectivity.close_codes import CloseCode
from domain.connectivity.lifecycle import State
from domain.connectivity.strategy import Action, strategy_of
from domain.errors import ConnectionLostError, NodeClosedError, PeerError, StorageError
from domain.events import SecurityEvent, ServingFailed
from domain.identifiers import DocumentId, PeerId
from domain.ports.network import Connection, Priority
from domain.sync.frontier import bulk_channel_name, channel_name, digest
from domain.sync.message import Digests, Heartbeat, decode_message, encode_message
from domain.sync.session import Lane
from node.bell import Bell
from node.exchange import Exchange
from node.owner import DocumentOwner
from node.services import Services
from node.turns import Turns

logger = logging.getLogger(__name__)

UNKNOWN_DIGEST: Final = bytes(32)  # of who has nothing of the document yet


class Link:
    """Serves one connection.

    Args:
        connection: The connection.
        services: The rest of the node.
    """

    def __init__(self, connection: Connection, services: Services) -> None:
        self.connection = connection
        self.exchanges: dict[DocumentId, Exchange] = {}
        self._services = services
        self._control_tasks: list[asyncio.Task[None]] = []
        self._exchange_tasks: dict[DocumentId, list[asyncio.Task[None]]] = {}
        self._to_announce: dict[DocumentId, DocumentOwner] = {}
        self._beats: deque[Heartbeat] = deque()
        self._beat = 0
        self._answered = 0
        self._bell = Bell()
        self._turns = Turns()
        self._is_over = False

    @property
    def peer(self) -> PeerId:
        """Who is at the other end."""
        return self.connection.peer

    async def run(self) -> tuple[int, str, bool]:
        """Serve the connection to its end, and give how it ended."""
        self._control_tasks = [
            self._spawn(self._write_control, "control-write"),
            self._spawn(self._read_control, "control-read"),
        ]
        self.announce_all()
        signalling = self._services.signalling
        if signalling is not None:
            signalling.attach(self.connection, lambda: self.shares_something)
        try:
            return await self.connection.wait_closed()
        finally:
            self._is_over = True
            ended = tuple(self.exchanges.values())
            self._stop()
            for exchange in ended:  # those too whose tasks had not begun
                await exchange.end()

    def _spawn(
        self, work: Callable[[], Coroutine[None, None, None]], name: str
    ) -> asyncio.Task[None]:
        return self._services.runtime.spawn(self._guard(work), f"{name} {self.peer.short}")

    async def _guard(self, work: Callable[[], Coroutine[None, None, None]]) -> None:
        try:
            await work()
        except (ConnectionLostError, NodeClosedError):
            return
        except (PeerError, StorageError) as error:
            self._end(error)

    def _end(self, error: PeerError | StorageError) -> None:
        """End the connection for an error, as the table says."""
        strategy = strategy_of(error)
        assert strategy.action is Action.CLOSE
        code: int = CloseCode.INTERNAL_ERROR
        reason = "what is stored cannot be read"
        if isinstance(error, PeerError):
            code, reason = error.code, str(error)
        else:
            logger.error("link.storage_failed", exc_info=error, extra={"peer": self.peer.short})
            self._services.publish(ServingFailed(peer=self.peer, reason=str(error)))
        if strategy.is_security:
            self._services.publish(SecurityEvent(peer=self.peer, what=str(error)))
        self.connection.close(code, reason)

    @property
    def shares_something(self) -> bool:
        """Whether the peer is a member of one of our documents."""
        return any(
            owner.document.ledger.membership.role(self.peer) is not None
            for owner in self._services.owners()
        )

    @property
    def is_of_use(self) -> bool:
        """Whether it carries a document, or offers for others; a stranger that never joins is of no use."""
        signalling = self._services.signalling
        serves = signalling is not None and signalling.serves(self.connection)
        return serves or self.is_joining

    @property
    def is_joining(self) -> bool:
        """Whether it carries a document, or one of the two waits to be let into one."""
        exchanged = any(
            exchange.is_undecided or not exchange.is_stranger()
            for exchange in self.exchanges.values()
        )
        return exchanged or bool(self._to_announce)

    def _stop(self) -> None:
        self._bell.stop()
        for document in tuple(self.exchanges):
            self.detach(document)
        for task in self._control_tasks:
            task.cancel()

    # -- Control channel --

    def announce(self, owner: DocumentOwner) -> None:
        """Tell the peer how far we are with a document, if both of us are members."""
        membership = owner.document.ledger.membership
        if owner.document.role is not None and membership.role(self.peer) is not None:
            self._to_announce[owner.document.document] = owner
            self._bell.ring()

    def compare(self) -> None:
        """Say how far we are with everything that we still share, though all seems well."""
        self._detach_former()
        self.announce_all()

    def announce_all(self) -> None:
        """Tell the peer how far we are with every document that we share, those that were used last first."""
        for owner in sorted(self._services.owners(), key=lambda each: each.used, reverse=True):
            self.announce(owner)

    def beat(self) -> None:
        """Ask the node at the other end whether it lives; not only its QUIC, which pings see to."""
        self._beat += 1
        self._beats.append(Heartbeat(number=self._beat, is_answer=False))
        self._bell.ring()

    @property
    def is_quiet(self) -> bool:
        """Whether nothing is heard from the peer any more."""
        return self.connection.lifecycle.state is State.QUIET

    async def tell_silence(self) -> None:
        """Let those who wait for something about its documents look again: nothing is heard any more."""
        for exchange in tuple(self.exchanges.values()):
            await exchange.owner.tell_changed()

    @property
    def is_unanswered(self) -> bool:
        """Whether the last heartbeat has not been answered."""
        return self._answered < self._beat

    async def _write_control(self) -> None:
        while True:
            await self._bell.wait()
            while self._beats:
                await self.connection.control.send(encode_message(self._beats.popleft()))
            while self._to_announce:
                names = list(self._to_announce)[: limits.DIGESTS_PER_MESSAGE_MAX]
                owners = [self._to_announce.pop(name) for name in names]
                entries = tuple((self._name(owner), _digest(owner)) for owner in owners)
                await self.connection.control.send(encode_message(Digests(entries=entries)))

    def _detach_former(self) -> None:
        """Stop exchanging documents of which one of us was a member and is none any more."""
        for document, exchange in tuple(self.exchanges.items()):
            membership = exchange.owner.document.ledger.membership
            peers = (self.peer, exchange.owner.document.key.peer)
            if any(membership.is_former(peer) for peer in peers):
                self.detach(document)

    def _name(self, owner: DocumentOwner) -> bytes:
        return channel_name(owner.document.document, self.connection.binding)

    async def _read_control(self) -> None:
        while True:
            message = decode_message(await self.connection.control.receive())
            match message:
                case Digests():
                    by_name = {self._name(owner): owner for owner in self._services.owners()}
                    for name, theirs in message.entries:
                        if (owner := by_name.get(name)) is not None:
                            await self._compare(owner, theirs)
                case Heartbeat():
                    self._hear_beat(message)
                case _:
                    raise PeerError(
                        CloseCode.PROTOCOL_ERROR, f"{type(message).__name__} on the control channel"
                    )

    def _hear_beat(self, message: Heartbeat) -> None:
        if message.is_answer:
            if message.number > self._beat:
                raise PeerError(CloseCode.PROTOCOL_ERROR, "an answer to no heartbeat of ours")
            self._answered = message.number
            return
        if len(self._beats) >= limits.HEARTBEATS_QUEUED_MAX:
            raise PeerError(CloseCode.RESOURCES, "heartbeats whose answers are not taken")
        self._beats.append(Heartbeat(number=message.number, is_answer=True))
        self._bell.ring()

    async def _compare(self, owner: DocumentOwner, theirs: bytes) -> None:
        membership = owner.document.ledger.membership
        is_member = membership.role(self.peer) is not None
        if not is_member and theirs != UNKNOWN_DIGEST:
            if membership.removals_of(self.peer):
                farewell = self.introduce(owner)  # it may not know that there is something to hear
                await farewell.say_farewell()
                farewell.open()
            return
        exchange = self.exchanges.get(owner.document.document)
        is_new = exchange is None
        if exchange is None:
            if owner.document.role is None and not membership.is_former(owner.document.key.peer):
                return  # the peer knows before us that we are a member: it is told how far we are once we know, too
            if owner.document.role is None:
                exchange = self.introduce(owner)  # it may not know that we have left
                await exchange.say_farewell()
            else:
                exchange = self.attach(owner)
                self.announce(owner)
        ours = _digest(owner)
        if theirs != ours:
            if is_member:
                exchange.compare(ours, theirs)
        elif is_member:
            await exchange.assume_equal(is_new=is_new)

    # -- Documents --

    def attach(self, owner: DocumentOwner) -> Exchange:
        """Start to exchange a document with the peer."""
        known = self.exchanges.get(owner.document.document)
        if known is not None:
            return known
        document, binding = owner.document.document, self.connection.binding
        channels = {
            Lane.LIVE: self.connection.channel(channel_name(document, binding), Priority.HIGH),
            Lane.BULK: self.connection.channel(bulk_channel_name(document, binding), Priority.LOW),
        }
        exchange = Exchange(self.peer, owner, channels, self._turns, self._services)
        self.exchanges[document] = exchange
        owner.on_commit[exchange.take_commit] = None
        owner.on_cut[exchange.say_heights] = None
        exchange.is_over = self._is_over
        if not self._is_over:
            self._exchange_tasks[document] = [
                self._spawn(partial(exchange.read, Lane.LIVE), "read"),
                self._spawn(partial(exchange.read, Lane.BULK), "read-bulk"),
                self._spawn(exchange.write, "write"),
            ]
        return exchange

    def introduce(self, owner: DocumentOwner) -> Exchange:
        """Open the channel of a document that we want to join: the peer learns which one from its name alone."""
        exchange = self.attach(owner)
        self._to_announce[owner.document.document] = owner
        self._bell.ring()
        return exchange

    def detach(self, document: DocumentId) -> None:
        """Stop exchanging a document, and with it the connection: what was said of it holds for the whole of that."""
        exchange = self.exchanges.pop(document, None)
        if exchange is None:
            return
        exchange.owner.on_commit.pop(exchange.take_commit, None)
        exchange.owner.on_cut.pop(exchange.say_heights, None)
        exchange.stop()
        for task in self._exchange_tasks.pop(document, []):
            task.cancel()
        self.connection.close(CloseCode.NORMAL, "a document is not shared any more")


def _digest(owner: DocumentOwner) -> bytes:
    heights = owner.document.heights
    return digest(heights) if heights else UNKNOWN_DIGEST
