"""All documents of a node: the records on disk, and the owners that are open."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final
from weakref import WeakValueDictionary

from domain import limits
from domain.document import Document
from domain.errors import (
    CulmError,
    EngineError,
    NodeClosedError,
    SealError,
    StorageCorruptError,
    StorageError,
    UnknownDocumentError,
    UnsavedEditsError,
    UsageError,
)
from domain.events import Event
from domain.founding import found
from domain.identifiers import DocumentId
from domain.keyring import Keyring
from domain.ports.storage import StoredOperation
from domain.record import DocumentRecord
from domain.sealing import open_record
from node.archive import RECORD_LABEL, DocumentArchive
from node.courier import SecretCourier
from node.environment import Environment
from node.owner import DocumentOwner
from node.runtime import Runtime, do_together
from node.stored import to_stored
from node.stuck import StuckWatch

logger = logging.getLogger(__name__)

HandOver = Callable[[DocumentOwner], Awaitable[None]]
CLOSE_S_MAX: Final = 4.0  # a node that is told to stop has 5 s


class Documents:
    """Opens, founds, forgets and closes documents.

    Args:
        environment: Where they are kept, and what else is outside.
        runtime: Starts the tasks of their owners.
        publish: Takes events.
    """

    def __init__(
        self, environment: Environment, runtime: Runtime, publish: Callable[[Event], None]
    ) -> None:
        self._environment = environment
        self._runtime = runtime
        self._publish = publish
        self._owners: dict[DocumentId, DocumentOwner] = {}
        self._tasks: dict[DocumentId, asyncio.Task[None]] = {}
        self._joining: WeakValueDictionary[DocumentId, asyncio.Lock] = WeakValueDictionary()
        self._is_closed = False
        self.damaged: dict[DocumentId, CulmError] = {}
        """Documents that are on disk and cannot be opened, each with the reason."""

    def __iter__(self) -> Iterator[DocumentOwner]:
        """Go through the documents that are open."""
        return iter(tuple(self._owners.values()))

    @asynccontextmanager
    async def joining(self, document: DocumentId) -> AsyncIterator[None]:
        """Let one after the other join a document: the second finds that it is done.

        Raises:
            StorageCorruptError: It is on disk, and cannot be opened: to join would write over what is left of it.
        """
        self._check_undamaged(document)
        lock = self._joining.setdefault(document, asyncio.Lock())
        async with lock:
            yield

    def find(self, document: DocumentId) -> DocumentOwner | None:
        """Find a document; None where this node does not have it."""
        return self._owners.get(document)

    def get(self, document: DocumentId | str) -> DocumentOwner:
        """Find a document by its id, also as 64 hex digits.

        Raises:
            UnknownDocumentError: This node does not have it.
            IdentifierError: That is no id.
        """
        wanted = DocumentId.from_hex(document) if isinstance(document, str) else document
        owner = self._owners.get(wanted)
        self._check_undamaged(wanted)
        if owner is None:
            raise UnknownDocumentError(
                f"this node has no document {wanted.short}; `culm documents` lists those it has"
            )
        return owner

    def _check_undamaged(self, document: DocumentId) -> None:
        if document in self.damaged:
            raise StorageCorruptError(
                f"document {document.short} cannot be opened: {self.damaged[document]}"
            )

    async def load(self) -> None:
        """Open all documents on disk.

        Those of which there is nothing but the record are forgotten: founding or joining them was interrupted. One
        that cannot be opened keeps no other from it.
        """
        for document_id, sealed in (await self._environment.store.documents()).items():
            try:
                await self._load_one(document_id, sealed)
            except (StorageError, SealError, EngineError) as error:
                extra = {"document": document_id.short, "reason": str(error)}
                logger.error("documents.damaged", extra=extra)  # noqa: TRY400 - its place says nothing
                self.damaged[document_id] = error

    async def _load_one(self, document_id: DocumentId, sealed: bytes) -> None:
        plain = open_record(self._environment.storage_key, RECORD_LABEL, document_id, sealed)
        owner = await self.open(
            Document(self._environment.key, document_id, DocumentRecord.decode(plain), Keyring())
        )
        if not owner.document.heights:
            # On a full disk it is forgotten at another start: it is no document.
            with suppress(StorageError):
                await self._delete(owner)

    async def open(self, document: Document) -> DocumentOwner:
        """Bring a document up from the store, and start its owner.

        Raises:
            StorageError: It cannot be read.
            NodeClosedError: The node was closed meanwhile, and saves it no more.
        """
        environment = self._environment
        owner = DocumentOwner(document, environment, self._publish)
        await owner.load()
        if self._is_closed:
            raise NodeClosedError("the node was closed meanwhile")
        StuckWatch(owner, environment.key.peer, environment.clock, self._publish).look()
        self._owners[document.document] = owner
        self._tasks[document.document] = self._runtime.spawn(
            owner.run(), f"document {document.document.short}"
        )
        return owner

    async def create(self, name: str) -> DocumentOwner:
        """Found a document; durable on return.

        Raises:
            UsageError: The name is empty or too long.
        """
        try:
            size = len(name.encode())
        except UnicodeEncodeError:
            raise UsageError("a document's name is text that UTF-8 can say") from None
        if not 1 <= size <= limits.DOCUMENT_NAME_BYTES_MAX:
            raise UsageError(f"a document's name has 1 to {limits.DOCUMENT_NAME_BYTES_MAX} bytes")
        environment = self._environment
        now_us = environment.clock.timestamp_us()
        founded, operations = found(
            environment.key, name, now_us=now_us, entropy=environment.entropy
        )
        founded.release()
        document = await self.keep(founded, [to_stored(operation) for operation in operations])
        return await self.open(document)

    async def keep(
        self, document: Document, operations: Sequence[StoredOperation] = ()
    ) -> Document:
        """Keep a document that is new to this device, its keys with it; durable on return. Gives it to be opened."""
        await self.save_record(document)
        courier = SecretCourier(document, self._environment)
        courier.keep(document.keyring.everything())
        await self._environment.store.append(document.document, operations, courier.take_records())
        return Document(self._environment.key, document.document, document.record, Keyring())

    async def save_record(self, document: Document) -> None:
        """Keep what there is of a document besides its operations; durable on return."""
        await DocumentArchive(document, self._environment).save_record(document.record)

    async def forget(self, owner: DocumentOwner) -> None:
        """Close a document and delete everything about it; durable on return. Cancelled, it goes on all the same.

        Raises:
            UnknownDocumentError: Another call has forgotten it meanwhile.
            StorageError: It cannot be deleted now: it is there as before, with edits that are not on disk.
            NodeClosedError: The node was closed before it was deleted.
        """
        failures: list[CulmError] = []  # at most one

        async def work() -> None:
            try:
                await self._forget(owner)
            except CulmError as error:
                failures.append(error)

        # Half closed it would be there, and of no use: so the caller may give up, and this does not.
        task = self._runtime.spawn(work(), f"forget {owner.document.document.short}")
        await asyncio.wait({task})
        if task.cancelled():
            raise NodeClosedError("the node was closed before the document was deleted")
        if failures:
            raise failures[0]

    async def _forget(self, owner: DocumentOwner) -> None:
        state = owner.document
        try:
            await self._delete(owner)
        except StorageError:
            again = await self.open(Document(state.key, state.document, state.record, Keyring()))
            # What could not be written either is to be written again.
            staged = (each.update for each in state.author.staged if each.update is not None)
            for update in (*staged, *state.pending):
                again.document.adopt(update)
            again.document.tell_lost()
            raise

    async def _delete(self, owner: DocumentOwner) -> None:
        document = owner.document.document
        with suppress(UnsavedEditsError, NodeClosedError):  # what it cannot write is deleted next
            await owner.close(_tell_nobody)
        if self._owners.get(document) is not owner:
            raise UnknownDocumentError(f"document {document.short} was forgotten meanwhile")
        del self._owners[document]
        self._tasks.pop(document).cancel()
        await self._environment.store.forget(document)

    async def forget_damaged(self, document: DocumentId) -> None:
        """Delete what there is of a document that cannot be opened; durable on return.

        Raises:
            StorageError: It cannot be deleted now.
        """
        await self._environment.store.forget(document)
        del self.damaged[document]

    async def close(self, hand_over: HandOver) -> list[str]:
        """Bring all documents to disk; list what could not be, for a person. From now on none is opened.

        All at once: the store commits them together, and none waits for the time that another has.

        Args:
            hand_over: Lets peers have, for a moment, what was written last in a document.
        """
        self._is_closed = True
        unsaved: list[str] = []
        await do_together(_close(owner, hand_over, unsaved) for owner in self)
        return unsaved


async def _tell_nobody(_: DocumentOwner) -> None:
    """Of what is deleted here, nobody is told anything more."""


async def _close(owner: DocumentOwner, hand_over: HandOver, unsaved: list[str]) -> None:
    try:
        async with asyncio.timeout(CLOSE_S_MAX):
            await owner.close(hand_over)
    except (CulmError, TimeoutError) as error:
        if isinstance(error, CulmError) or owner.saved_count < owner.document.pending.total_count:
            name = owner.document.record.name
            unsaved.append(f"{name}: {str(error) or 'the disk took too long'}")
