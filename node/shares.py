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
        is_restored: Whether it comes from a backup, and has not run since: the file may be newer than the document.
    """

    path: str
    document: DocumentId
    may_seed: bool
    base: str | None = None
    is_restored: bool = False

    def encode(self) -> bytes:
        """Write it as `decode` reads it."""
        content = {
            "version": _VERSION,
            "path": self.path,
            "document": str(self.document),
            "may_seed": self.may_seed,
            "base": self.base,
            "restored": self.is_restored,
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
                **rest,
            }:
                return cls(
                    path=path,
                    document=DocumentId.from_hex(document),
                    may_seed=may_seed,
                    base=base,
                    is_restored=rest.get("restored") is True,
                )
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
            sync_folder(self._folder)
        except OSError as error:
            raise StorageError(f"{place} cannot be written ({error.strerror})") from error

    def save_base(self, share: Share, base: str) -> None:
        """Keep what the mirror wants to remember; durable on return."""
        self.save(replace(share, base=base, is_restored=False))

    def for_backup(self) -> dict[str, bytes]:
        """Give what a backup holds of all shares, by the path in the data directory: none of the common texts.

        A file goes on while the backup lies there. With the old common text, all that it was given since by others
        would look like an insertion by its editor, and stand there twice once the others send it again.
        """
        found: dict[str, bytes] = {}
        with contextlib.suppress(FileNotFoundError):
            for place in sorted(self._folder.glob("*.json")):
                with contextlib.suppress(ValueError, RecursionError, OSError, IdentifierError):
                    share = Share.decode(place.read_bytes())
                    bare = replace(share, base=None, may_seed=False, is_restored=True)
                    found[f"{FOLDER}/{place.name}"] = bare.encode()
        return found

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


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
