"""One plain file that others edit as well: read whole, replaced atomically, never over somebody's save.

It knows bytes, not texts. Every method blocks (call them in a thread) and raises MirrorError for whatever is
wrong with the file, saying what to do.

What it keeps: a reader of the path finds the old content or the new one, never a part and never none; what an
editor saved is never thrown away, whether it renames a new file over ours or writes into the one that we have
just replaced (`take_late_write`). Symbolic links are written through: the file that they lead to is replaced.
Mode, owner and extended attributes are kept; a second hard link goes on with the old content, as with editors
that save by renaming.
"""

import contextlib
import errno
import hashlib
import os
import stat
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from adapters.files.exchange import exchange, rename_new
from adapters.files.keeping import keep_beside
from adapters.files.new_file import CREATE, copy_metadata, sync_directory, umask, write_whole
from domain.errors import MirrorError
from domain.limits import MIRROR_FILE_BYTES_MAX

_EXCHANGE_TRIES_MAX: Final = 1_000  # an editor that saves so often in a millisecond is none
_READ: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK  # a pipe must not hold us up


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """What tells a changed file from an unchanged one without reading it."""

    device: int
    inode: int
    size: int
    modified_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """The whole content of a file, and its signature when it was read."""

    data: bytes
    signature: Signature


@dataclass(slots=True, kw_only=True)
class _Displaced:
    """A file that we have replaced, kept open: an editor may still be writing into it."""

    descriptor: int
    data: bytes
    signature: Signature


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
        self._displaced: _Displaced | None = None
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
                return _signature(self._path.stat())
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
                descriptor = os.open(self._path, _READ)
            except FileNotFoundError:
                self._check_directory()
                return None
            try:
                return self._read(descriptor)
            finally:
                os.close(descriptor)

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
            temporary = _temporary(target)
            temporary.unlink(missing_ok=True)  # a crash left it
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
                return _signature(os.fstat(descriptor)) if done else None
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

    def take_late_write(self) -> tuple[bytes, bytes] | None:
        """What an editor wrote into the file that `replace` replaced last: content before and after; or None.

        Each change is returned once.

        Raises:
            MirrorError: It cannot be read.
        """
        with self._lock, self._translated("read"):
            displaced = self._displaced
            if displaced is None:
                return None
            if _signature(os.fstat(displaced.descriptor)) == displaced.signature:
                return None
            os.lseek(displaced.descriptor, 0, os.SEEK_SET)
            content = self._read(displaced.descriptor)
            before, displaced.data = displaced.data, content.data
            displaced.signature = content.signature
            return (before, content.data) if before != content.data else None

    def close(self) -> None:
        """Look no longer at the file that was replaced last. Calling it twice is allowed."""
        with self._lock:
            self._is_closed = True
            self._forget_displaced()

    def _forget_displaced(self) -> None:
        if self._displaced is not None:
            os.close(self._displaced.descriptor)
            self._displaced = None

    def _read(self, descriptor: int) -> Content:
        """Read an open file, again if it changes meanwhile."""
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise MirrorError(f"{self.path} is not a regular file: give the path of a text file")
        if status.st_size > self._bytes_max:
            raise self._too_large(status.st_size)
        with open(descriptor, "rb", closefd=False) as file:
            data = file.read(self._bytes_max + 1)
        if len(data) > self._bytes_max:
            raise self._too_large(len(data))
        return Content(data=data, signature=_signature(status))

    def _too_large(self, size: int) -> MirrorError:
        return MirrorError(
            f"{self.path} has {size:,} bytes, more than the {self._bytes_max:,} that a mirrored file "
            "may have: shorten it, and the mirror goes on"
        )

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
            descriptor = os.open(path, _READ | os.O_NOFOLLOW)
        except OSError:
            return False
        try:
            content = self._read(descriptor)
        except (OSError, MirrorError):
            content = None
        if content is None or content.data != expected:
            os.close(descriptor)
            return False
        self._forget_displaced()
        if self._is_closed:
            os.close(descriptor)
        else:
            self._displaced = _Displaced(
                descriptor=descriptor, data=content.data, signature=content.signature
            )
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


def _signature(status: os.stat_result) -> Signature:
    return Signature(
        device=status.st_dev,
        inode=status.st_ino,
        size=status.st_size,
        modified_ns=status.st_mtime_ns,
    )


def _temporary(target: Path) -> Path:
    """Name the temporary file: in the same directory, always the same, so that a crash leaves at most one."""
    digest = hashlib.blake2s(os.fsencode(target.name), digest_size=8).hexdigest()
    return target.with_name(f".culm-{digest}.tmp")


def _remove_own(temporary: Path, descriptor: int) -> None:
    """Remove the temporary file, unless it is by now somebody else's that changed places with ours."""
    with contextlib.suppress(FileNotFoundError):
        if temporary.stat().st_ino == os.fstat(descriptor).st_ino:
            temporary.unlink()
