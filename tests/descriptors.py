"""What this process holds open."""

from pathlib import Path


def open_descriptors() -> int:
    """How many files, sockets and pipes there are (Linux)."""
    return len(list(Path("/proc/self/fd").iterdir()))
