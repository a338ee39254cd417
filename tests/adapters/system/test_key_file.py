"""The key file is made once, kept to its owner, and believed only when it is whole."""

import resource
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nacl.pwhash import argon2id

from adapters.system.environment import SystemEntropy
from adapters.system.key_file import (
    DeviceSecrets,
    change_passphrase,
    is_locked,
    load,
    load_or_create,
)
from domain.codec import encode
from domain.errors import KeyFileError, PassphraseError
from tests.descriptors import open_descriptors


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    return tmp_path / "device.key"


def put(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    path.chmod(0o600)


def test_secrets_are_the_same_each_time(key_file: Path) -> None:
    secrets = load_or_create(key_file, SystemEntropy())
    assert (len(secrets.seed), len(secrets.storage_key)) == (32, 32)
    assert secrets.seed != secrets.storage_key
    assert load_or_create(key_file, SystemEntropy()) == secrets
    assert load(key_file) == secrets


def test_two_devices_share_no_secret(tmp_path: Path) -> None:
    first, second = (load_or_create(tmp_path / name, SystemEntropy()) for name in ("a", "b"))
    assert not {first.seed, first.storage_key} & {second.seed, second.storage_key}


def test_only_the_owner_may_read_the_file(key_file: Path) -> None:
    load_or_create(key_file, SystemEntropy())
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600


def test_nothing_else_is_left_in_the_directory(key_file: Path) -> None:
    load_or_create(key_file, SystemEntropy())
    assert list(key_file.parent.iterdir()) == [key_file]


def test_secrets_are_not_shown(key_file: Path) -> None:
    secrets = load_or_create(key_file, SystemEntropy())
    for secret in (secrets.seed, secrets.storage_key):
        for shown in (repr(secrets), str(secrets), f"{[secrets]}"):
            assert secret.hex() not in shown
            assert repr(secret) not in shown


def test_a_missing_file_is_named(key_file: Path) -> None:
    with pytest.raises(KeyFileError, match="there is no key file") as caught:
        load(key_file)
    assert str(key_file) in str(caught.value)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666, 0o610])
def test_a_file_open_to_others_is_refused_with_the_way_to_mend_it(
    key_file: Path, mode: int
) -> None:
    secrets = load_or_create(key_file, SystemEntropy())
    key_file.chmod(mode)
    with pytest.raises(KeyFileError, match=f"chmod 600 {key_file}"):
        load_or_create(key_file, SystemEntropy())
    key_file.chmod(0o600)
    assert load(key_file) == secrets


def test_a_symbolic_link_and_a_directory_are_refused(tmp_path: Path, key_file: Path) -> None:
    load_or_create(key_file, SystemEntropy())
    link = tmp_path / "link.key"
    link.symlink_to(key_file)
    directory = tmp_path / "directory.key"
    directory.mkdir(mode=0o700)
    before = open_descriptors()
    for path in (link, directory):
        with pytest.raises(KeyFileError):
            load_or_create(path, SystemEntropy())
    assert open_descriptors() == before


def test_a_newer_version_asks_for_an_upgrade(key_file: Path) -> None:
    put(key_file, encode(["culm key file", 3, b"sealed"]))
    with pytest.raises(KeyFileError, match="newer culm"):
        load_or_create(key_file, SystemEntropy())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.one_of(st.binary(max_size=200), st.just(b"x" * 10_000)))
def test_garbage_is_refused_and_left_alone(key_file: Path, data: bytes) -> None:
    put(key_file, data)
    with pytest.raises(KeyFileError, match="damaged"):
        load_or_create(key_file, SystemEntropy())
    assert key_file.read_bytes() == data


def test_every_truncation_is_refused(key_file: Path) -> None:
    load_or_create(key_file, SystemEntropy())
    whole = key_file.read_bytes()
    for size in range(len(whole)):
        put(key_file, whole[:size])
        with pytest.raises(KeyFileError, match="damaged"):
            load(key_file)


