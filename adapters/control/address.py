"""Where a Unix-domain socket is: also at paths beyond the 108 bytes that the system takes.

A longer path is reached through its directory, opened before: `/proc/self/fd/N/name` is short and names the
same file. This needs Linux; elsewhere a data directory with a long path has no control socket.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from domain.errors import StorageError

_PATH_BYTES_MAX: Final = 103  # 104 on the BSDs, 108 on Linux, with the zero at the end


@contextlib.contextmanager
def short_address(path: Path) -> Iterator[str]:
    """Give a name of the path that a socket can be bound or connected to, valid in the `with` block.

    Raises:
        StorageError: The path is too long for this system.
        OSError: Its directory cannot be opened.
    """
    if len(os.fsencode(path)) <= _PATH_BYTES_MAX:
        yield str(path)
        return
    if not Path("/proc/self/fd").is_dir():
        raise StorageError(f"{path} is too long for a socket: choose a shorter data directory")
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{path.name}"
    finally:
        os.close(descriptor)
