"""The key file: the secrets of a device, for its owner alone.

Format: a deterministic CBOR array. Version 1 is `["culm key file", 1, device seed, storage key]`, guarded by the mode
of the file (0600) alone. Version 2 is `["culm key file", 2, [operations, memory, salt], sealed]`, where the same two
secrets are sealed under a key that Argon2id makes of a passphrase (RFC 9106). The file is written whole or not at all,
is durable before its secrets are used, and is written again only to change the passphrase: whoever loses it has lost
the device.
"""

import errno
import os
import stat
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import nacl.exceptions
from nacl.pwhash import argon2id

from domain.codec import CodecError, Value, decode_array, encode, take_bytes, take_int, take_list
from domain.errors import KeyFileError, PassphraseError, SealError
from domain.identity import SEED_BYTES
from domain.limits import MIB
from domain.ports.environment import Entropy
from domain.sealing import NONCE_BYTES, open_record, seal_record

STORAGE_KEY_BYTES: Final = 32
_LABEL: Final = "culm key file"
_VERSION: Final = 2
_OPERATIONS_MAX: Final = (
    64  # a file that asks for more would keep the node from opening for minutes
)
_MEMORY_BYTES_MAX: Final = 4_096 * MIB
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


def load_or_create(path: Path, entropy: Entropy, passphrase: str | None = None) -> DeviceSecrets:
    """Load the key file, or make it with fresh secrets if there is none; durable on return.

    With a passphrase a new file is locked by it; opening a locked one takes about a second and 256 MiB.

    The caller holds the data directory, so nobody else makes one at the same time.

    Raises:
        KeyFileError: It is damaged, of a newer version, readable by others, or cannot be read or written, or there is
            not the memory to unlock it.
        PassphraseError: It is locked by another passphrase, or by one where none was given.
    """
    existing = _load(path, passphrase)
    if existing is not None:
        return existing
    secrets = DeviceSecrets(
        seed=entropy.draw(SEED_BYTES), storage_key=entropy.draw(STORAGE_KEY_BYTES)
    )
    _keep(path, secrets, passphrase, entropy)
    return secrets


def change_passphrase(path: Path, entropy: Entropy, *, old: str | None, new: str | None) -> None:
    """Lock the key file by another passphrase, or by none; durable on return. If it fails, the file is as it was.

    Raises:
        KeyFileError: It is missing, damaged, readable by others, or cannot be read or written.
        PassphraseError: `old` is not its passphrase.
    """
    _keep(path, load(path, old), new, entropy)


def is_locked(path: Path) -> bool:
    """Whether there is a key file that takes a passphrase; not whether it is whole."""
    try:
        with path.open("rb") as file:
            values = decode_array(file.read(_FILE_BYTES_MAX + 1), bytes_max=_FILE_BYTES_MAX)
    except (OSError, CodecError):
        return False
    return values[:2] == [_LABEL, 2]


def _keep(path: Path, secrets: DeviceSecrets, passphrase: str | None, entropy: Entropy) -> None:
    try:
        _write(path, _encode(secrets, passphrase, entropy), entropy)
    except OSError as error:
        raise KeyFileError(
            f"the key file {path} cannot be written ({error}): free space or give the right to"
            " write its directory"
        ) from error


def load(path: Path, passphrase: str | None = None) -> DeviceSecrets:
    """Load the key file.

    Raises:
        KeyFileError: It is missing, damaged, of a newer version, readable by others, or cannot be read.
        PassphraseError: It is locked by another passphrase, or by one where none was given.
    """
    secrets = _load(path, passphrase)
    if secrets is None:
        raise KeyFileError(
            f"there is no key file {path}: put it back from a backup; without it this device"
            " cannot be itself again"
        )
    return secrets


def _load(path: Path, passphrase: str | None) -> DeviceSecrets | None:
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
        return _decode(data, passphrase)
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


