"""The content of a file, and what tells that it has changed."""

import os
import stat
from dataclasses import dataclass
from typing import Final

from domain.errors import MirrorError

READ: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
"""Flags to open a file for reading: a pipe must not hold us up."""


EMPTY: Final = frozenset({b"", b"\xef\xbb\xbf"})
"""What a file without text holds: nothing, or a byte order mark."""


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


def signature_of(status: os.stat_result) -> Signature:
    """Give the signature of a file that was looked at."""
    return Signature(
        device=status.st_dev,
        inode=status.st_ino,
        size=status.st_size,
        modified_ns=status.st_mtime_ns,
    )


def read_open(descriptor: int, path: str, bytes_max: int) -> Content:
    """Read an open file from its beginning; `path` is for the text of the error.

    Raises:
        MirrorError: It is no regular file, or too large.
        OSError: It cannot be read.
    """
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise MirrorError(f"{path} is not a regular file: give the path of a text file")
    data = b""
    if status.st_size <= bytes_max:
        os.lseek(descriptor, 0, os.SEEK_SET)
        with open(descriptor, "rb", closefd=False) as file:
            data = file.read(bytes_max + 1)
    check_size(path, max(status.st_size, len(data)), bytes_max)
    return Content(data=data, signature=signature_of(status))


def check_size(what: str, size_bytes: int, bytes_max: int) -> None:
    """See that something is not too large for a mirrored file; `what` is for the text of the error.

    Raises:
        MirrorError: It is.
    """
    if size_bytes > bytes_max:
        raise MirrorError(
            f"{what} has {size_bytes:,} bytes, more than the {bytes_max:,} that a mirrored file "
            "may have: shorten it, and the mirror goes on"
        )


def data_in(content: Content | None) -> bytes | None:
    """Give the bytes of a file that may be missing."""
    return content.data if content is not None else None


def signature_in(content: Content | None) -> Signature | None:
    """Give the signature of a file that may be missing."""
    return content.signature if content is not None else None
