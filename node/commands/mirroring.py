"""Commands that join documents and keep plain files equal to them: join, share."""

import asyncio
import os
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from domain.errors import (
    CulmError,
    DialError,
    MirrorError,
    NodeClosedError,
    UnknownDocumentError,
)
from domain.invite import Invite
from domain.limits import EVENT_QUEUE_MAX
from domain.operations.control import Role
from node.commands.arguments import Arguments
from node.commands.context import Answer, CommandContext, describe_document
from node.commands.document import INVITE_EXPIRES_S
from node.document import Document
from node.mirror import DocumentText
from node.shares import Share
from node.wiring.drivers import file_mirror

PROGRESS_S: Final = 0.25
SYNC_S_MAX: Final = 30.0


# -- Joining --


async def join(context: CommandContext, arguments: Arguments) -> AsyncGenerator[Answer, None]:
    """Join a document and wait for its content; with a file, mirror it there until cancelled."""
    text = arguments.text("invite")
    quiet_s_max = arguments.number("timeout_s", SYNC_S_MAX)
    given = arguments.optional_path("path")
    merge = arguments.flag("merge")
    share = _check_target(context, Invite.decode(text), given, merge=merge) if given else None
    found: list[Document] = []
    async with aclosing(_join(context, text, found)) as steps:
        async for step in steps:
            yield step
    (document,) = found
    yield {"event": "joined"} | describe_document(document)
    if share is None or share.base is None:
        async with aclosing(_sync(context, document, quiet_s_max)) as steps:
            async for step in steps:
                yield step
    if given is None or share is None:
        yield describe_document(document) | {"synced": True}
        return
    context.shares.save(share)
    work = Mirroring(context=context, share=share, path=given, document=document, merge=merge)
    async with aclosing(work.run({})) as answers:
        async for answer in answers:
            yield answer


async def _join(
    context: CommandContext, text: str, found: list[Document]
) -> AsyncGenerator[Answer, None]:
    """Join, and tell the code that two people have to compare, if there is one; `found` takes the document."""
    node, wanted = context.node, Invite.decode(text).document
    failures: list[CulmError] = []

    async def work() -> None:
        try:
            found.append(await node.join(text))
        except CulmError as error:
            failures.append(error)

    task = node.runtime.spawn(work(), f"join {wanted.short}")
    shown = None
    try:
        while not task.done():
            await asyncio.wait({task}, timeout=PROGRESS_S)
            exchanges = (link.exchanges.get(wanted) for link in node.peers.links())
            codes = [each.code for each in exchanges if each is not None and each.code is not None]
            if codes and codes[0] != shown and not task.done():
                shown = codes[0]
                yield {"event": "waiting", "document": str(wanted), "code": shown}
    finally:
        task.cancel()
    if failures:
        raise failures[0]


def _check_target(context: CommandContext, invite: Invite, path: Path, *, merge: bool) -> Share:
    """Look at the file before the invite is used: it must not hold something else."""
    share = context.shares.find(_real(path))
    if share is not None and share.document == invite.document:
        return share
    if share is not None and any(each.id == share.document for each in context.node.documents()):
        raise MirrorError(f"{path} follows another document: give the path of another file")
    _check_folder(path)
    if not merge and path.exists() and path.stat().st_size:
        raise MirrorError(
            f"{path} has text already: give the path of a new file, or --merge to keep the lines of both"
        )
    return Share(path=_real(path), document=invite.document, may_seed=False)


async def _sync(
    context: CommandContext, document: Document, quiet_s_max: float
) -> AsyncGenerator[Answer, None]:
    """Wait until the content is here, as long as something arrives.

    Raises:
        DialError: Nobody sends it.
        NodeClosedError: The document was forgotten, or the node stops.
    """
    runtime = context.node.runtime
    owner = next(each for each in context.node.owners() if each.document.document == document.id)
    is_synced = False

    async def work() -> None:
        nonlocal is_synced
        await document.synced()
        is_synced = True

    task = runtime.spawn(work(), f"sync {document.id.short}")
    received, quiet_s = -1, 0.0
    try:
        while not task.done():
            await asyncio.wait({task}, timeout=PROGRESS_S)
            before, received = received, sum(each.count for each in owner.document.heights.values())
            quiet_s = 0.0 if received != before else quiet_s + PROGRESS_S
            if quiet_s > quiet_s_max and not task.done():
                raise DialError(
                    "this device is a member now, but nobody sends the content: it will come once another"
                    " member can be reached, while `culm run` runs"
                )
            if received != before and not task.done():
                announced = sum(each.announced for each in context.node.exchanges(owner))
                yield {"event": "syncing", "received": received, "announced": announced}
    finally:
        task.cancel()
    if not is_synced:
        raise NodeClosedError("the document was closed before its content was here")


# -- Sharing --


async def share(context: CommandContext, arguments: Arguments) -> AsyncGenerator[Answer, None]:
    """Found a document from a file, or go on with the one that it follows, and mirror it until cancelled."""
    path = arguments.path("path")
    known = context.shares.find(_real(path))
    document = await _resume(context, known)
    if document is None:
        _check_source(path)
        document = await context.node.create(arguments.optional_text("name") or path.name)
        known = Share(path=_real(path), document=document.id, may_seed=True)
        context.shares.save(known)
        first: dict[str, object] = {"is_new": True}
    else:
        first = {"is_new": False}
    assert known is not None
    if known.is_restored and len(document.members()) > 1:
        async with aclosing(_catch_up(context, document, arguments)) as steps:
            async for step in steps:
                yield step
    work = Mirroring(
        context=context, share=known, path=path, document=document, merge=arguments.flag("merge")
    )
    uses = arguments.whole_number("uses", 1)
    expires_s = arguments.number("expires_s", INVITE_EXPIRES_S)
    has_begun = False
    try:
        async with aclosing(work.run(first, invite=(uses, expires_s))) as answers:
            async for answer in answers:
                has_begun = True
                yield answer
    except CulmError:
        if first["is_new"] and not has_begun:  # a file that cannot be read leaves no document
            await context.node.forget(document.id)
            context.shares.forget(document.id)
        raise


