"""A document as the embedder sees it: the real pycrdt types, and words for what pycrdt does not do."""

import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from threading import get_ident
from typing import Any, Final, Protocol

from pycrdt import Array, Doc, Map, Text, XmlFragment

from domain.crdt.engine import apply
from domain.errors import (
    EngineError,
    NodeClosedError,
    NotPermittedError,
    UpdateError,
    UsageError,
    WrongThreadError,
)
from domain.events import DocumentEvent, Event
from domain.identifiers import DocumentId, LogKey
from domain.operations.control import Role
from node.events import Filter, Listener
from node.owner import DocumentOwner

PEERS_LEVEL: Final = re.compile(r"peers:([1-9][0-9]{0,5})")


class DocumentHost(Protocol):
    """The node, as its documents see it."""

    async def synced(self, owner: DocumentOwner) -> None:
        """Wait until heights are exchanged with some member."""

    def listen(self, wants: Filter) -> Listener:
        """Listen to some of what happens."""

    async def invite(
        self,
        owner: DocumentOwner,
        *,
        role: str,
        uses: int,
        expires_s: float,
        addresses: Sequence[str],
    ) -> str:
        """Make an invite."""


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
    `DocumentReloaded` says that `ydoc` is a new object: fetch the handles again. Everything here belongs to the thread
    and the event loop that opened the node.

    Args:
        host: The node.
        owner: Owns the document.
    """

    def __init__(self, host: DocumentHost, owner: DocumentOwner) -> None:
        self._host = host
        self._owner = owner
        self._thread = get_ident()

    def _check(self) -> DocumentOwner:
        if get_ident() != self._thread:
            raise WrongThreadError(
                "a document is used from the thread that opened its node; call into its event loop"
            )
        if self._owner.is_closed:
            raise NodeClosedError("the document is closed")
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
            UpdateError: It is malformed, too large, or brings structs of a client id that belongs to another author.
            NotPermittedError: This device may not write in the document.
        """
        owner = self._check()
        if not owner.document.may_write:
            raise NotPermittedError("this device may not write in the document")
        owner.document.check_import(update)
        try:
            apply(owner.document.ydoc, update)
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
            NodeClosedError: The document was closed before.
            UsageError: There is no such level.
        """
        owner = self._check()
        match = PEERS_LEVEL.fullmatch(level)
        if level == "disk":
            await owner.durable()
        elif match is not None:
            await owner.durable_at_peers(int(match[1]))
        else:
            raise UsageError(f"there is no durability level {level!r}: use 'disk' or 'peers:N'")

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
        addresses: tuple[str, ...] = (),
    ) -> str:
        """Make an invite: a string that lets its holders join; pass it on over a channel that you trust.

        Args:
            role: What joiners may do; this version knows `write`.
            uses: How many devices may join with it, 1 to 10,000.
            expires_s: For how many seconds from now, up to ten years.
            addresses: Where joiners can dial us, `host:port`; by default where we listen.

        Raises:
            UnsupportedRoleError: The role is not `write`.
            NotPermittedError: This device does not manage the document.
            UsageError: A number is out of range.
        """
        self._check()
        return await self._host.invite(
            self._owner, role=role, uses=uses, expires_s=expires_s, addresses=addresses
        )
