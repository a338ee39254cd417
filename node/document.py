"""A document as the embedder sees it: the real pycrdt types, and words for what pycrdt does not do."""

import re
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from threading import get_ident
from typing import Any, Final, Protocol

from pycrdt import Array, Doc, Map, Text, XmlFragment

from domain.crdt.engine import apply_each, state_of
from domain.crdt.walker import is_complete
from domain.errors import (
    EngineError,
    InviteError,
    NodeClosedError,
    NotPermittedError,
    RefusedEditsError,
    UpdateError,
    UsageError,
    WrongThreadError,
)
from domain.events import DocumentEvent, Event
from domain.identifiers import DocumentId, LogKey, PeerId
from domain.invite import Invite
from domain.operations.control import ControlBody, Leave, Remove, Role, SetRole, role_named
from domain.operations.device import DeviceMetadata
from domain.operations.kind import Kind
from node.events import Filter, Listener
from node.owner import DocumentOwner
from node.transactions import report_observers

PEERS_LEVEL: Final = re.compile(r"peers:([1-9][0-9]{0,5})")


@dataclass(frozen=True, slots=True, kw_only=True)
class InviteWish:
    """What an invite is to allow; see `Document.invite`."""

    role: str
    uses: int
    expires_s: float
    is_own_device: bool
    confirm: bool
    addresses: Sequence[str]


