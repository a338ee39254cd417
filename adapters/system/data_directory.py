"""The data directory: one node's, and one process's at a time.

The lock belongs to an open file and the kernel drops it when the process ends, however it ends; the file stays, and
what stands in it only serves a message.
"""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from domain.errors import (
    DataDirectoryInUseError,
    StorageError,
    StorageFullError,
    StorageReadOnlyError,
)

LOCK_NAME: Final = "lock"
_PID_DIGITS_MAX: Final = 20
_READ_ONLY: Final = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_LOCKED: Final = frozenset({errno.EAGAIN, errno.EACCES})


@contextmanager
def open_data_directory(path: Path) -> Iterator[Path]:
    """Make the data directory if it is not there, and hold it for this process until the end.

    Args:
        path: Where; `~` is understood. A new directory is for its owner alone (0700).

    Yields:
        Its absolute path, with symbolic links resolved.

    Raises:
        DataDirectoryInUseError: Another process (or another node in this one) has it; the text says which.
        StorageReadOnlyError: It may not be written.
        StorageFullError: There is no space left.
        StorageError: It cannot be made, or is no directory.
    """
    directory = _make(path)
    descriptor = _lock(directory)
    try:
        yield directory
    finally:
        os.close(descriptor)


def _make(path: Path) -> Path:
    try:
        directory = path.expanduser()
        directory.parent.mkdir(parents=True, exist_ok=True)
        directory.mkdir(mode=0o700, exist_ok=True)
        return directory.resolve(strict=True)
    except (OSError, RuntimeError, ValueError) as error:
        raise _translate(path, error) from error


def _lock(directory: Path) -> int:
    """Open and lock the lock file; the lock lives as long as the descriptor that is returned."""
    path = directory / LOCK_NAME
    try:
        # The file is written to below: a directory that may not be written is noticed here.
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(path, flags, 0o600)
    except OSError as error:
        raise _translate(directory, error) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _name_holder(descriptor)
    except OSError as error:
        in_use = error.errno in _LOCKED and _holder(descriptor)
        os.close(descriptor)
        if in_use:
            raise DataDirectoryInUseError(
                f"{directory} is in use by process {in_use}: stop that process, or choose another"
                " data directory"
            ) from None
        raise _translate(directory, error) from error
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _name_holder(descriptor: int) -> None:
    """Write who holds the lock, for the message that somebody else gets."""
    os.ftruncate(descriptor, 0)
    try:
        os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
    except OSError as error:
        # A full disk must not keep anybody from opening what is there.
        if error.errno not in _FULL:
            raise


def _holder(descriptor: int) -> str:
    """Read who holds the lock, as far as it has been written."""
    text = os.pread(descriptor, _PID_DIGITS_MAX, 0).strip()
    return text.decode() if text.isdigit() else "(unknown)"


def _translate(path: Path, error: Exception) -> StorageError:
    code = error.errno if isinstance(error, OSError) else None
    if code in _READ_ONLY:
        return StorageReadOnlyError(
            f"{path} may not be written ({error}): give the user who runs culm the right to write"
            " it, or choose another data directory"
        )
    if code in _FULL:
        return StorageFullError(f"no space is left for {path} ({error}): free some")
    return StorageError(f"{path} cannot be used as a data directory ({error}): choose another one")
