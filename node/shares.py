"""Which files follow which documents, and the text that both last had in common: kept across restarts.

One small file per mirrored file, 0600, in `mirrors/` of the data directory, replaced whole and durably. They hold text
of documents in clear, as the mirrored files themselves do.
"""

import contextlib
import hashlib
import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Self

from domain.errors import IdentifierError, MirrorError, StorageError
from domain.identifiers import DocumentId

FOLDER: Final = "mirrors"
_VERSION: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """A mirrored file.

    Args:
        path: The file, with symbolic links resolved.
        document: Its document.
        may_seed: Whether the file may fill the document while that is empty: only where it was founded from it.
        base: What the mirror wants to remember; None before it has run.
    """

    path: str
    document: DocumentId
    may_seed: bool
    base: str | None = None

    def encode(self) -> bytes:
        """Write it as `decode` reads it."""
        content = {
            "version": _VERSION,
            "path": self.path,
            "document": str(self.document),
            "may_seed": self.may_seed,
            "base": self.base,
        }
        return json.dumps(content).encode()

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read what `encode` wrote.

        Raises:
            ValueError: It is something else.
        """
        match json.loads(data):
            case {
                "version": 1,
                "path": str(path),
                "document": str(document),
                "may_seed": bool(may_seed),
                "base": None | str() as base,
            }:
                identifier = DocumentId.from_hex(document)
                return cls(path=path, document=identifier, may_seed=may_seed, base=base)
            case _:
                raise ValueError("not a share")


class Shares:
    """All mirrored files of a data directory.

    Args:
        directory: The data directory.
    """

    def __init__(self, directory: Path) -> None:
        self._folder = directory / FOLDER

    def find(self, path: str) -> Share | None:
        """Give what is known about a file, or None.

        Raises:
            MirrorError: It is damaged.
            StorageError: It cannot be read.
        """
        place = self._place(path)
        try:
            share = Share.decode(place.read_bytes())
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageError(f"{place} cannot be read ({error.strerror})") from error
        except (ValueError, RecursionError, IdentifierError):
            raise MirrorError(
                f"{place}, which remembers what {path} follows, is damaged: remove it, and mirror again with --merge"
            ) from None
        return share if share.path == path else None

    def save(self, share: Share) -> None:
        """Keep a share; durable on return.

        Raises:
            StorageError: It cannot be written.
        """
        place = self._place(share.path)
        temporary = place.with_suffix(".new")
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            descriptor = os.open(
                temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600
            )
            with os.fdopen(descriptor, "wb") as file:
                file.write(share.encode())
                file.flush()
                os.fsync(descriptor)
            temporary.replace(place)
            _sync(self._folder)
        except OSError as error:
            raise StorageError(f"{place} cannot be written ({error.strerror})") from error

    def save_base(self, share: Share, base: str) -> None:
        """Keep what the mirror wants to remember."""
        self.save(replace(share, base=base))

    def forget(self, document: DocumentId) -> None:
        """Remove everything about the files of a document; the files themselves stay."""
        with contextlib.suppress(FileNotFoundError):
            for place in list(self._folder.iterdir()):
                with contextlib.suppress(ValueError, OSError, IdentifierError):
                    if Share.decode(place.read_bytes()).document == document:
                        place.unlink()

    def _place(self, path: str) -> Path:
        digest = hashlib.blake2s(os.fsencode(path), digest_size=16).hexdigest()
        return self._folder / f"{digest}.json"


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
