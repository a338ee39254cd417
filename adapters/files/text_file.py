"""One plain file that others edit as well: read whole, replaced atomically, never over somebody's save.

It knows bytes, not texts. Every method blocks (call them in a thread) and raises MirrorError for whatever is
wrong with the file, saying what to do.

What it keeps: a reader of the path finds the old content or the new one, never a part and never none; what an
editor saved is never thrown away, whether it renames a new file over ours or writes into the one that we have
just replaced (`late_writes`). Symbolic links are written through: the file that they lead to is replaced.
Mode, owner and extended attributes are kept; a second hard link goes on with the old content, as with editors
that save by renaming.
"""

import contextlib
import errno
import hashlib
import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from adapters.files.content import (
    READ,
    Content,
    Signature,
    check_size,
    read_open,
    signature_of,
)
from adapters.files.displaced import Displaced, DisplacedFiles, LateWrite
from adapters.files.exchange import exchange, rename_new
from adapters.files.keeping import is_leftover, keep_beside, put_aside
from adapters.files.new_file import CREATE, copy_metadata, sync_directory, umask, write_whole
from domain.errors import MirrorError
from domain.limits import MIRROR_DISPLACED_FILES_MAX, MIRROR_FILE_BYTES_MAX

logger = logging.getLogger(__name__)

_EXCHANGE_TRIES_MAX: Final = 1_000  # an editor that saves so often in a millisecond is none


