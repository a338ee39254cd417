"""Files that are kept beside a mirrored one: what nobody else has, and what the document cannot take.

They are for people, who look at them and remove them. Nothing here reads them again, or writes over one.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from adapters.files.new_file import CREATE, copy_metadata, sync_directory, write_whole
from domain.errors import MirrorError
from domain.limits import MIRROR_KEPT_FILES_MAX

SUFFIX: Final = ".culm-kept"


def keep_beside(target: Path, data: bytes) -> Path:
    """Keep a content in a file of its own, with owner and mode of the mirrored one; durable on return.

    Raises:
        MirrorError: There are too many of them.
        OSError: It cannot be written; then there is no such file.
    """
    for place in _places(target):
        try:
            descriptor = os.open(place, CREATE, 0o600)
        except FileExistsError:
            if _holds(place, data):
                return place
            continue
        try:
            with contextlib.suppress(FileNotFoundError):
                copy_metadata(target, descriptor)
            write_whole(descriptor, data)
        except OSError:
            place.unlink(missing_ok=True)
            raise
        finally:
            os.close(descriptor)
        sync_directory(place.parent)
        return place
    raise _too_many(target)


def _places(target: Path) -> Iterator[Path]:
    yield target.with_name(target.name + SUFFIX)
    for number in range(2, MIRROR_KEPT_FILES_MAX + 1):
        yield target.with_name(f"{target.name}{SUFFIX}-{number}")


def _too_many(target: Path) -> MirrorError:
    return MirrorError(
        f"{MIRROR_KEPT_FILES_MAX} files {target}{SUFFIX}-... are there: look at them and move them away, "
        "and the mirror goes on"
    )


def _holds(place: Path, data: bytes) -> bool:
    try:
        return place.is_file() and place.stat().st_size == len(data) and place.read_bytes() == data
    except OSError:
        return False