async def _catch_up(
    context: CommandContext, document: Document, arguments: Arguments
) -> AsyncGenerator[Answer, None]:
    """Get back what a restored device lacks, before its file, which may have that, is taken for newer.

    Raises:
        MirrorError: Nobody can be reached who has it.
    """
    try:
        async with aclosing(_sync(context, document, SYNC_S_MAX)) as steps:
            async for step in steps:
                yield step
    except DialError:
        if not arguments.flag("merge"):
            raise MirrorError(
                f"this device was restored from a backup, and nobody who has {document.name!r} can be reached: what"
                f" {arguments.text('path')} has may come once more from them. Try again once another member runs, or"
                " --merge to go on without them"
            ) from None


async def _resume(context: CommandContext, known: Share | None) -> Document | None:
    if known is None:
        return None
    try:
        return await context.node.document(known.document)
    except UnknownDocumentError:
        return None


def _check_source(path: Path) -> None:
    if not path.is_file():
        what = "is not a plain file" if path.exists() else "does not exist"
        raise MirrorError(f"{path} {what}: create the file that you want to share first")


def _check_folder(path: Path) -> None:
    if not path.parent.is_dir():
        raise MirrorError(f"there is no folder {path.parent}: make it first")
    if path.exists() and not path.is_file():
        raise MirrorError(f"{path} is not a plain file: give the path of one")


def _real(path: Path) -> str:
    return os.path.realpath(path)


# -- Mirroring --


class Mailbox:
    """What the mirror tells, until the caller takes it; the oldest is dropped where there is too much."""

    def __init__(self) -> None:
        self._answers: deque[Answer] = deque(maxlen=EVENT_QUEUE_MAX)
        self._has_changed = asyncio.Event()
        self.is_over = False
        self.failure: CulmError | None = None

    def put(self, answer: Answer) -> None:
        """Add an answer."""
        self._answers.append(answer)
        self._has_changed.set()

    def close(self, failure: CulmError | None = None) -> None:
        """Let the caller know that nothing more comes."""
        self.is_over, self.failure = True, failure
        self._has_changed.set()

    async def take(self) -> Answer | None:
        """Wait for the next answer; None at the end."""
        while not self._answers:
            if self.is_over:
                return None
            self._has_changed.clear()
            await self._has_changed.wait()
        return self._answers.popleft()


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirroring:
    """One file that follows one document.

    Args:
        context: Where.
        share: What is remembered about it.
        path: The file, as the caller named it.
        document: The document.
        merge: Whether the lines of both are kept where nothing tells how they belong together.
    """

    context: CommandContext
    share: Share
    path: Path
    document: Document
    merge: bool

    async def run(
        self, first: dict[str, object], invite: tuple[int, float] | None = None
    ) -> AsyncGenerator[Answer, None]:
        """Mirror until cancelled; the first answer comes once file and document are brought together.

        Raises:
            MirrorError: The two cannot be brought together, or the file is mirrored already.
            NodeClosedError: The document was forgotten, or the node stops.
        """
        mirrored = self.context.mirrored
        if self.share.path in mirrored:
            raise MirrorError(f"{self.path} is being mirrored already")
        mirrored.add(self.share.path)
        replica = DocumentText(self.document)
        try:
            async with aclosing(self._follow(replica, first, invite)) as answers:
                async for answer in answers:
                    yield answer
        finally:
            replica.close()
            mirrored.discard(self.share.path)

    async def _follow(
        self, replica: DocumentText, first: dict[str, object], invite: tuple[int, float] | None
    ) -> AsyncGenerator[Answer, None]:
        mailbox = Mailbox()
        mirror = file_mirror(
            self.path,
            replica,
            base=self.share.base,
            save_base=self._save_base,
            on_event=lambda event: mailbox.put(_describe(event)),
            merge=self.merge,
            may_seed=self.share.may_seed,
        )
        await mirror.start()
        text = None
        if invite is not None and self.document.role == Role.MANAGE:
            text = await self.document.invite(uses=invite[0], expires_s=invite[1])
        task = self.context.node.runtime.spawn(
            _run(mirror, mailbox), f"mirror {self.document.id.short}"
        )
        try:
            yield (
                {"event": "mirroring", **describe_document(self.document), "path": str(self.path)}
                | {"invite": text}
                | first
            )
            while (answer := await mailbox.take()) is not None:
                yield answer
        finally:
            task.cancel()
            await asyncio.wait({task})
        raise mailbox.failure or NodeClosedError(
            f"{self.path} is no longer mirrored: the document was closed"
        )

    async def _save_base(self, base: str) -> None:
        await asyncio.to_thread(self.context.shares.save_base, self.share, base)


async def _run(mirror: Any, mailbox: Mailbox) -> None:  # noqa: ANN401 - wiring alone knows its type
    failure: CulmError | None = None
    try:
        await mirror.run()
    except CulmError as error:
        failure = error
    finally:
        mailbox.close(failure)


def _describe(event: Any) -> Answer:  # noqa: ANN401 - as above
    return {
        "event": event.change.value,
        "path": event.path,
        "code_points": event.code_points,
        "error": str(event.error) if event.error is not None else None,
        "kept": event.kept,
    }
