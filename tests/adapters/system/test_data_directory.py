"""A data directory is held by one process, and let go when that process ends, however it ends."""

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from adapters.system.data_directory import LOCK_NAME, open_data_directory
from domain.errors import DataDirectoryInUseError, StorageError, StorageReadOnlyError

ROOT = Path(__file__).resolve().parents[3]

HOLD = """
import sys
from pathlib import Path
from adapters.system.data_directory import open_data_directory
with open_data_directory(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def holder(directory: Path) -> Iterator["subprocess.Popen[str]"]:
    """Run a process that holds the directory until its input ends."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A directory that may not be written, not even by root."""
    directory = tmp_path / "read-only"
    directory.mkdir()
    if os.geteuid() != 0:
        directory.chmod(0o500)
        yield directory
        directory.chmod(0o700)
        return
    mounting = ["mount", "-t", "tmpfs", "-o", "ro,size=64k", "tmpfs", str(directory)]
    if subprocess.run(mounting, check=False, capture_output=True).returncode != 0:
        pytest.skip("NOT TESTED: root may write everywhere, and may not mount here")
    yield directory
    subprocess.run(["umount", str(directory)], check=True)


def test_a_new_directory_is_for_its_owner_alone(tmp_path: Path) -> None:
    with open_data_directory(tmp_path / "deep" / "data") as directory:
        assert directory == (tmp_path / "deep" / "data").resolve()
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        assert stat.S_IMODE((directory / LOCK_NAME).stat().st_mode) == 0o600


def test_a_directory_is_opened_again_after_it_was_closed(tmp_path: Path) -> None:
    for _ in range(3):
        with open_data_directory(tmp_path):
            pass


def test_an_existing_directory_keeps_its_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o750)
    with open_data_directory(tmp_path):
        assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o750


def test_a_second_process_is_locked_out_and_told_by_whom(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        with (
            pytest.raises(DataDirectoryInUseError, match=f"process {process.pid}:"),
            open_data_directory(tmp_path),
        ):
            pass
        assert process.poll() is None


def test_a_second_node_of_the_same_process_is_locked_out(tmp_path: Path) -> None:
    with (
        open_data_directory(tmp_path),
        pytest.raises(DataDirectoryInUseError, match=f"process {os.getpid()}:"),
        open_data_directory(tmp_path),
    ):
        pass


def test_a_killed_process_leaves_no_lock(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        with open_data_directory(tmp_path) as directory:
            assert int((directory / LOCK_NAME).read_text()) == os.getpid()


def test_the_lock_ends_with_an_error_inside(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), open_data_directory(tmp_path):
        _ = 1 / 0
    with open_data_directory(tmp_path):
        pass


def test_a_directory_that_may_not_be_written_is_refused(read_only: Path) -> None:
    for path in (read_only, read_only / "data"):
        with (
            pytest.raises(StorageReadOnlyError, match="may not be written"),
            open_data_directory(path),
        ):
            pass


@pytest.mark.parametrize("name", ["file", "file/below", "nul\0byte", "long" * 100])
def test_a_path_that_cannot_be_a_directory_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("not a directory")
    with pytest.raises(StorageError, match="cannot be used"), open_data_directory(tmp_path / name):
        pass


def test_a_lock_that_is_a_symbolic_link_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    data = tmp_path / "data"
    data.mkdir()
    (data / LOCK_NAME).symlink_to(victim)
    with pytest.raises(StorageError), open_data_directory(data):
        pass
    assert victim.read_text() == "precious"
