"""The node: the embedder's door to its documents and its peers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from os import PathLike
from threading import get_ident
from typing import Self

from domain.connectivity.address import is_loopback
from domain.connectivity.candidate import is_public
from domain.connectivity.diagnosis import Verdict, diagnose
from domain.connectivity.lifecycle import State
from domain.errors import (
    CulmError,
    NodeClosedError,
    UnsavedEditsError,
    UsageError,
    WrongThreadError,
)
from domain.events import (
    CloneDetected,
    Event,
    MemberAdded,
    MemberRemoved,
    PeerStateChanged,
    PeerUnreachable,
)
from domain.explanation import Explanation
from domain.identifiers import DocumentId, PeerId
from domain.limits import HAND_OVER_S_MAX
from domain.operations.control import Role
from domain.ports.network import NetworkInterface
from domain.ports.traversal import Traversal
from node import joining
from node.admission import InviteAdmission
from node.config import NodeConfig
from node.document import Document, InviteWish
from node.documents import Documents
from node.environment import Environment
from node.events import EventStream, Filter, Listener
from node.exchange import Exchange
from node.explaining import explain_document
from node.meeting import MeetingPlaces
from node.nearby import Nearby
from node.network_memory import NetworkMemory
from node.owner import DocumentOwner
from node.peers import Peers
from node.reaching import ReachingNetwork
from node.runtime import Runtime, open_runtime
from node.services import Services
from node.signalling import Signalling
from node.statistics import NodeStatistics, Statistics
from node.wiring.system import open_adapters


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentInfo:
    """A document in short; `role` is None where this device is no member."""

    id: DocumentId
    name: str
    role: Role | None


class Node:
    """A running node; made by `Node.open`, and used from the thread and event loop that opened it.

    Args:
        environment: Everything outside.
        runtime: Starts its tasks.
    """

    def __init__(self, environment: Environment, runtime: Runtime) -> None:
        self.environment = environment
        self.runtime = runtime
        self._thread = get_ident()
        self._stream = EventStream()
        self._statistics = Statistics(environment.clock)
        self._documents = Documents(environment, runtime, self._publish)
        self._is_closed = False
        self._places = MeetingPlaces(
            environment.key.peer, lambda: self._documents, environment.clock
        )
        self._signalling = self._make_signalling()
        self.admission = InviteAdmission(environment, lambda: self._documents, self._publish)
        self.peers = Peers(
            Services(
                environment=environment,
                network=self._make_network(),
                signalling=self._signalling,
                runtime=runtime,
                owners=lambda: self._documents,
                admission=self.admission,
                publish=self._publish,
                statistics=self._statistics,
            )
        )
        self._nearby = self._make_nearby()
        traversal = environment.traversal
        self._memory = NetworkMemory(environment, traversal) if traversal is not None else None

    def _make_signalling(self) -> Signalling | None:
        environment = self.environment
        if environment.traversal is None:
            return None
        return Signalling(
            environment,
            self.runtime,
            environment.traversal,
            places=self._places,
            publish=self._publish,
            serves_anybody=environment.serves_anybody,
        )

    def _make_network(self) -> NetworkInterface:
        environment = self.environment
        if environment.traversal is None or self._signalling is None:
            return environment.network
        return ReachingNetwork(
            environment.network,
            environment.traversal,
            self._signalling,
            self.runtime,
            environment.clock,
        )

    def _make_nearby(self) -> Nearby | None:
        environment = self.environment
        if environment.discovery is None:
            return None
        return Nearby(
            environment.discovery,
            self._places,
            environment.clock,
            own_id=environment.key.peer,
            announces=environment.announces,
            own_addresses=lambda: environment.network.addresses,
            found=self.peers.sign_of_life,
        )

    # -- Opening and closing --

    @classmethod
    @asynccontextmanager
    async def open(
        cls, path: str | PathLike[str], config: NodeConfig | None = None
    ) -> AsyncIterator[Self]:
        """Open the node of a data directory (made with mode 0700 where there is none), and run it in the block.

        At the end of the block edits are brought to disk and peers are told.

        Raises:
            StorageError: The directory is in use, cannot be read or written, or belongs to a newer culm.
            KeyFileError: The key file is missing beside a database, damaged, or open to others.
            NetworkError: The address cannot be listened on.
            ConfigurationError: Something in `config` is not as it should be.
            UnsavedEditsError: (at the end) Some edits could not be written.
        """
        async with (
            open_adapters(path, config or NodeConfig()) as environment,
            cls.run(environment) as node,
        ):
            yield node

    @classmethod
    @asynccontextmanager
    async def run(cls, environment: Environment) -> AsyncIterator[Self]:
        """Run a node in an environment of your own (a simulation's) in the block."""
        async with open_runtime() as runtime:
            for worker in environment.workers:
                runtime.spawn(worker(), "store")
            node = cls(environment, runtime)
            try:
                await node._start()
                yield node
            finally:
                await node._close()

    async def _start(self) -> None:
        if self._memory is not None:
            await self._memory.recall()
            self.runtime.spawn(self._memory.run(), "network memory")
        await self._documents.load()
        await self.peers.start()
        if self._signalling is not None:
            self._signalling.start(self.environment.rendezvous, self.peers.look_for_others)
        for owner in self._documents:
            self._want_members(owner)
        if self._nearby is not None:
            self._nearby.start(self.runtime)

        if self.environment.traversal is not None:
            self.runtime.spawn(self._follow_moves(self.environment.traversal), "moves")

    async def _follow_moves(self, traversal: Traversal) -> None:
        """Where the machine is in another network, or in one again, do as if we had been told."""
        while True:
            await traversal.moved()
            self.peers.network_returned()

    async def _close(self) -> None:
        self._is_closed = True
        unsaved = await self._documents.close(self._hand_over)
        await self.peers.close()
        self._stream.close()
        await self.environment.close_store()
        if unsaved:
            raise UnsavedEditsError("edits were not written: " + "; ".join(unsaved))

    async def _hand_over(self, owner: DocumentOwner) -> None:
        """Let peers that are connected take what we have written last: who is off in a moment tells nobody."""
        with suppress(TimeoutError, NodeClosedError):  # it may have ended by itself, for an error
            async with asyncio.timeout(HAND_OVER_S_MAX):
                await owner.wait_until(
                    lambda: not any(each.lacks_ours for each in self.exchanges(owner))
                )

    def _check(self) -> None:
        if get_ident() != self._thread:
            raise WrongThreadError(
                "a node is used from the thread that opened it; call into its event loop"
            )
        if self._is_closed:
            raise NodeClosedError("the node is closed")

    # -- What it is --

    @property
    def peer_id(self) -> PeerId:
        """The id of this device."""
        return self.environment.key.peer

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where it listens, as `host:port` that peers can dial."""
        return self.environment.network.addresses

    def explain(self, document: DocumentId | str, peer: PeerId | str | None = None) -> Explanation:
        """Say why an edit of a document is not there: here, or at a peer.

        It is a snapshot of what this node knows; nothing is asked or sent.

        Args:
            document: The document, also as 64 hex digits.
            peer: Where it should be, also as 64 hex digits; None to look at this device alone.

        Raises:
            UnknownDocumentError: This node does not have it.
            IdentifierError: That is no id.
        """
        self._check()
        owner = self._documents.get(document)
        if isinstance(peer, str):
            peer = PeerId.from_hex(peer)
        refused = self._statistics.refusals(owner.document.document)
        now = self.environment.clock.now()
        return explain_document(owner, self.peers, peer, refused=refused, now=now)

    def network_returned(self) -> None:
        """Say that the network of this machine is back: every peer that is not connected is dialled within a second.

        A node that has a network of its own notices new addresses of the machine by itself, within a second; this is
        for what does not show there. Twice within 30 s, the second time has no effect.
        """
        self._check()
        self.peers.network_returned()

    def statistics(self) -> NodeStatistics:
        """Count what has happened since the node started: traffic, connections, errors, security events, memory."""
        self._check()
        running = {link.peer: link.connection.statistics() for link in self.peers.links()}
        nat = self._memory.verdict if self._memory is not None else None
        return self._statistics.freeze(running, self.environment.memory_bytes(), nat)

    # -- Events --

    def _publish(self, event: Event) -> None:
        self._statistics.take(event)
        self._stream.publish(event)
        if isinstance(event, MemberAdded):
            self.peers.want(event.peer)
            if self._signalling is not None:
                self._signalling.register_soon()
        if isinstance(event, MemberRemoved):
            self._release(event.peer)
        if isinstance(event, PeerStateChanged) and event.new is State.FAILED:
            reason = self.peers.known[event.peer].last_error or "it does not answer"
            self._stream.publish(PeerUnreachable(peer=event.peer, reason=reason))
        if isinstance(event, MemberAdded | CloneDetected):
            owner = self._documents.find(event.document)
            if owner is not None:
                self.peers.announce(owner)

    def events(self) -> AsyncIterator[Event]:
        """Listen to everything that happens, from this call on; ends when the node closes."""
        self._check()
        return self.listen(lambda _: True)

    def listen(self, wants: Filter) -> Listener:
        """Listen to some of what happens, from this call on."""
        return self._stream.listen(wants)

    # -- Documents --

    def owners(self) -> list[DocumentOwner]:
        """List the owners of its documents."""
        self._check()
        return list(self._documents)

    def documents(self) -> list[DocumentInfo]:
        """List the documents of this node."""
        self._check()
        return [
            DocumentInfo(
                id=owner.document.document,
                name=owner.document.record.name,
                role=owner.document.role,
            )
            for owner in self._documents
        ]

    def damaged_documents(self) -> dict[DocumentId, CulmError]:
        """List the documents that are on disk and cannot be opened, each with the reason; `forget` deletes them."""
        self._check()
        return dict(self._documents.damaged)

    async def document(self, document_id: DocumentId | str) -> Document:
        """Open one of its documents.

        Args:
            document_id: Its id, also as 64 hex digits.

        Raises:
            UnknownDocumentError: This node does not have it.
            IdentifierError: That is no id.
        """
        self._check()
        owner = self._documents.get(document_id)
        owner.used = (1, self.environment.clock.now())
        return Document(self, owner)

    async def create(self, name: str) -> Document:
        """Found a document; durable on return. Nobody else has it until you invite them.

        Args:
            name: What you call it, at most 1,024 bytes; joiners learn it from the invite.

        Raises:
            UsageError: The name is empty or too long.
        """
        self._check()
        owner = await self._documents.create(name)
        self._be_found()
        return Document(self, owner)

    async def forget(self, document_id: DocumentId | str) -> None:
        """Delete a document from this device; others keep it. Edits that no peer has are lost.

        Durable on return. Cancelled, it goes on all the same.

        Raises:
            UnknownDocumentError: This node does not have it, or another call has forgotten it meanwhile.
            StorageError: It cannot be deleted now; it is there as before.
        """
        self._check()
        if (damaged := self._find_damaged(document_id)) is not None:
            await self._documents.forget_damaged(damaged)
            return
        owner = self._documents.get(document_id)
        self.peers.detach(owner.document.document)
        await self._documents.forget(owner)
        self._be_found()

    def _find_damaged(self, document_id: DocumentId | str) -> DocumentId | None:
        return next(
            (each for each in self._documents.damaged if document_id in (each, str(each))), None
        )

    # -- Inviting and joining --

    async def invite(self, owner: DocumentOwner, wish: InviteWish) -> str:
        """Make an invite; see `Document.invite`."""
        self._check()
        reachable = replace(wish, addresses=wish.addresses or await self._find_addresses())
        invite = await joining.invite(owner, self.environment, self.peers, reachable)
        self._be_found()
        return invite

    async def confirm(self, owner: DocumentOwner, code: str) -> PeerId:
        """Let in who waits with that code; see `Document.confirm`."""
        self._check()
        return await self.admission.confirm(owner.document.document, code)

    def waiting(self, owner: DocumentOwner) -> dict[PeerId, str]:
        """Give who waits to be let in; see `Document.waiting`."""
        self._check()
        return self.admission.waiting(owner.document.document)

    async def join(self, invite: str) -> Document:
        """Join the document of an invite; on return this device is a member, durably. `synced()` waits for the rest.

        Joining again with an invite to a document that this node has gives that document. Cancelled, or failed, the
        node is as before.

        Raises:
            InviteError: The invite is refused; `.reason` says why.
            NetworkError: The inviter cannot be reached now.
            StorageCorruptError: It is on disk here, and cannot be opened: `forget` it first.
        """
        self._check()
        owner = await joining.join(
            invite, self.environment, self._documents, self.peers, self.runtime
        )
        self._want_members(owner)
        self._be_found()
        return Document(self, owner)

    def _be_found(self) -> None:
        """Let members of our documents find us through others, and nearby."""
        if self._signalling is not None:
            self._signalling.register()
        if self._nearby is not None:
            self._nearby.update()

    def _want_members(self, owner: DocumentOwner) -> None:
        for peer in owner.document.ledger.membership.members():
            self.peers.want(peer)

    def _release(self, peer: PeerId) -> None:
        """Look no more for who shares no document with us now; who does not know that yet looks for us."""
        if not any(
            each.document.ledger.membership.role(peer) is not None for each in self._documents
        ):
            self.peers.release(peer)

    async def _find_addresses(self) -> tuple[str, ...]:
        """Where others reach this node: as it is seen outside, where it listens, and whom to ask for it."""
        traversal = self.environment.traversal
        if traversal is None or self._signalling is None:
            return self.addresses
        own = [each for each in self.addresses if not is_loopback(each)]
        candidates = await traversal.candidates(with_relay=False, is_fresh=False)
        seen = tuple(str(each.address) for each in candidates if is_public(each.address))
        via = tuple(map(str, self._signalling.rendezvous.servers))
        # Loopback leads a joiner elsewhere to itself; where it is all there is, the joiner is here too.
        return tuple(dict.fromkeys((*via, *seen, *own))) or self.addresses

    # -- Looking at the network --

    async def doctor(self) -> tuple[Verdict, ...]:
        """Find out what this network lets the node do, asking every server that is configured; takes some seconds.

        Raises:
            UsageError: This node has no network of its own to examine (in the faster mode of simulation).
        """
        self._check()
        traversal = self.environment.traversal
        if traversal is None or self._signalling is None:
            raise UsageError("there is no network to examine")
        report = await traversal.examine()
        return diagnose(replace(report, rendezvous=await self._signalling.rendezvous.examine()))

    # -- Syncing --

    def exchanges(self, owner: DocumentOwner) -> list[Exchange]:
        """List the exchanges of a document that are running."""
        running = (link.exchanges.get(owner.document.document) for link in self.peers.links())
        return [exchange for exchange in running if exchange is not None and not exchange.is_over]

    async def synced(self, owner: DocumentOwner) -> None:
        """Wait until heights are exchanged with some member; see `Document.synced`."""
        asked: dict[Exchange, int] = {}

        def is_synced() -> bool:
            for exchange in self.exchanges(owner):
                if exchange not in asked:
                    asked[exchange] = exchange.open()
            return any(exchange.done_exchange >= number for exchange, number in asked.items())

        await owner.wait_until(is_synced)