class TextFile:
    """A file at a path.

    Args:
        path: Where; a symbolic link is followed each time.
        bytes_max: Larger files are refused before they are read.
    """

    def __init__(self, path: str, *, bytes_max: int = MIRROR_FILE_BYTES_MAX) -> None:
        self.path = path
        self._path = Path(path)
        self._bytes_max = bytes_max
        self._displaced = DisplacedFiles(self._read)
        self._kept: list[str] = []
        self._is_closed = False
        # Closing comes from the event loop, perhaps while a thread, whose waiter was cancelled, still writes.
        self._lock = threading.Lock()

    def signature(self) -> Signature | None:
        """Look at the file without reading it; None if it is missing.

        Raises:
            MirrorError: It cannot be looked at, or its directory is gone.
        """
        with self._translated("read"):
            try:
                return signature_of(self._path.stat())
            except FileNotFoundError:
                self._check_directory()
                return None

    def read(self) -> Content | None:
        """Read the file; None if it is missing.

        Raises:
            MirrorError: It cannot be read, is no regular file, is too large, or its directory is gone.
        """
        with self._translated("read"):
            try:
                descriptor = os.open(self._path, READ)
            except FileNotFoundError:
                self._check_directory()
                return None
            try:
                return self._read(descriptor)
            finally:
                os.close(descriptor)

    def check_fits(self, data: bytes) -> None:
        """See that a content could be read again, once it is written.

        Raises:
            MirrorError: It is too large.
        """
        check_size(f"the text for {self.path}", len(data), self._bytes_max)

    def replace(self, data: bytes, expected: bytes | None) -> Signature | None:
        """Replace the content, if it is still `expected` (None: missing); durable on return.

        Returns:
            The signature of the new file, or None if the content was another one: then nothing has changed.

        Raises:
            MirrorError: It cannot be written, or may not be (mode without any write permission); unchanged.
        """
        with self._lock, self._translated("written"):
            target = Path(os.path.realpath(self._path))
            if not self._is_still(target, expected):
                return None
            self._clear_leftover(target, expected, data)
            self._make_room(target)
            temporary = _temporary(target)
            descriptor = os.open(temporary, CREATE, 0o600)
            try:
                if expected is not None:
                    copy_metadata(target, descriptor)
                else:
                    os.fchmod(descriptor, 0o666 & ~umask())
                write_whole(descriptor, data)
                done = (
                    self._place_new(temporary, target)
                    if expected is None
                    else self._place_over(temporary, target, expected)
                )
                return signature_of(os.fstat(descriptor)) if done else None
            finally:
                _remove_own(temporary, descriptor)
                os.close(descriptor)
                sync_directory(target.parent)

    def keep(self, data: bytes) -> str:
        """Keep a content beside the file, never over something else; durable on return.

        Returns:
            Where: `notes.md.culm-kept`, or with a number. What is kept already is not kept twice.

        Raises:
            MirrorError: It cannot be written.
        """
        with self._lock, self._translated("kept beside"):
            return str(keep_beside(Path(os.path.realpath(self._path)), data))

    def late_writes(self) -> list[LateWrite]:
        """What editors wrote into the files that `replace` replaced last; each comes again until `accept`.

        Raises:
            MirrorError: It cannot be read.
        """
        with self._lock, self._translated("read"):
            return self._displaced.late_writes()

    def accept(self, late: LateWrite) -> None:
        """Say that a late write has been taken in: it need not be kept."""
        with self._lock:
            self._displaced.accept(late)

    def clear_leftover(self, replaced: bytes | None, written: bytes | None) -> None:
        """Remove the temporary file that a crash in `replace` has left, or keep it beside the file.

        It may be what was written, or what it replaced: whoever has these gives them. Else it is what somebody saved
        between our last look and the exchange, and `take_kept` tells where it is then.

        Raises:
            MirrorError: It cannot be read, removed or renamed.
        """
        with self._lock, self._translated("cleared of an old temporary file"):
            self._clear_leftover(Path(os.path.realpath(self._path)), replaced, written)

    def take_kept(self) -> list[str]:
        """Give the paths of files that were kept beside this one since the last call, without being asked for."""
        kept, self._kept = self._kept, []
        return kept

    def close(self) -> None:
        """Look no longer at files that were replaced; keep what nobody has taken in. Calling it twice is allowed."""
        with self._lock:
            self._is_closed = True
            target = Path(os.path.realpath(self._path))
            while (displaced := self._displaced.take_oldest()) is not None:
                try:
                    self._dismiss(displaced, target)
                except (OSError, MirrorError) as error:  # there is nobody left to try it again
                    logger.warning("mirror.late_write_lost", extra={"error": str(error)})
                finally:
                    os.close(displaced.descriptor)

    def _dismiss(self, displaced: Displaced, target: Path) -> None:
        """Look a last time at a file that was replaced, and keep what nobody has taken in."""
        data = self._read(displaced.descriptor).data
        if data != displaced.data:
            self._kept.append(str(keep_beside(target, data)))

    def _make_room(self, target: Path) -> None:
        """Let go of the file that was replaced first, where there are too many: its editor has had its time."""
        oldest = self._displaced.oldest_beyond(MIRROR_DISPLACED_FILES_MAX - 1)
        if oldest is not None:
            self._dismiss(oldest, target)
            self._displaced.take_oldest()
            os.close(oldest.descriptor)

    def _clear_leftover(self, target: Path, replaced: bytes | None, written: bytes | None) -> None:
        temporary = _temporary(target)
        try:
            descriptor = os.open(temporary, READ | os.O_NOFOLLOW)
        except FileNotFoundError:
            return
        try:
            is_ours = is_leftover(self._read(descriptor).data, replaced, written)
        except MirrorError:  # a directory, or very large
            is_ours = False
        finally:
            os.close(descriptor)
        if is_ours:
            temporary.unlink()
        else:
            self._kept.append(str(put_aside(temporary, target)))

    def _read(self, descriptor: int) -> Content:
        return read_open(descriptor, self.path, self._bytes_max)

    def _is_still(self, target: Path, expected: bytes | None) -> bool:
        """Whether the file has the content that we know; checks that it may be replaced."""
        content = self.read()
        if content is None or expected is None:
            return content is None and expected is None
        if not target.stat().st_mode & 0o222:
            raise MirrorError(
                f"{self.path} is read-only: make it writable (chmod u+w), and the mirror goes on"
            )
        return content.data == expected

    def _place_new(self, temporary: Path, target: Path) -> bool:
        """Give the new file its name unless there is such a file by now."""
        try:
            if not rename_new(temporary, target):
                target.hardlink_to(temporary)
        except FileExistsError:
            return False
        return True

    def _place_over(self, temporary: Path, target: Path, expected: bytes) -> bool:
        """Let the new file take the place of the old one, if that still has the content that we know."""
        ours = temporary.stat().st_ino
        try:
            if not exchange(temporary, target):
                if self._is_still(target, expected):  # all that some file systems offer
                    temporary.replace(target)
                    return True
                return False
        except FileNotFoundError:
            return False
        if self._displace(temporary, expected):
            temporary.unlink()
            return True
        self._give_back(temporary, target, placed=ours)
        return False

    def _give_back(self, temporary: Path, target: Path, *, placed: int) -> None:
        """Give the file of somebody who saved between our look and the exchange its place back.

        If the exchange does not bring back what was `placed` (an inode), they have saved once more over it, and
        what it brought is newer: that one gets the place in the next turn.
        """
        for _ in range(_EXCHANGE_TRIES_MAX):
            held = temporary.stat().st_ino
            exchange(temporary, target)
            if temporary.stat().st_ino == placed:
                temporary.unlink()
                return
            placed = held
        raise MirrorError(f"{self.path} is saved too often: its last save is {temporary}")

    def _displace(self, path: Path, expected: bytes) -> bool:
        """Keep the file that was replaced open, if it has the content that we know."""
        try:
            descriptor = os.open(path, READ | os.O_NOFOLLOW)
        except OSError:
            return False
        try:
            content = self._read(descriptor)
        except (OSError, MirrorError):
            content = None
        if content is None or content.data != expected:
            os.close(descriptor)
            return False
        if self._is_closed:
            os.close(descriptor)
        else:
            self._displaced.add(descriptor, content)
        return True

    def _check_directory(self) -> None:
        directory = Path(os.path.realpath(self._path)).parent
        if not directory.is_dir():
            raise MirrorError(
                f"the directory {directory} is gone: bring it back, and the mirror of {self.path} goes on"
            )

    @contextlib.contextmanager
    def _translated(self, verb: str) -> Iterator[None]:
        """Turn what the system says into an error of ours that says what to do."""
        try:
            yield
        except OSError as error:
            hint = {
                errno.ENOSPC: "make room on the disk",
                errno.EDQUOT: "make room on the disk",
                errno.EACCES: "give this user the permission",
                errno.EPERM: "give this user the permission",
                errno.EROFS: "mount the file system writable",
                errno.ELOOP: "mend the symbolic link",
                errno.EISDIR: "give the path of a text file",
            }.get(error.errno or 0, "mend that")
            raise MirrorError(
                f"{self.path} cannot be {verb} ({error.strerror}): {hint}, and the mirror goes on"
            ) from error


def _temporary(target: Path) -> Path:
    """Name the temporary file: in the same directory, always the same, so that a crash leaves at most one."""
    digest = hashlib.blake2s(os.fsencode(target.name), digest_size=8).hexdigest()
    return target.with_name(f".culm-{digest}.tmp")


def _remove_own(temporary: Path, descriptor: int) -> None:
    """Remove the temporary file, unless it is by now somebody else's that changed places with ours."""
    with contextlib.suppress(FileNotFoundError):
        if temporary.stat().st_ino == os.fstat(descriptor).st_ino:
            temporary.unlink()
