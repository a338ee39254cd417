"""The one place where errors of the database become errors of culm."""

import errno
import sqlite3
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError

from domain.errors import (
    IdentifierError,
    StorageCorruptError,
    StorageError,
    StorageFullError,
    StorageReadOnlyError,
)


class PlaceTakenError(StorageError):
    """Something has this place already: an operation in a log, or a row that must be unique."""


_Maker = Callable[[Path, str], StorageError]


def _full(path: Path, detail: str) -> StorageError:
    return StorageFullError(
        f"no space is left to write {path} ({detail}): free some, nothing is lost meanwhile"
    )


def _read_only(path: Path, detail: str) -> StorageError:
    return StorageReadOnlyError(
        f"{path} may not be written ({detail}): give the user who runs culm the right to write"
        " the file and its directory"
    )


def _corrupt(path: Path, detail: str) -> StorageError:
    return StorageCorruptError(
        f"{path} is damaged ({detail}): put a backup in its place, or move it away and join the"
        " documents again"
    )


def _locked(path: Path, detail: str) -> StorageError:
    return StorageError(
        f"{path} is locked by another program ({detail}): close whatever has the file open"
    )


_BY_CODE: Final[dict[int, _Maker]] = {
    sqlite3.SQLITE_IOERR_SHMSIZE: _full,  # the first 32 KiB beside the file, without which it is not opened
}
_BY_PRIMARY_CODE: Final[dict[int, _Maker]] = {
    sqlite3.SQLITE_FULL: _full,
    sqlite3.SQLITE_READONLY: _read_only,
    sqlite3.SQLITE_PERM: _read_only,
    sqlite3.SQLITE_CORRUPT: _corrupt,
    sqlite3.SQLITE_NOTADB: _corrupt,
    sqlite3.SQLITE_BUSY: _locked,
    sqlite3.SQLITE_LOCKED: _locked,
}
_PRIMARY_CODE_MASK: Final = 0xFF
_BY_ERRNO: Final[dict[int, _Maker]] = {
    errno.ENOSPC: _full,
    errno.EDQUOT: _full,
    errno.EACCES: _read_only,
    errno.EPERM: _read_only,
    errno.EROFS: _read_only,
}


def translate(path: Path, error: Exception) -> StorageError:
    """Say what an error of SQLAlchemy or SQLite means for the database at that path."""
    origin = error.orig if isinstance(error, DBAPIError) else error
    detail = str(origin)
    if isinstance(error, IntegrityError) or isinstance(origin, sqlite3.IntegrityError):
        return PlaceTakenError(f"{path}: the place is taken ({detail})")
    code = getattr(origin, "sqlite_errorcode", None)
    if isinstance(origin, OSError) and origin.errno in _BY_ERRNO:
        return _BY_ERRNO[origin.errno](path, detail)
    if isinstance(code, int):
        maker = _BY_CODE.get(code) or _BY_PRIMARY_CODE.get(code & _PRIMARY_CODE_MASK)
        if maker is not None:
            return maker(path, detail)
        detail = f"{detail}, {getattr(origin, 'sqlite_errorname', code)}"
    elif isinstance(origin, sqlite3.OperationalError) and "could not decode" in detail.lower():
        # Text that is no longer UTF-8: the sqlite3 module reports it without a code.
        return _corrupt(path, detail)
    return StorageError(f"{path} could not be read or written: {detail}")


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Raise what `translate` says instead of what the database raises.

    A flipped bit may change the type or the length of a column: what then fails here is damage as well.
    """
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error, OSError) as error:
        raise translate(path, error) from error
    except (IdentifierError, TypeError, ValueError, OverflowError, struct.error) as error:
        raise _corrupt(path, f"a column holds what was never written: {error}") from error
