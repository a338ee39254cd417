"""Keeps one plain file and one text of a document equal, while both are edited.

What an editor saved becomes insertions and deletions, by a difference to the last text that both sides had in
common, so that what the document changed meanwhile stays. A large change is brought in by portions, each of which is
stored whole or not at all, and is common to both sides only once it is durable: half of one would look, after a
crash, like a deletion by others. What others changed in the document is written to the file, once it is durable here,
and never over a save that has not been read yet.

A file counts as edited once its size, time and content have been the same for `settle_s`. A missing or empty
file, which many editors leave for a moment, counts as a deletion of the text only after `delete_after_s`; found
so at the start, it is filled instead, since a crash also leaves empty files.

Where edits of ours turn out not to count, they leave the document, and the file that brought them in is kept
beside itself before it is written.

Bad input never changes the document: a file that cannot be read or decoded is reported once, and looked at
again until it is mended. The mirror does not know where the common text is kept, nor who the other authors are.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from adapters.files.common_text import CommonText
from adapters.files.content import EMPTY, Content, Signature, data_in, signature_in
from adapters.files.displaced import RestingWrites
from adapters.files.encoding import TextFormat, decode, encode
from adapters.files.events import MirrorChange, MirrorEvent, MirrorReporter, MirrorState
from adapters.files.text_file import TextFile
from adapters.files.timing import MirrorTiming
from domain.errors import CulmError, MirrorError, NodeClosedError, RefusedEditsError
from domain.limits import MIRROR_START_TRIES_MAX
from domain.portions import coarsened, portions
from domain.ports.environment import Clock
from domain.ports.mirror import TextEdit, TextReplica
from domain.text import apply_edits, difference, size, three_way, union

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pending:
    """A content of the file that is not in the document yet, and since when it is there."""

    content: Content | None
    since: float
    is_gone: bool


NEVER: Final = float("-inf")
_UNKNOWN: Final = b"\xff"
"""No text, so that whatever the file holds is looked at: half of a change is in the document."""


class FileMirror:
    """One file and one text.

    Used as `await mirror.start()`, which fails if the two cannot be brought together, then `mirror.run()` in a
    task until that is cancelled (`run` starts, too, if nobody did).

    Args:
        path: The file; it need not exist, its directory must.
        replica: The text.
        clock: Whose `now` is the time.
        base: What `save_base` was last given for this file and text, or None if they are new to each other.
        save_base: Keeps its argument durably until it is called again; must have done so on return.
        on_event: Is told what happens; must not wait.
        merge: With no base, and both sides having text: insert the lines that the document lacks instead of
            refusing. It deletes nothing on either side.
        may_seed: With no base, a file may become the text of an empty document: right for its creator, wrong
            for those who join, whose document may be empty only because nothing has arrived yet.
        timing: How often to look.
    """

    def __init__(  # noqa: PLR0913 - all but two have names, and the wiring alone calls it
        self,
        path: str,
        replica: TextReplica,
        *,
        clock: Clock,
        base: str | None,
        save_base: Callable[[str], Awaitable[None]],
        on_event: Callable[[MirrorEvent], None],
        merge: bool = False,
        may_seed: bool = True,
        timing: MirrorTiming | None = None,
    ) -> None:
        self._file = TextFile(path)
        self._replica = replica
        self._clock = clock
        self._base = base
        self._save_base = save_base
        self._reporter = MirrorReporter(path, on_event)
        self._unites = merge
        self._may_seed = may_seed
        self._timing = timing or MirrorTiming()
        self._resting = RestingWrites(self._timing)
        self._common = ""  # the last text that both sides had
        self._following: str | None = None  # the next one, once what was edited for it is durable
        self._is_common_saved = True
        # While the file is as empty as it was at the start: what both sides had before.
        self._origin: CommonText | None = None
        # As in `CommonText`, and whether edits were taken back since the file was last cleared of such ones.
        self._void_count, self._was_refused = 0, False
        self._known: bytes | None = None  # what the file holds when it holds `_common`
        self._signature: Signature | None = None
        self._format = TextFormat()
        self._pending: _Pending | None = None
        self._is_rejected = False  # the pending content cannot be taken over
        self._is_verified = False  # the file was read once more, `settle_s` after it was last moved
        self._replica_changed = True
        # When the content was last read, the file last written or touched, a write last refused, the text compared.
        self._read_at = self._moved_at = self._failed_at = self._compared_at = NEVER
        self._is_started = False
        self._is_stopped = False

    @property
    def problem(self) -> CulmError | None:
        """What is wrong now; None if all is well."""
        return self._reporter.problem

    @property
    def state(self) -> MirrorState:
        """Where the mirror is."""
        if self._is_stopped:
            return MirrorState.STOPPED
        if self.problem is not None:
            return MirrorState.TROUBLED
        if not self._is_started:
            return MirrorState.STARTING
        if self._pending is not None or self._replica_changed:
            return MirrorState.CHANGING
        return MirrorState.EQUAL

    async def start(self) -> None:
        """Compare the two sides and bring together what has changed since they were last equal.

        On return what the file had is in the document and durable. Cancelled, it can be called again.

        Raises:
            MirrorError: The file cannot be read or decoded, or both sides have text and nothing tells how they
                belong together (`merge` would). Neither side has been changed.
            NotPermittedError: The file was edited and we may not write to the document.
            CulmError: It could not be made durable.
        """
        if self._is_started:
            return
        await self._settle()
        kept = CommonText.decode(self._base) if self._base is not None else None
        await self._clear_leftover(kept)
        content = await self._settled_content()
        self._read_at = self._clock.now()
        self._void_count = kept.void_count if kept is not None else self._replica.void_count()
        self._origin = kept
        if content is not None:
            file_text, self._format = self._decode(content.data)
            if file_text:
                await self._bring_together(file_text, kept)
        self._known, self._signature = data_in(content), signature_in(content)
        self._is_started = True

    async def run(self) -> None:
        """Keep the two sides equal until cancelled, or until the document is closed.

        Cancelled, each side is as it was before or after a change, never in between; what one side lacks then is
        brought over at the next start.

        Raises:
            CulmError: What `start` raises; later troubles are events.
        """
        try:
            await self.start()
            while True:
                await self._step()
                try:
                    async with asyncio.timeout(self._timing.interval_s):
                        await self._replica.changed()
                    self._replica_changed = True
                except TimeoutError:
                    pass
                else:
                    # Many edits in a row make one write: the file is looked at no more often than this.
                    await asyncio.sleep(self._timing.interval_s)
        except NodeClosedError:
            logger.info("mirror.document_closed", extra={"path": self._file.path})
        finally:
            self._is_stopped = True
            self._file.close()
            self._tell_kept()

    # --- Start ------------------------------------------------------------------------------------

    async def _clear_leftover(self, kept: CommonText | None) -> None:
        """Remove what a crash while the file was written has left, unless it is a save of somebody."""
        replaced, written = (kept.text, kept.following) if kept is not None else (None, None)
        encoded = [
            None if text is None else text.encode("utf-8", "surrogatepass")
            for text in (replaced, written)
        ]
        await asyncio.to_thread(self._file.clear_leftover, *encoded)
        self._tell_kept()

    async def _settled_content(self) -> Content | None:
        """Read the file once nobody is writing to it."""
        content = await asyncio.to_thread(self._file.read)
        for _ in range(MIRROR_START_TRIES_MAX):
            await asyncio.sleep(self._timing.settle_s)
            before, content = content, await asyncio.to_thread(self._file.read)
            if content == before:
                return content
        raise MirrorError(
            f"{self._file.path} is written to all the time: stop that, and start again"
        )

    async def _bring_together(self, file_text: str, kept: CommonText | None) -> None:
        """Bring what the file has into the document, at the start."""
        text = self._replica.read()
        if kept is not None:
            await self._merge(await asyncio.to_thread(kept.choose, (file_text, text)), file_text)
        elif text == file_text:
            await self._agree(file_text)
        elif not text and self._may_seed:
            await self._merge("", file_text)
        elif self._unites:
            # The file's text becomes the common one only once its lines are in the document: before, it would
            # make them look deleted there.
            await self._carry(text, union(text, file_text), keeps_base=False)
            await self._agree(file_text)
        else:
            raise MirrorError(
                f"{self._file.path} has text, and so has the document, or it will have once it arrives: give "
                "the path of a new file, or --merge to keep the lines of both"
            )

    # --- One turn ---------------------------------------------------------------------------------

    async def _step(self) -> None:
        """Look at both sides once and carry over what is ready."""
        try:
            if self._following is not None:
                await self._settle()
                self._is_rejected = False  # the rest of it may go on
            if not self._is_common_saved:
                await self._save_common()
            trouble = await self._take_late_writes()
            await self._look_at_file()
            if self._pending is None:
                await self._look_at_replica()
            is_well = not self._is_rejected and self._failed_at == NEVER
            if trouble is not None and is_well:  # else there is something worse to tell
                raise trouble
        except NodeClosedError:
            raise
        except CulmError as error:
            self._reporter.fail(error)
        else:
            if is_well:
                self._reporter.recover()
        finally:
            self._tell_kept()

    async def _look_at_file(self) -> None:
        """Bring what an editor saved into the document; without a `_pending` content the file is at rest."""
        now = self._clock.now()
        signature = await asyncio.to_thread(self._file.signature)
        if not self._needs_reading(signature, now):
            return
        content = await asyncio.to_thread(self._file.read)
        self._is_verified = now - self._moved_at >= self._timing.settle_s
        self._read_at = now
        self._is_rejected = False
        if data_in(content) != self._known:
            await self._consider(content, now)
            return
        self._pending = None
        if signature_in(content) != self._signature:
            # Touched: it may be written to once more within the same tick of the file system's clock.
            self._signature = signature_in(content)
            self._moved_at, self._is_verified = now, False

    def _needs_reading(self, signature: Signature | None, now: float) -> bool:
        """Whether the file must be read to know that it is at rest."""
        if now - self._read_at >= self._timing.recheck_s:
            return True
        if self._pending is not None:
            return not self._is_rejected or signature != signature_in(self._pending.content)
        if signature != self._signature:
            return True
        return not self._is_verified and now - self._moved_at >= self._timing.settle_s

    async def _consider(self, content: Content | None, now: float) -> None:
        """Wait until a changed content, looked for at `now`, has been the same for long enough; then take it over."""
        is_gone = content is None or content.data in EMPTY
        # `now` is from before the reading: what was read may have been saved only since.
        since = self._clock.now()
        if self._pending is not None and (
            content == self._pending.content or (is_gone and self._pending.is_gone)
        ):
            since = self._pending.since
        self._pending = _Pending(content=content, since=since, is_gone=is_gone)
        timing = self._timing
        if now - since < (timing.delete_after_s if is_gone and self._common else timing.settle_s):
            return
        if self._origin is None or not is_gone:  # else it is as empty as it was at the start
            try:
                await self._take_over(content)
            except CulmError:
                self._is_rejected = True
                raise
        self._known, self._signature = data_in(content), signature_in(content)
        self._pending = None

    async def _take_over(self, content: Content | None) -> None:
        """Bring a content that has settled into the document."""
        text, base = "", self._common
        if content is not None:
            text, self._format = self._decode(content.data)
        if self._origin is not None:
            base = await asyncio.to_thread(self._origin.choose, (text, self._replica.read()))
        await self._merge(base, text)

    async def _look_at_replica(self) -> None:
        """Write what the document has to the file."""
        now = self._clock.now()
        recheck_s = self._timing.recheck_s
        if not self._replica_changed and now - self._compared_at < recheck_s:
            return
        if now - self._moved_at < self._timing.settle_s or now - self._failed_at < recheck_s:
            return
        self._compared_at = now
        text = self._replica.read()
        if text == self._common:
            self._replica_changed = False
            self._failed_at = NEVER
            return
        try:
            await self._durable()
            await self._write(text)
        except CulmError:
            self._failed_at = now
            raise

    async def _write(self, text: str) -> None:
        """Replace the content of the file by a text that is durable, unless somebody saved it just now."""
        data, text_format = encode(text, self._format)
        self._file.check_fits(data)
        await self._keep_void(text)
        before = self._common
        if self._origin is not None:  # somebody may be about to fill the file by what it had then
            before = await asyncio.to_thread(self._origin.choose, (text, text))
        await self._keep_base(before, text)
        signature = await asyncio.to_thread(self._file.replace, data, self._known)
        if signature is None:
            return
        changed = abs(len(text) - len(self._common))
        self._known, self._signature, self._format = data, signature, text_format
        self._moved_at, self._is_verified = self._clock.now(), False
        self._failed_at = NEVER
        self._replica_changed = self._replica.read() != text
        self._reporter.tell(MirrorChange.FILE_WRITTEN, code_points=changed)
        await self._agree(text)

    async def _keep_void(self, text: str) -> None:
        """Keep what the file has, if this text lacks some of it because edits of ours count no longer.

        Which ones these were is not known, so whatever the file has is kept once. What others delete in good order
        is not.
        """
        void_count = self._replica.void_count()
        self._void_count = min(self._void_count, void_count)
        if void_count == self._void_count and not self._was_refused:
            return
        if self._known and any(edit.deleted for edit in difference(self._common, text)):
            self._reporter.tell_kept(await asyncio.to_thread(self._file.keep, self._known))
            self._void_count, self._was_refused = void_count, False

    def _tell_kept(self) -> None:
        for kept in self._file.take_kept():
            self._reporter.tell_kept(kept)

    async def _take_late_writes(self) -> CulmError | None:
        """Bring in what editors wrote into files that we had just replaced under their hands.

        Returns:
            What keeps something out; it is tried again, and kept beside the file in the end.
        """
        trouble: CulmError | None = None
        found = await asyncio.to_thread(self._file.late_writes)
        for late in self._resting.of(found, self._clock.now()):
            try:
                before, after = (self._decode(data)[0] for data in (late.before, late.after))
                changed = self._edit(three_way(before, self._replica.read(), after))
            except NodeClosedError:
                raise
            except CulmError as error:
                trouble = error
                continue
            self._file.accept(late)
            if changed:
                self._reporter.tell(MirrorChange.FILE_READ, code_points=changed)
            try:
                await self._durable()
            except RefusedEditsError:
                self._reporter.tell_kept(await asyncio.to_thread(self._file.keep, late.after))
                raise
        return trouble

    # --- Both sides -------------------------------------------------------------------------------

    async def _merge(self, base: str, file_text: str) -> None:
        """Bring into the document what the file has changed since `base`; durable on return."""
        if base != file_text:
            edits = await asyncio.to_thread(difference, base, file_text)
            await self._carry(base, edits, keeps_base=True)
        await self._agree(file_text)

    async def _carry(self, base: str, edits: Sequence[TextEdit], *, keeps_base: bool) -> None:
        """Make edits of `base` in the document, a portion at a time; durable on return.

        Each portion is one transaction of the store, and others have their turn in between. So after a crash the
        document has all of it or nothing, which `CommonText.choose` relies on. Where `keeps_base` is not set, nothing
        is kept, and `_common` is no text of the file meanwhile.
        """
        self._common, self._origin = base, None
        changed = 0
        for portion in portions(coarsened(base, edits)):
            following = apply_edits(self._common, portion)
            if keeps_base:
                await self._keep_base(self._common, following)
            self._known = _UNKNOWN
            text = self._replica.read()
            if text == self._common:
                changed += self._edit(portion)
            else:
                changed += self._edit(coarsened(text, three_way(self._common, text, following)))
            self._following = following
            await self._settle()
        if changed:
            self._reporter.tell(MirrorChange.FILE_READ, code_points=changed)

    async def _durable(self) -> None:
        """Wait until what the document has is on disk, and note where it has taken back something."""
        try:
            await self._replica.durable()
        except RefusedEditsError:
            self._was_refused = True
            raise

    async def _settle(self) -> None:
        """Wait until what was brought in last is durable: only then both sides have it."""
        if self._following is None:
            return
        try:
            await self._durable()
        except RefusedEditsError:
            # If these were not somebody else's edits, the file alone has them, and keeps them.
            common = CommonText(text=self._common, following=self._following)
            self._common = common.choose((self._following, self._replica.read()))
            self._following = None
            raise
        self._common, self._following = self._following, None

    def _edit(self, edits: Sequence[TextEdit]) -> int:
        """Make the edits in the document; give how many code points they change."""
        if edits:
            self._replica.edit(edits)
            self._replica_changed = True
        return size(edits)

    async def _agree(self, text: str) -> None:
        """From now on this is the text that both sides had."""
        self._common, self._is_common_saved, self._origin = text, False, None
        self._is_started = True
        await self._save_common()

    async def _save_common(self) -> None:
        """Keep the common text, once the document's side of it is durable."""
        await self._durable()
        await self._keep_base(self._common)
        self._is_common_saved = True

    async def _keep_base(self, text: str, following: str | None = None) -> None:
        """Keep the common text, and the one that is about to be."""
        base = CommonText(text=text, following=following, void_count=self._void_count).encode()
        await self._save_base(base)
        self._base = base

    def _decode(self, data: bytes) -> tuple[str, TextFormat]:
        common = self._common if self._origin is None else self._origin.text
        path, before = self._file.path, self._format
        return decode(data, path=path, before=before, is_verbatim="\r\n" in common)