def test_secrets_of_another_length_are_refused(key_file: Path) -> None:
    for seed, storage_key in ((b"s" * 31, b"k" * 32), (b"s" * 32, b"k" * 33), ("s" * 32, b"")):
        put(key_file, encode(["culm key file", 1, seed, storage_key]))
        with pytest.raises(KeyFileError, match="damaged"):
            load(key_file)


def test_a_directory_that_is_not_there_is_a_key_file_error(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="cannot be written"):
        load_or_create(tmp_path / "missing" / "device.key", SystemEntropy())


def test_equal_secrets_compare_equal() -> None:
    assert DeviceSecrets(seed=b"a", storage_key=b"b") == DeviceSecrets(seed=b"a", storage_key=b"b")


# -- Passphrases --


@pytest.fixture
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Argon2id cost next to nothing."""
    monkeypatch.setattr(argon2id, "OPSLIMIT_MODERATE", 1)
    monkeypatch.setattr(argon2id, "MEMLIMIT_MODERATE", 8_192)


@pytest.mark.usefixtures("cheap")
def test_a_locked_file_opens_with_its_passphrase_alone(key_file: Path) -> None:
    secrets = load_or_create(key_file, SystemEntropy(), "correct horse")
    assert is_locked(key_file)
    assert load(key_file, "correct horse") == secrets
    for wrong in (None, "", "Correct horse", "correct horse "):
        with pytest.raises(PassphraseError) as caught:
            load(key_file, wrong)
        assert "correct horse" not in str(caught.value)
    data = key_file.read_bytes()
    assert secrets.seed not in data
    assert secrets.storage_key not in data
    assert stat.S_IMODE(key_file.stat().st_mode) == 0o600


@pytest.mark.usefixtures("cheap")
def test_a_passphrase_is_changed_and_taken_away(key_file: Path) -> None:
    secrets = load_or_create(key_file, SystemEntropy())
    assert not is_locked(key_file)
    for old, new in ((None, "one"), ("one", "two"), ("two", None)):
        if old is not None:
            with pytest.raises(PassphraseError):
                change_passphrase(key_file, SystemEntropy(), old="wrong", new="x")
        change_passphrase(key_file, SystemEntropy(), old=old, new=new)
        assert load(key_file, new) == secrets
    assert list(key_file.parent.iterdir()) == [key_file]


@pytest.mark.usefixtures("cheap")
def test_the_same_letter_composed_otherwise_is_the_same_passphrase(key_file: Path) -> None:
    secrets = load_or_create(key_file, SystemEntropy(), "caf\u00e9")
    assert load(key_file, "cafe\u0301") == secrets


@pytest.mark.parametrize("costs", [(10**9, 8_192), (1, 2**50), (0, 8_192), (1, 0)])
def test_a_file_that_asks_for_too_much_is_damaged(key_file: Path, costs: tuple[int, int]) -> None:
    put(key_file, encode(["culm key file", 2, [*costs, bytes(16)], bytes(100)]))
    with pytest.raises(KeyFileError, match="damaged"):
        load(key_file, "x")


@pytest.fixture
def little_memory() -> Iterator[None]:
    """Not more than some hundred MiB for this process."""
    limits = resource.getrlimit(resource.RLIMIT_AS)
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + 100 * 2**20, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, limits)


@pytest.mark.usefixtures("little_memory")
def test_memory_that_is_not_to_be_had_is_told(key_file: Path) -> None:
    with pytest.raises(KeyFileError, match="256 MiB of memory"):
        load_or_create(key_file, SystemEntropy(), "secret")
    put(key_file, encode(["culm key file", 2, [1, 2**31, bytes(argon2id.SALTBYTES)], bytes(99)]))
    with pytest.raises(KeyFileError, match="2048 MiB of memory"):
        load(key_file, "secret")


def test_passphrase_that_is_no_text_is_told(key_file: Path) -> None:
    with pytest.raises(PassphraseError, match="no text"):
        load_or_create(key_file, SystemEntropy(), "\ud800")
