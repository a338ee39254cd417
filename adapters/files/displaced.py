"""Files that were replaced and are kept open for a while, as their editors may still be writing into them.

It does not know what becomes of what they write. What it keeps: a late write is told again and again until it is
accepted, so that nothing is lost where it cannot be taken in at once.
"""

import os
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from adapters.files.content import EMPTY, Content, Signature, signature_of
from adapters.files.timing import MirrorTiming


@dataclass(frozen=True, slots=True, kw_only=True)
class LateWrite:
    """What somebody wrote into a file that was replaced: its content before and after."""

    before: bytes
    after: bytes
    signature: Signature


@dataclass(slots=True, kw_only=True)
class Displaced:
    """A file that was replaced, and its content as it was last accepted."""

    descriptor: int
    data: bytes
    signature: Signature


class DisplacedFiles:
    """The files that were replaced last, the oldest first.

    Args:
        read: Reads an open file.
    """

    def __init__(self, read: Callable[[int], Content]) -> None:
        self._read = read
        self._files: deque[Displaced] = deque()

    def add(self, descriptor: int, content: Content) -> None:
        """Keep a file open that had this content when it was replaced; the descriptor is ours from now on."""
        self._files.append(
            Displaced(descriptor=descriptor, data=content.data, signature=content.signature)
        )

    def late_writes(self) -> list[LateWrite]:
        """Give what was written since, a change for each file, the oldest file first.

        Raises:
            MirrorError: One has grown too large.
            OSError: One cannot be read.
        """
        found: list[LateWrite] = []
        for displaced in self._files:
            if signature_of(os.fstat(displaced.descriptor)) == displaced.signature:
                continue
            content = self._read(displaced.descriptor)
            if content.data == displaced.data:
                displaced.signature = content.signature
                continue
            late = LateWrite(before=displaced.data, after=content.data, signature=content.signature)
            found.append(late)
        return found

    def accept(self, late: LateWrite) -> None:
        """Say that a late write was taken in."""
        for displaced in self._files:
            if displaced.signature.inode == late.signature.inode and displaced.data == late.before:
                displaced.data, displaced.signature = late.after, late.signature

    def oldest_beyond(self, count: int) -> Displaced | None:
        """Give the oldest file if there are more than `count`."""
        return self._files[0] if len(self._files) > count else None

    def take_oldest(self) -> Displaced | None:
        """Take out the oldest file, if there is one; its descriptor is the caller's then."""
        return self._files.popleft() if self._files else None


class RestingWrites:
    """Holds late writes back until their editors have come to rest: many empty a file before they fill it.

    Args:
        timing: How long that takes.
    """

    def __init__(self, timing: MirrorTiming) -> None:
        self._timing = timing
        self._seen: dict[int, tuple[Signature, float]] = {}

    def of(self, found: Sequence[LateWrite], now: float) -> list[LateWrite]:
        """Give those of all that were found just now which have been the same for long enough."""
        before, self._seen = self._seen, {}
        resting = []
        for late in found:
            signature, since = before.get(late.signature.inode, (late.signature, now))
            if signature != late.signature:
                since = now
            self._seen[late.signature.inode] = late.signature, since
            is_empty = late.after in EMPTY
            wait_s = self._timing.delete_after_s if is_empty else self._timing.settle_s
            if now - since >= wait_s:
                resting.append(late)
        return resting
