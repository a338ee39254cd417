"""Files that are kept beside a mirrored one: what nobody else has, and what the document cannot take.

They are for people, who look at them and remove them. Nothing here reads them again, or writes over one.
"""

import codecs
import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from adapters.files.exchange import rename_new
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


def put_aside(source: Path, target: Path) -> Path:
    """Rename a file that lies in the way, so that it is kept beside the mirrored one; durable on return.

    Raises:
        MirrorError: There are too many of them.
        OSError: It cannot be renamed.
    """
    for place in _places(target):
        with contextlib.suppress(FileExistsError):
            if not rename_new(source, place):
                place.hardlink_to(source)
                source.unlink()
            sync_directory(place.parent)
            return place
    raise _too_many(target)


def is_leftover(data: bytes, replaced: bytes | None, written: bytes | None) -> bool:
    """Whether a temporary file holds what was replaced, or what was written or a part of it, in whichever format."""
    plain = _plain(data)
    if replaced is not None and plain == _plain(replaced):
        return True
    return written is not None and _plain(written).startswith(plain.removesuffix(b"\r"))


def _plain(data: bytes) -> bytes:
    return data.removeprefix(codecs.BOM_UTF8).replace(b"\r\n", b"\n")


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
