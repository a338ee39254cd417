"""Commands that bring documents out and in: export, import, backup."""

import asyncio
import contextlib
import io
import os
import sqlite3
import stat
import tarfile
import tempfile
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path
from typing import BinaryIO, Final

from domain.crdt.engine import save
from domain.errors import CulmError, StorageError, UsageError
from domain.limits import UPDATE_BYTES_MAX
from domain.text import difference
from node.commands.arguments import Arguments
from node.commands.context import Answer, CommandContext, describe_document
from node.commands.document import read_root
from node.configuration import FILE_NAME
from node.mirror import BODY, DocumentText
from node.shares import Shares, sync_folder
from node.wiring.system import DATABASE_FILE, KEY_FILE, PORT_FILE

UPDATE: Final = "update"
TEXT: Final = "text"
UPDATE_SUFFIXES: Final = frozenset({".yjs", ".bin", ".update", ".v1"})


async def export(context: CommandContext, arguments: Arguments) -> AsyncGenerator[Answer, None]:
    """Write a document to a file, as one Yjs update or as the text of its body."""
    document = await context.open(arguments.text("document"))
    path = arguments.path("path")
    wanted = arguments.optional_text("format") or UPDATE
    if wanted == UPDATE:
        data = save(document.ydoc)
    elif wanted == TEXT:
        data = read_root(document, arguments.optional_text("root") or BODY).encode()
    else:
        raise UsageError(f"there is no format {wanted!r}: use {UPDATE} or {TEXT}")
    is_replacing = arguments.flag("replace")

    def write() -> None:
        with _new_file(path, mode=0o666, is_replacing=is_replacing) as file:
            # Who may read what is replaced, and no others.
            with contextlib.suppress(FileNotFoundError):
                os.fchmod(file.fileno(), stat.S_IMODE(path.stat().st_mode))
            file.write(data)

    await asyncio.to_thread(write)
    yield describe_document(document) | {"path": str(path), "format": wanted, "bytes": len(data)}


async def import_file(
    context: CommandContext, arguments: Arguments
) -> AsyncGenerator[Answer, None]:
    """Read a file, a Yjs update or a text, into a new document or one that is there; durable at the end."""
    path = arguments.path("path")
    data = await asyncio.to_thread(_read, path)
    content = _content(path, data, arguments.optional_text("format"))
    into = arguments.optional_text("into")
    if into is not None:
        document = await context.open(into)
    else:
        stem = os.fsencode(path.stem).decode(errors="replace")  # names of files may be any bytes
        document = await context.node.create(arguments.optional_text("name") or stem)
    try:
        if isinstance(content, bytes):
            document.import_update(content)
        else:
            text = DocumentText(document)
            text.edit(difference(text.read(), content))
            text.close()
        await document.durable("disk")
    except BaseException:
        if into is None:
            with contextlib.suppress(CulmError):  # what went wrong first is what counts
                await context.node.forget(document.id)
        raise
    wanted = UPDATE if isinstance(content, bytes) else TEXT
    yield describe_document(document) | {"path": str(path), "format": wanted, "bytes": len(data)}


def _content(path: Path, data: bytes, wanted: str | None) -> str | bytes:
    """Tell a text from an update; a text is UTF-8 without zero bytes, unless the caller says otherwise."""
    if wanted not in (None, UPDATE, TEXT):
        raise UsageError(f"there is no format {wanted!r}: use {UPDATE} or {TEXT}")
    if wanted == UPDATE or (wanted is None and path.suffix.lower() in UPDATE_SUFFIXES):
        return data
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if wanted is None:
            return data
        raise UsageError(
            f"{path} is not UTF-8 text (the byte at offset {error.start}): convert it first"
        ) from None
    return data if wanted is None and "\0" in text else text


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(UPDATE_BYTES_MAX + 1)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from None
    if len(data) > UPDATE_BYTES_MAX:
        raise UsageError(f"{path} has more than {UPDATE_BYTES_MAX:,} bytes: import it in parts")
    return data


async def backup(context: CommandContext, arguments: Arguments) -> AsyncGenerator[Answer, None]:
    """Write the database as of now, and the keys, to one file for its owner alone."""
    path = arguments.path("path")
    is_replacing = arguments.flag("replace")
    for owner in context.node.owners():
        if owner.is_closed:
            continue  # it cannot go on: what is on disk is all there is of it
        await owner.durable()
        # Edits that a backup holds as still to be written again would be written twice.
        await owner.at_rest()
    size = await asyncio.to_thread(_back_up, context.directory, path, is_replacing=is_replacing)
    yield {"path": str(path), "bytes": size}


def _back_up(directory: Path, path: Path, *, is_replacing: bool) -> int:
    """Write the archive, and give its size in bytes."""
    with (
        _new_file(path, mode=0o600, is_replacing=is_replacing) as file,
        tempfile.TemporaryDirectory(prefix=".culm-", dir=path.parent) as folder,
        tarfile.open(fileobj=file, mode="w") as archive,
    ):
        database = Path(folder) / DATABASE_FILE
        _copy_database(directory / DATABASE_FILE, database)
        archive.add(database, DATABASE_FILE)
        for name in (KEY_FILE, PORT_FILE, FILE_NAME):
            if (directory / name).exists():
                archive.add(directory / name, name)
        for name, data in Shares(directory).for_backup().items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(data), 0o600
            archive.addfile(entry, io.BytesIO(data))
    return path.stat().st_size


def _copy_database(source: Path, target: Path) -> None:
    """Copy a database that is in use, as it is at one moment."""
    try:
        with (
            contextlib.closing(sqlite3.connect(f"{source.as_uri()}?mode=ro", uri=True)) as original,
            contextlib.closing(sqlite3.connect(target)) as copy,
        ):
            original.backup(copy)
        target.chmod(0o600)
    except sqlite3.Error as error:
        raise StorageError(f"{source} cannot be copied: {error}") from error


@contextlib.contextmanager
def _new_file(path: Path, *, mode: int, is_replacing: bool) -> Iterator[BinaryIO]:
    """Open a file that appears whole, durable, or not at all.

    Raises:
        UsageError: There is a file already, or none can be made there.
    """
    if not is_replacing and path.exists():
        raise UsageError(f"{path} exists: choose another name, or --replace it")
    try:
        # In a folder of its own, nobody else can have made the file before, nor open it.
        folder = tempfile.TemporaryDirectory(
            prefix=".culm-", dir=path.parent, ignore_cleanup_errors=True
        )
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from None
    with folder as name:
        temporary = Path(name) / "new"
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            with os.fdopen(os.open(temporary, flags, mode), "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            sync_folder(path.parent)
        except OSError as error:
            raise StorageError(f"{path} cannot be written: {error.strerror}") from error
