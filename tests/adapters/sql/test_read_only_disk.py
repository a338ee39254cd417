"""A file system that turns read-only, as Linux does when its disk fails: named, read on, and nothing lost."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from domain.errors import StorageError, StorageReadOnlyError
from tests.adapters.sql.running import open_database
from tests.contracts.operation_store import document_id, in_order, make_log, read_all

DISK_BYTES = 16 * 2**20


def run(*command: str) -> bool:
    try:
        return subprocess.run(command, check=False, capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


class Disk:
    """A disk with a file system, in a file."""

    def __init__(self, image: Path, place: Path) -> None:
        self.image = image
        self.place = place

    def mount(self) -> bool:
        return run("mount", "-o", "loop", str(self.image), str(self.place))

    def remount(self, option: str) -> None:
        assert run("mount", "-o", f"remount,{option}", str(self.place))

    def unmount(self) -> None:
        assert run("umount", str(self.place))


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    disk = Disk(tmp_path / "image", tmp_path / "disk")
    disk.place.mkdir()
    disk.image.write_bytes(b"")
    os.truncate(disk.image, DISK_BYTES)
    if os.geteuid() or not run("mkfs.ext4", "-q", "-F", str(disk.image)) or not disk.mount():
        pytest.skip("NOT TESTED: only root can mount a disk of its own, and not everywhere")
    yield disk
    disk.unmount()


async def test_disk_that_fails_under_an_open_database_is_named_and_loses_nothing(
    disk: Disk,
) -> None:
    path = disk.place / "culm.sqlite"
    async with open_database(path) as database:
        await database.store.append(document_id(1), make_log(1, 5))
        disk.remount("abort")
        for _ in range(2):
            with pytest.raises(StorageError) as caught:
                await database.store.append(document_id(1), make_log(2, 5))
            assert str(path) in str(caught.value)
        assert await read_all(database.store, document_id(1)) == in_order(make_log(1, 5))
    disk.unmount()
    assert disk.mount()
    async with open_database(path) as database:
        await database.check()
        assert await read_all(database.store, document_id(1)) == in_order(make_log(1, 5))
        assert await database.store.append(document_id(1), make_log(2, 5)) == 10


async def test_database_on_a_read_only_disk_is_refused_as_that_and_opens_once_it_is_not(
    disk: Disk,
) -> None:
    path = disk.place / "culm.sqlite"
    async with open_database(path) as database:
        await database.store.append(document_id(1), make_log(1, 5))
    disk.remount("ro")
    with pytest.raises(StorageReadOnlyError, match="may not be written"):
        async with open_database(path):
            pass
    disk.remount("rw")
    async with open_database(path) as database:
        assert await read_all(database.store, document_id(1)) == in_order(make_log(1, 5))