def _encode(secrets: DeviceSecrets, passphrase: str | None, entropy: Entropy) -> bytes:
    if passphrase is None:
        return encode([_LABEL, 1, secrets.seed, secrets.storage_key])
    salt = entropy.draw(argon2id.SALTBYTES)
    key = _derive(passphrase, argon2id.OPSLIMIT_MODERATE, argon2id.MEMLIMIT_MODERATE, salt)
    plain = encode([secrets.seed, secrets.storage_key])
    sealed = seal_record(key, _LABEL, salt, plain, nonce=entropy.draw(NONCE_BYTES))
    costs: list[Value] = [argon2id.OPSLIMIT_MODERATE, argon2id.MEMLIMIT_MODERATE, salt]
    return encode([_LABEL, _VERSION, costs, sealed])


def _derive(passphrase: str, operations: int, memory_bytes: int, salt: bytes) -> bytes:
    """Make a key of a passphrase, in Unicode's form NFC: keyboards differ in how they compose a letter.

    Raises:
        KeyFileError: There is not so much memory.
        PassphraseError: It is no text.
    """
    try:
        text = unicodedata.normalize("NFC", passphrase).encode()
    except UnicodeEncodeError:
        raise PassphraseError(
            "the passphrase is no text that UTF-8 can say: type it again"
        ) from None
    try:
        return argon2id.kdf(
            STORAGE_KEY_BYTES, text, salt, opslimit=operations, memlimit=memory_bytes
        )
    except (nacl.exceptions.RuntimeError, MemoryError):
        raise KeyFileError(
            f"to lock or unlock the keys takes {memory_bytes // MIB} MiB of memory, which are not to be had: free"
            " some; if it took less before, the key file is damaged: put it back from a backup"
        ) from None


def _unlock(costs: object, sealed: object, passphrase: str | None) -> DeviceSecrets:
    operations, memory_bytes, salt = take_list(costs, maximum=3)
    bounded = (
        take_int(operations, minimum=1, maximum=_OPERATIONS_MAX),
        take_int(memory_bytes, minimum=argon2id.MEMLIMIT_MIN, maximum=_MEMORY_BYTES_MAX),
    )
    salted = take_bytes(salt, minimum=argon2id.SALTBYTES, maximum=argon2id.SALTBYTES)
    closed = take_bytes(sealed, maximum=_FILE_BYTES_MAX)
    if passphrase is None:
        raise PassphraseError(
            "the keys of this device are locked by a passphrase: give it, in a file that `passphrase_file` names"
        )
    try:
        plain = open_record(_derive(passphrase, *bounded, salted), _LABEL, salted, closed)
    except SealError:
        raise PassphraseError(
            "the passphrase is not the one that locks the keys of this device: try again"
        ) from None
    seed, storage_key = decode_array(plain, bytes_max=_FILE_BYTES_MAX)
    return _take_secrets(seed, storage_key)


def _take_secrets(seed: object, storage_key: object) -> DeviceSecrets:
    return DeviceSecrets(
        seed=take_bytes(seed, minimum=SEED_BYTES, maximum=SEED_BYTES),
        storage_key=take_bytes(storage_key, minimum=STORAGE_KEY_BYTES, maximum=STORAGE_KEY_BYTES),
    )


def _decode(data: bytes, passphrase: str | None) -> DeviceSecrets:
    values = decode_array(data, bytes_max=_FILE_BYTES_MAX)
    if len(values) < 2 or values[0] != _LABEL or type(values[1]) is not int:  # noqa: PLR2004 - label, version
        raise CodecError("wrong-type", "not a key file")
    if values[1] > _VERSION:
        raise _NewerVersionError
    match values:
        case [_, 1, seed, storage_key]:
            return _take_secrets(seed, storage_key)
        case [_, 2, costs, sealed]:
            return _unlock(costs, sealed, passphrase)
        case _:
            raise CodecError("wrong-type", "not a key file")


def _open_for_reading(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def _read(path: Path) -> bytes:
    with open(path, "rb", opener=_open_for_reading) as file:
        status = os.fstat(file.fileno())
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
