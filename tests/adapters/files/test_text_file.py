import errno
import itertools
import os
import stat
from pathlib import Path

import pytest

from adapters.files import text_file
from adapters.files.exchange import exchange, rename_new
from adapters.files.text_file import TextFile
from domain.errors import MirrorError
from tests.adapters.files.mirroring import heeds_permissions


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "notes.md"


@pytest.fixture(params=["exchange", "plain"])
def rename(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the renames of Linux, and as on a file system that lacks them."""
    if request.param == "plain":
        monkeypatch.setattr(text_file, "exchange", lambda first, second: False)
        monkeypatch.setattr(text_file, "rename_new", lambda source, target: False)


pytestmark = pytest.mark.usefixtures("rename")


def test_a_missing_file_reads_as_none(path: Path) -> None:
    assert TextFile(str(path)).read() is None
    assert TextFile(str(path)).signature() is None


def test_a_file_is_made_where_none_is(path: Path) -> None:
    file = TextFile(str(path))
    signature = file.replace(b"text", None)
    assert path.read_bytes() == b"text"
    assert signature == file.signature()


def test_a_file_is_replaced_if_it_is_as_expected(path: Path) -> None:
    path.write_bytes(b"old")
    file = TextFile(str(path))
    before = path.stat().st_ino
    signature = file.replace(b"new", b"old")
    assert path.read_bytes() == b"new"
    assert path.stat().st_ino != before
    assert signature == file.signature()


@pytest.mark.parametrize("expected", [b"old", None])
def test_a_file_that_is_not_as_expected_is_left_alone(path: Path, expected: bytes | None) -> None:
    path.write_bytes(b"saved by somebody")
    assert TextFile(str(path)).replace(b"new", expected) is None
    assert path.read_bytes() == b"saved by somebody"


def test_a_file_that_is_gone_is_not_made_again_unasked(path: Path) -> None:
    assert TextFile(str(path)).replace(b"new", b"old") is None
    assert not path.exists()


def test_nothing_but_the_file_stays_in_the_directory(path: Path) -> None:
    path.write_bytes(b"old")
    file = TextFile(str(path))
    file.replace(b"new", b"old")
    file.replace(b"no", b"old")
    assert [each.name for each in path.parent.iterdir()] == ["notes.md"]


def test_what_a_crash_left_is_cleared_away(path: Path) -> None:
    path.write_bytes(b"old")
    file = TextFile(str(path))
    for data in (b"", b"ne", b"new", b"old", b"\xef\xbb\xbfold"):
        path.write_bytes(b"old")
        text_file._temporary(path).write_bytes(data)
        file.replace(b"new", b"old")
        assert [each.name for each in path.parent.iterdir()] == ["notes.md"]
        assert path.read_bytes() == b"new"
    assert file.take_kept() == []
    file.close()


def test_what_was_saved_right_before_a_crash_is_kept_beside_the_file(path: Path) -> None:
    """The machine stops after the exchange has brought us a save that we had not seen."""
    path.write_bytes(b"old")
    path.with_name("notes.md.culm-kept").write_bytes(b"kept before")
    file = TextFile(str(path))
    for number in (2, 3):
        text_file._temporary(path).write_bytes(b"saved %d" % number)
        file.replace(b"new", path.read_bytes())
        kept = f"{path}.culm-kept-{number}"
        assert file.take_kept() == [kept]
        assert Path(kept).read_bytes() == b"saved %d" % number
    assert path.read_bytes() == b"new"
    assert path.with_name("notes.md.culm-kept").read_bytes() == b"kept before"
    file.close()


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o664, 0o755])
def test_mode_and_owner_are_kept(path: Path, mode: int) -> None:
    path.write_bytes(b"old")
    path.chmod(mode)
    if not heeds_permissions():  # only root gives files away
        os.chown(path, 1234, 5678)
    before = path.stat()
    TextFile(str(path)).replace(b"new", b"old")
    after = path.stat()
    assert stat.S_IMODE(after.st_mode) == mode
    assert (after.st_uid, after.st_gid) == (before.st_uid, before.st_gid)


def test_extended_attributes_are_kept(path: Path) -> None:
    path.write_bytes(b"old")
    try:
        os.setxattr(path, "user.note", b"mine")
    except OSError:
        pytest.skip("this file system has no extended attributes")
    TextFile(str(path)).replace(b"new", b"old")
    assert os.getxattr(path, "user.note") == b"mine"


@pytest.mark.parametrize("number", [errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_extended_attributes_is_written_to(
    path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(_path: Path) -> list[str]:
        raise OSError(number, os.strerror(number))

    path.write_bytes(b"old")
    monkeypatch.setattr(os, "listxattr", refuse)
    TextFile(str(path)).replace(b"new", b"old")
    assert path.read_bytes() == b"new"


def test_a_new_file_has_the_mode_that_any_program_gives(path: Path) -> None:
    other = path.with_name("other")
    other.touch()
    TextFile(str(path)).replace(b"new", None)
    assert path.stat().st_mode == other.stat().st_mode


def test_a_symbolic_link_is_written_through(path: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    target = tmp_path / "elsewhere" / "target.md"
    target.write_bytes(b"old")
    path.symlink_to(Path("elsewhere") / "target.md")
    TextFile(str(path)).replace(b"new", b"old")
    assert path.is_symlink()
    assert target.read_bytes() == b"new"


def test_a_symbolic_link_to_nothing_makes_its_target(path: Path, tmp_path: Path) -> None:
    path.symlink_to("target.md")
    TextFile(str(path)).replace(b"new", None)
    assert path.is_symlink()
    assert (tmp_path / "target.md").read_bytes() == b"new"


def test_a_link_to_itself_is_an_error(path: Path) -> None:
    path.symlink_to(path)
    with pytest.raises(MirrorError, match="mend the symbolic link"):
        TextFile(str(path)).read()


def test_a_file_without_write_permission_is_not_replaced(path: Path) -> None:
    path.write_bytes(b"old")
    path.chmod(0o444)
    with pytest.raises(MirrorError, match="read-only"):
        TextFile(str(path)).replace(b"new", b"old")
    assert path.read_bytes() == b"old"


def test_a_directory_is_no_text(path: Path) -> None:
    path.mkdir()
    with pytest.raises(MirrorError, match="not a regular file"):
        TextFile(str(path)).read()


def test_a_pipe_is_no_text_and_holds_nothing_up(path: Path) -> None:
    os.mkfifo(path)
    with pytest.raises(MirrorError, match="not a regular file"):
        TextFile(str(path)).read()


@pytest.mark.skipif(not heeds_permissions(), reason="root reads everything")
def test_a_file_that_may_not_be_read_is_an_error(path: Path) -> None:
    path.write_bytes(b"secret")
    path.chmod(0)
    with pytest.raises(MirrorError, match="permission"):
        TextFile(str(path)).read()


def test_a_directory_that_is_gone_is_an_error(tmp_path: Path) -> None:
    file = TextFile(str(tmp_path / "gone" / "notes.md"))
    with pytest.raises(MirrorError, match="is gone"):
        file.read()
    with pytest.raises(MirrorError, match="is gone"):
        file.signature()
    with pytest.raises(MirrorError):
        file.replace(b"new", None)


def test_a_file_that_is_too_large_is_not_read(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(MirrorError, match="1,099,511,627,776 bytes"):
        TextFile(str(path)).read()


def test_a_file_of_exactly_the_largest_size_is_read(path: Path) -> None:
    path.write_bytes(b"12345678")
    content = TextFile(str(path), bytes_max=8).read()
    assert content is not None
    assert content.data == b"12345678"


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_a_save_just_before_the_replacement_wins(
    path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """An editor that saves between our last look and the rename."""
    path.write_bytes(b"old")
    saves = iter(range(count))

    def rename_late(first: Path, second: Path) -> bool:
        for data in itertools.islice(saves, 1):
            path.with_name("editor").write_bytes(b"saved %d" % data)
            path.with_name("editor").replace(path)
        return exchange(first, second)

    monkeypatch.setattr(text_file, "exchange", rename_late)
    assert TextFile(str(path)).replace(b"new", b"old") is None
    assert path.read_bytes() == b"saved %d" % (count - 1)
    assert [each.name for each in path.parent.iterdir()] == ["notes.md"]


def test_a_file_made_just_before_ours_wins(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def rename_late(source: Path, target: Path) -> bool:
        path.write_bytes(b"saved")
        return rename_new(source, target)

    monkeypatch.setattr(text_file, "rename_new", rename_late)
    assert TextFile(str(path)).replace(b"new", None) is None
    assert path.read_bytes() == b"saved"
