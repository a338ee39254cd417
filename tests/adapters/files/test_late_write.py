"""An editor that opened the file before we replaced it, and writes afterwards."""

from pathlib import Path

import pytest

from adapters.files.text_file import TextFile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "notes.md"
    path.write_bytes(b"old")
    return path


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_late_write_is_found(path: Path) -> None:
    file = TextFile(str(path))
    with path.open("ab") as editor:
        file.replace(b"new", b"old")
        assert file.take_late_write() is None
        editor.write(b" and more")
    assert file.take_late_write() == (b"old", b"old and more")
    assert file.take_late_write() is None
    file.close()


def test_a_late_write_is_found_in_parts(path: Path) -> None:
    file = TextFile(str(path))
    with path.open("ab", buffering=0) as editor:
        file.replace(b"new", b"old")
        editor.write(b"1")
        assert file.take_late_write() == (b"old", b"old1")
        editor.write(b"2")
        assert file.take_late_write() == (b"old1", b"old12")
    file.close()


def test_no_late_write_is_looked_for_after_closing(path: Path) -> None:
    file = TextFile(str(path))
    descriptors = open_descriptors()
    file.replace(b"new", b"old")
    file.close()
    file.close()
    assert file.take_late_write() is None
    file.replace(b"newer", b"new")
    assert open_descriptors() == descriptors