class DocumentHost(Protocol):
    """The node, as its documents see it."""

    async def synced(self, owner: DocumentOwner) -> None:
        """Wait until heights are exchanged with some member."""

    def listen(self, wants: Filter) -> Listener:
        """Listen to some of what happens."""

    async def invite(self, owner: DocumentOwner, wish: InviteWish) -> str:
        """Make an invite."""

    async def confirm(self, owner: DocumentOwner, code: str) -> PeerId:
        """Let in who waits with that code."""

    def waiting(self, owner: DocumentOwner) -> dict[PeerId, str]:
        """Give who waits to be let in, with the codes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DocumentStatistics:
    """What this device has written in a document since it was opened.

    Args:
        edits: Transactions, each of which made one update.
        update_bytes: Of all these updates together.
        pending_bytes: Of those that are not signed yet.
        operations: Signed content operations that carry them.
        body_bytes: Of what these carry, before sealing.
    """

    edits: int
    update_bytes: int
    pending_bytes: int
    operations: int
    body_bytes: int


class Document:
    """One open document of a node; made by `Node.create`, `Node.join` and `Node.document`.

    `ydoc` and what `text`, `map`, `array` and `xml` give are pycrdt's own, with its transactions and observers. An edit
    is visible at once, on disk some milliseconds later (`durable`), and on its way to connected peers then. The event
    `DocumentReloaded` says that `ydoc` is a new object: fetch the handles again. It comes after an open transaction
    of the old one has ended, up to ten seconds later. Where an observer fails on what others did, or on an import, the
    exception goes to the handler of the event loop. Everything here belongs to the thread and the event loop that
    opened the node.

    Args:
        host: The node.
        owner: Owns the document.
    """

    def __init__(self, host: DocumentHost, owner: DocumentOwner) -> None:
        self._host = host
        self._owner = owner
        self._thread = get_ident()
        self._refused_told = owner.document.pending.refused_end

    def _check(self) -> DocumentOwner:
        if get_ident() != self._thread:
            raise WrongThreadError(
                "a document is used from the thread that opened its node; call into its event loop"
            )
        if self._owner.is_closed:
            raise NodeClosedError(self._owner.ending)
        return self._owner

    @property
    def id(self) -> DocumentId:
        """The id of the document, the same on every device."""
        return self._owner.document.document

    @property
    def name(self) -> str:
        """What the document is called on this device."""
        return self._owner.document.record.name

    @property
    def role(self) -> Role | None:
        """What this device may do; None where it is no member."""
        return self._owner.document.role

    @property
    def may_write(self) -> bool:
        """Whether our edits are accepted; they are taken back where they are not."""
        return self._check().document.may_write

    @property
    def void_count(self) -> int:
        """How many operations with content of this device count no longer, since it was demoted or removed."""
        document = self._check().document
        return document.ledger.counting.void_content_of(document.key.peer)

    @property
    def ydoc(self) -> "Doc[Any]":
        """The pycrdt document itself."""
        return self._check().document.ydoc

    def text(self, name: str) -> Text:
        """The root text of that name, made where there is none. pycrdt counts its indexes in UTF-8 bytes."""
        text: Text = self.ydoc.get(name, type=Text)
        return text

    def map(self, name: str) -> "Map[Any]":
        """The root map of that name, made where there is none."""
        mapping: Map[Any] = self.ydoc.get(name, type=Map)
        return mapping

    def array(self, name: str) -> "Array[Any]":
        """The root array of that name, made where there is none."""
        array: Array[Any] = self.ydoc.get(name, type=Array)
        return array

    def xml(self, name: str) -> XmlFragment:
        """The root XML fragment of that name, made where there is none."""
        fragment: XmlFragment = self.ydoc.get(name, type=XmlFragment)
        return fragment

    def import_update(self, update: bytes) -> None:
        """Take in a Yjs update (v1 encoding) made elsewhere; visible at once, durable after `durable`.

        Its client ids become ours by a claim, so each must be new here or ours already.

        Raises:
            UpdateError: It is malformed, too large, or brings structs of a client id that belongs to another author; or
                it builds on what is not here: import that first.
            NotPermittedError: This device may not write in the document.
        """
        owner = self._check()
        if not owner.document.may_write:
            raise NotPermittedError("this device may not write in the document")
        owner.document.check_import(update)
        if not is_complete(update, state_of(owner.document.ydoc)):
            raise UpdateError(
                "incomplete", "it builds on, or deletes, what is not here: import that first"
            )
        try:
            for failed in apply_each(owner.document.ydoc, [update]):
                report_observers(failed)
        except EngineError as error:
            raise UpdateError("engine", str(error)) from None

    async def durable(self, level: str = "disk") -> None:
        """Wait for a receipt about everything that was edited before this call.

        Args:
            level: `disk` - on our disk; it survives `kill -9` and power loss. `peers:N` - besides, N other member
                devices that may read hold all that we had on disk at this call. Waits as long as it takes: use
                `asyncio.timeout`.

        Raises:
            UnsavedEditsError: The disk does not take it now; the edits stay and are tried again.
            RefusedEditsError: Some of the edits since the last call were taken back, and are gone from `ydoc`; the
                others are saved.
            NodeClosedError: The document was closed before.
            UsageError: There is no such level.
        """
        owner = self._check()
        told, target = self._refused_told, owner.document.pending.total_count
        match = PEERS_LEVEL.fullmatch(level)
        if level == "disk":
            await owner.durable()
        elif match is not None:
            await owner.durable_at_peers(int(match[1]))
        else:
            raise UsageError(f"there is no durability level {level!r}: use 'disk' or 'peers:N'")
        pending = owner.document.pending
        if refused_count := pending.count_refused(told, target):
            self._refused_told = max(self._refused_told, min(pending.refused_end, target))
            await owner.wait_until(lambda: owner.document.rebuild_reason is None)
            raise RefusedEditsError(
                f"{refused_count} edits were refused and taken back: see the event"
            )

    async def synced(self) -> None:
        """Wait until we have exchanged heights with at least one member, as of this call, and applied what we lacked.

        Waits for a member to be reachable, as long as it takes: use `asyncio.timeout`.

        Raises:
            NodeClosedError: The document was closed before.
        """
        owner = self._check()
        await self._host.synced(owner)

    @property
    def heights(self) -> Mapping[LogKey, int]:
        """How many operations of each log are on our disk and, unless a transaction is open, show in `ydoc`."""
        heights = self._check().document.heights
        return {log: height.count for log, height in heights.items()}

    def statistics(self) -> DocumentStatistics:
        """Tell what this device has written since it opened the document."""
        owner = self._check()
        pending = owner.document.pending
        return DocumentStatistics(
            edits=pending.total_count,
            update_bytes=pending.total_bytes,
            pending_bytes=pending.size,
            operations=owner.content_count,
            body_bytes=owner.body_bytes,
        )

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition holds; it is looked at whenever something about this document has changed or is saved.

        Raises:
            NodeClosedError: The document was closed before.
        """
        await self._check().wait_until(condition)

    def events(self) -> AsyncIterator[Event]:
        """Listen to what happens to this document, from this call on; ends when the node closes."""
        document = self.id

        def concerns(event: Event) -> bool:
            return isinstance(event, DocumentEvent) and event.document == document

        return self._host.listen(concerns)

    async def invite(
        self,
        *,
        role: str = "write",
        uses: int = 1,
        expires_s: float = 86_400,
        is_own_device: bool = False,
        confirm: bool = False,
        addresses: tuple[str, ...] = (),
    ) -> str:
        """Make an invite: a string that lets its holders join; pass it on over a channel that you trust.

        Args:
            role: What joiners may do: `pull`, `read`, `write` or `manage`.
            uses: How many devices may join with it, 1 to 10,000.
            expires_s: For how many seconds from now, up to ten years.
            is_own_device: Whether it is for devices of the same person as this one: then any member may invite, up to
                its own role, and the devices may remove each other.
            confirm: Whether a joiner waits until a manager has compared a short code with it, as over the telephone:
                then whoever steals the invite cannot join unnoticed. See `confirm`.
            addresses: Where joiners can dial us, at most 16: `host:port`, or `PEERID@host:port` of a rendezvous; by
                default where we listen.

        Raises:
            NotPermittedError: Our role does not allow it.
            UsageError: There is no such role, a number is out of range, or nobody can dial an address.
        """
        self._check()
        wish = InviteWish(
            role=role,
            uses=uses,
            expires_s=expires_s,
            is_own_device=is_own_device,
            confirm=confirm,
            addresses=addresses,
        )
        return await self._host.invite(self._owner, wish)

    async def confirm(self, code: str) -> PeerId:
        """Let in the device that waits with that code, since two people have found both codes equal; durable on return.

        Args:
            code: As the event `JoinRequested` or `waiting` gave it; blanks do not count.

        Raises:
            UsageError: No device waits with it.
            NotPermittedError: Our role does not allow it, or the invite is no longer good.
        """
        return await self._host.confirm(self._check(), code)

    def waiting(self) -> dict[PeerId, str]:
        """Give the devices that wait to be let in, each with the code that has to be compared."""
        return self._host.waiting(self._check())

    async def rotate(self) -> None:
        """Make a new secret for what is written from now on, and give it to all members; durable on return.

        What was written before stays as readable as it was. A removal does this by itself.

        Raises:
            NotPermittedError: This device may not write in the document.
        """
        await self._check().rotate()

    # -- Members --

    def members(self) -> dict[PeerId, Role]:
        """Give the devices that are members, with their roles, by everything that is here."""
        return self._check().document.ledger.membership.members()

    def person(self, peer_id: PeerId | str) -> PeerId | None:
        """Give the first device of the person whose device that is, which names the person; None for no member."""
        return self._check().document.ledger.membership.person(_peer(peer_id))

    def devices(self) -> dict[PeerId, DeviceMetadata]:
        """Give what the member devices say about themselves; those that say nothing, or cannot be read, are left out.

        A device chooses its name: who it is follows from its peer id alone.
        """
        document = self._check().document
        said = {peer: document.replica.devices.of(peer) for peer in self.members()}
        return {peer: metadata for peer, metadata in said.items() if metadata is not None}

    async def describe_device(self, name: str, capabilities: Iterable[str] = ()) -> None:
        """Tell the readers of this document what this device is called and can do; durable here on return.

        It is sealed as all content is. Cancelled, it may have happened.

        Args:
            name: One line for people, at most 128 bytes of UTF-8; empty takes an earlier name back.
            capabilities: At most 16 words of lower-case letters, digits, `.` and `-`, of at most 32 bytes each.

        Raises:
            UsageError: A name or word is not as it should be.
            NotPermittedError: This device may not write in the document, or has not been given its secret yet.
        """
        metadata = DeviceMetadata(name=name, capabilities=tuple(sorted(set(capabilities))))
        metadata.check()
        await self._check().write(Kind.DEVICE_METADATA, metadata)

    async def set_role(self, peer_id: PeerId | str, role: Role | str) -> None:
        """Give a member another role; durable here on return, the others hear of it as soon as they are connected.

        Of concurrent changes the lowest role counts, and a removal before any role. What the member has written that we
        have not got yet, and that the new role does not allow, counts no longer. Cancelled, it may have happened.

        Raises:
            NotPermittedError: Our role does not allow it, there is no such member, or nobody else would manage the
                document.
            UsageError: There is no such role.
        """
        wanted = role if isinstance(role, Role) else role_named(role)
        await self._change(Kind.SET_ROLE, SetRole(member=_peer(peer_id), role=wanted))

    async def remove(self, peer_id: PeerId | str) -> None:
        """Remove a device; durable here on return. It keeps what it has, and gets nothing more.

        Whatever it wrote that we have not got counts no longer, on any device; where honest text was written within
        such text, that stays. Cancelled, it may have happened.

        Raises:
            NotPermittedError: We neither manage the document nor are of the same person and as high a role; there is no
                such member; or nobody else would manage the document.
        """
        await self._change(Kind.REMOVE, Remove(member=_peer(peer_id)))

    async def leave(self) -> None:
        """Give up our own membership; durable here on return. What is here stays readable; `Node.forget` deletes it.

        Raises:
            NotPermittedError: Nobody else would manage the document, or we are no member.
        """
        await self._change(Kind.LEAVE, Leave())

    async def revoke(self, invite: str) -> PeerId:
        """Take the power of an invite, given as its string; gives the public half of its key.

        Whom another manager lets in by it at the same time is out again once both is known.

        Raises:
            InviteError: It is no invite to this document.
            NotPermittedError: We neither manage the document nor made the invite.
        """
        decoded = Invite.decode(invite)
        if decoded.document != self.id:
            raise InviteError("other-document", "this invite is for another document")
        await self._change(Kind.REMOVE, Remove(member=decoded.key.peer))
        return decoded.key.peer

    async def _change(self, kind: Kind, body: ControlBody) -> None:
        await self._check().write(kind, body)


def _peer(peer_id: PeerId | str) -> PeerId:
    return PeerId.from_hex(peer_id) if isinstance(peer_id, str) else peer_id
