"""Renames that cannot destroy what somebody else put there meanwhile.

Linux has them (`renameat2`, since 3.15); Python does not offer them. Elsewhere, and on file systems that lack
them, the functions say so and the caller does the next best.
"""

import ctypes
import errno
import os
from pathlib import Path
from typing import Final

_AT_FDCWD: Final = -100
_RENAME_NOREPLACE: Final = 1
_RENAME_EXCHANGE: Final = 2
_UNSUPPORTED: Final = frozenset({errno.ENOSYS, errno.EINVAL, errno.ENOTSUP})


def exchange(first: Path, second: Path) -> bool:
    """Let two existing files take each other's place, atomically. False: not supported here, nothing was done.

    Raises:
        OSError: One of them is missing, or may not be renamed.
    """
    return _rename(first, second, _RENAME_EXCHANGE)


def rename_new(source: Path, target: Path) -> bool:
    """Rename, atomically and only if there is no `target`. False: not supported here, nothing was done.

    Raises:
        FileExistsError: There is a target.
        OSError: It may not be renamed.
    """
    return _rename(source, target, _RENAME_NOREPLACE)


def _rename(source: Path, target: Path, flags: int) -> bool:
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    ctypes.set_errno(0)
    if rename(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), flags) == 0:
        return True
    number = ctypes.get_errno()
    if number in _UNSUPPORTED:
        return False
    raise OSError(number, os.strerror(number), str(source), None, str(target))
