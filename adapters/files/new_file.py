"""What every new file beside a mirrored one needs: owner and mode of the old one, and to be durable."""

import contextlib
import errno
import os
import stat
from pathlib import Path
from typing import Final

CREATE: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
"""Flags to open a file that nobody else has made."""


def write_whole(descriptor: int, data: bytes) -> None:
    """Write the content of a new file; durable on return."""
    with open(descriptor, "wb", closefd=False) as file:
        file.write(data)
    os.fsync(descriptor)


def copy_metadata(source: Path, descriptor: int) -> None:
    """Give the new file the owner, the extended attributes (access lists too) and the mode of the old one.

    As far as the system lets us: only root may give files away, others at most to a group of theirs. Nobody ever
    gets more access than the old file gave, and the owner comes last, since only they may set the rest.
    """
    status = source.stat()
    own = os.fstat(descriptor)
    mode = stat.S_IMODE(status.st_mode)
    if own.st_gid != status.st_gid:
        try:
            os.fchown(descriptor, -1, status.st_gid)
        except PermissionError:
            mode &= ~stat.S_IRWXG  # those were meant for another group
    for name in _attributes(source):
        with contextlib.suppress(OSError):  # the system's own (labels) are not ours to set
            os.setxattr(descriptor, name, os.getxattr(source, name))
    os.fchmod(descriptor, mode)
    if own.st_uid != status.st_uid:
        with contextlib.suppress(PermissionError):
            os.fchown(descriptor, status.st_uid, -1)


def _attributes(path: Path) -> list[str]:
    """List the extended attributes: none where system or file system knows none, as FAT and many in user space."""
    if not hasattr(os, "listxattr"):
        return []
    try:
        return os.listxattr(path)
    except OSError as error:
        if error.errno in (errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS):
            return []
        raise


def umask() -> int:
    """Read the process's mask for the modes of new files without changing it, where the system tells it."""
    with contextlib.suppress(OSError):
        for line in (
            Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
        ):
            if line.startswith("Umask:"):
                return int(line.split()[1], 8)
    return 0o077


def sync_directory(directory: Path) -> None:
    """Make a rename durable."""
    with contextlib.suppress(OSError):
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
