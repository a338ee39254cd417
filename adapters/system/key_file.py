"""The key file: the secrets of a device, for its owner alone.

Format: the deterministic CBOR array `["culm key file", version, device seed, storage key]`. Version 1 keeps both in
clear, guarded by the mode of the file (0600); a version with a passphrase can follow. The file is written whole
or not at all, is durable before its secrets are used, and is never written again: whoever loses it
has lost the device.
"""

import errno
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from domain.codec import CodecError, decode_array, encode, take_bytes
from domain.errors import KeyFileError
from domain.identity import SEED_BYTES
from domain.ports.environment import Entropy

STORAGE_KEY_BYTES: Final = 32
_LABEL: Final = "culm key file"
_VERSION: Final = 1
_FILE_BYTES_MAX: Final = 4_096
_MODE: Final = 0o600
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceSecrets:
    """What only this device knows; never shown, never logged."""

    seed: bytes = field(repr=False)
    """32 bytes: the device key."""
    storage_key: bytes = field(repr=False)
    """32 bytes: what records are sealed with at rest."""


def load_or_create(path: Path, entropy: Entropy) -> DeviceSecrets:
    """Load the key file, or make it with fresh secrets if there is none; durable on return.

    The caller holds the data directory, so nobody else makes one at the same time.

    Raises:
        KeyFileError: It is damaged, of a newer version, readable by others, or cannot be read or written.
    """
    existing = _load(path)
    if existing is not None:
        return existing
    secrets = DeviceSecrets(
        seed=entropy.draw(SEED_BYTES), storage_key=entropy.draw(STORAGE_KEY_BYTES)
    )
    try:
        _write(path, encode([_LABEL, _VERSION, secrets.seed, secrets.storage_key]), entropy)
    except OSError as error:
        raise KeyFileError(
            f"the key file {path} cannot be written ({error}): free space or give the right to"
            " write its directory"
        ) from error
    return secrets


def load(path: Path) -> DeviceSecrets:
    """Load the key file.

    Raises:
        KeyFileError: It is missing, damaged, of a newer version, readable by others, or cannot be read.
    """
    secrets = _load(path)
    if secrets is None:
        raise KeyFileError(
            f"there is no key file {path}: put it back from a backup; without it this device"
            " cannot be itself again"
        )
    return secrets


def _load(path: Path) -> DeviceSecrets | None:
    try:
        data = _read(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise KeyFileError(f"the key file {path} is a symbolic link: use the file") from error
        raise KeyFileError(
            f"the key file {path} cannot be read ({error}): give the user who runs culm the"
            " right to read it"
        ) from error
    try:
        return _decode(data)
    except CodecError as error:
        raise KeyFileError(
            f"the key file {path} is damaged ({error}): put it back from a backup"
        ) from None
    except _NewerVersionError:
        raise KeyFileError(
            f"the key file {path} was written by a newer culm: install that version"
        ) from None


class _NewerVersionError(Exception):
    """The version of the file is not known here."""


def _decode(data: bytes) -> DeviceSecrets:
    values = decode_array(data, bytes_max=_FILE_BYTES_MAX)
    if len(values) < 2 or values[0] != _LABEL or type(values[1]) is not int:  # noqa: PLR2004 - label, version
        raise CodecError("wrong-type", "not a key file")
    if values[1] > _VERSION:
        raise _NewerVersionError
    match values:
        case [_, 1, seed, storage_key]:
            return DeviceSecrets(
                seed=take_bytes(seed, minimum=SEED_BYTES, maximum=SEED_BYTES),
                storage_key=take_bytes(
                    storage_key, minimum=STORAGE_KEY_BYTES, maximum=STORAGE_KEY_BYTES
                ),
            )
        case _:
            raise CodecError("wrong-type", "not a key file")


def _read(path: Path) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise KeyFileError(f"the key file {path} is not a file: put it back from a backup")
        if status.st_mode & _OTHERS:
            raise KeyFileError(
                f"the key file {path} is open to others (mode {status.st_mode & 0o777:04o}), who may"
                f" have copied this device's keys: run 'chmod 600 {path}', and if others use this"
                " machine make a new device"
            )
        return file.read(_FILE_BYTES_MAX + 1)


def _write(path: Path, data: bytes, entropy: Entropy) -> None:
    temporary = path.with_name(f"{path.name}.{entropy.draw(8).hex()}.new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    descriptor = os.open(temporary, flags, _MODE)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fchmod(descriptor, _MODE)
            os.fsync(descriptor)
        temporary.rename(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_directory(path.parent)


def _sync_directory(directory: Path) -> None:
    """Make a new name in the directory durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
