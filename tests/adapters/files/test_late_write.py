"""An editor that opened the file before we replaced it, and writes afterwards."""

from pathlib import Path

import pytest

from adapters.files.text_file import TextFile, _temporary
from adapters.files.timing import MirrorTiming
from domain.limits import MIRROR_DISPLACED_FILES_MAX
from domain.ports.mirror import TextEdit
from tests.adapters.files.mirroring import World, until
from tests.descriptors import open_descriptors


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "notes.md"
    path.write_bytes(b"old")
    return path


def found(file: TextFile) -> list[tuple[bytes, bytes]]:
    return [(late.before, late.after) for late in file.late_writes()]


def accept(file: TextFile) -> None:
    for late in file.late_writes():
        file.accept(late)


def test_a_late_write_is_found_until_it_is_accepted(path: Path) -> None:
    file = TextFile(str(path))
    with path.open("ab") as editor:
        file.replace(b"new", b"old")
        assert found(file) == []
        editor.write(b" and more")
    assert found(file) == found(file) == [(b"old", b"old and more")]
    accept(file)
    assert found(file) == []
    file.close()
    assert file.take_kept() == []


def test_a_late_write_is_found_in_parts(path: Path) -> None:
    file = TextFile(str(path))
    with path.open("ab", buffering=0) as editor:
        file.replace(b"new", b"old")
        editor.write(b"1")
        accept(file)
        editor.write(b"2")
        assert found(file) == [(b"old1", b"old12")]
    file.close()


def test_late_writes_into_several_files_are_found(path: Path) -> None:
    file = TextFile(str(path))
    with path.open("ab", buffering=0) as first:
        file.replace(b"new", b"old")
        with path.open("ab", buffering=0) as second:
            first.write(b"1")
            file.replace(b"newer", b"new")
            second.write(b"2")
            assert found(file) == [(b"old", b"old1"), (b"new", b"new2")]
    file.close()


def test_only_a_few_files_stay_open_and_what_the_others_have_is_kept(path: Path) -> None:
    file = TextFile(str(path))
    descriptors = open_descriptors()
    with path.open("ab", buffering=0) as editor:
        for number in range(MIRROR_DISPLACED_FILES_MAX):
            file.replace(b"%d" % number, path.read_bytes())
        editor.write(b" and more")
        file.replace(b"last", path.read_bytes())
    assert open_descriptors() == descriptors + MIRROR_DISPLACED_FILES_MAX
    assert file.take_kept() == [f"{path}.culm-kept"]
    assert Path(f"{path}.culm-kept").read_bytes() == b"old and more"
    file.close()
    assert open_descriptors() == descriptors


def test_what_nobody_has_taken_in_is_kept_at_the_end(path: Path) -> None:
    file = TextFile(str(path))
    with path.open("ab") as editor:
        file.replace(b"new", b"old")
        editor.write(b" and more")
    file.close()
    assert file.take_kept() == [f"{path}.culm-kept"]
    assert Path(f"{path}.culm-kept").read_bytes() == b"old and more"


def test_no_late_write_is_looked_for_after_closing(path: Path) -> None:
    file = TextFile(str(path))
    descriptors = open_descriptors()
    file.replace(b"new", b"old")
    file.close()
    file.close()
    assert file.late_writes() == []
    file.replace(b"newer", b"new")
    assert open_descriptors() == descriptors


def kept(path: Path) -> str | None:
    place = path.with_name(f"{path.name}.culm-kept")
    return place.read_text() if place.exists() else None


class TestMirror:
    @pytest.fixture
    def world(self, path: Path) -> World:
        path.write_text("one\n")
        return World(path=path)

    async def test_a_write_that_ends_inside_of_a_character_is_not_lost(self, world: World) -> None:
        async with world.mirrored():
            with world.path.open("ab", buffering=0) as editor:
                world.type_remotely(0, "zero\n")
                await world.until_equal("zero\none\n")
                data = "typed: ü and more\n".encode()
                editor.write(data[: data.index(b"\xbc")])
                await world.until_looked()
                world.type_remotely(0, "meanwhile\n")
                await until(lambda: world.file_text() == "meanwhile\nzero\none\n")
                editor.write(data[data.index(b"\xbc") :])
                await world.until_equal("meanwhile\nzero\none\ntyped: ü and more\n")

    async def test_an_editor_that_empties_the_file_first_deletes_nothing(
        self, world: World
    ) -> None:
        """What others write meanwhile would have no place in the text any more."""
        patient = MirrorTiming(interval_s=0.005, settle_s=0.02, delete_after_s=3_600, recheck_s=0.1)
        async with world.mirrored(timing=patient):
            with world.path.open("r+b", buffering=0) as editor:
                world.type_remotely(0, "zero\n")
                await world.until_equal("zero\none\n")
                editor.truncate(0)
                await world.until_looked(40)
                assert world.replica.read() == "zero\none\n"
                world.type_remotely(8, " and a half")
                await world.until_equal("zero\none and a half\n")
                editor.write(b"one\ntwo\n")
                await world.until_equal("zero\none and a half\ntwo\n")

    async def test_a_late_write_that_stays_empty_is_a_deletion(self, world: World) -> None:
        async with world.mirrored():
            with world.path.open("r+b", buffering=0) as editor:
                world.type_remotely(0, "zero\n")
                await world.until_equal("zero\none\n")
                editor.truncate(0)
                await world.until_equal("zero\n")

    async def test_a_write_that_is_not_permitted_waits_and_is_kept_at_the_end(
        self, world: World
    ) -> None:
        async with world.mirrored():
            with world.path.open("ab", buffering=0) as editor:
                world.type_remotely(0, "zero\n")
                await world.until_equal("zero\none\n")
                world.replica.may_write = False
                editor.write(b"two\n")
                await world.until_looked()
                world.replica.may_write = True
                await world.until_equal("zero\none\ntwo\n")
                assert kept(world.path) is None
                world.replica.may_write = False
                editor.write(b"three\n")
                await world.until_looked()
        assert kept(world.path) == "one\ntwo\nthree\n"
        assert world.events[-1].kept == f"{world.path}.culm-kept"

    async def test_a_write_right_before_the_next_replacement_is_not_lost(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async with world.mirrored() as mirror:
            with world.path.open("ab", buffering=0) as editor:
                world.type_remotely(0, "zero\n")
                await world.until_equal("zero\none\n")
                replace = mirror._file.replace

                def replace_late(*arguments: bytes) -> object:
                    if b"again" in arguments[0]:
                        editor.write(b"late\n")
                        monkeypatch.undo()
                    return replace(*arguments)

                monkeypatch.setattr(mirror._file, "replace", replace_late)
                world.replica.edit_remotely([TextEdit(position=0, deleted=0, inserted="again\n")])
                await world.until_equal("again\nzero\none\nlate\n")

    async def test_what_a_crash_left_is_told_at_the_start(self, world: World) -> None:
        async with world.mirrored():
            world.type_remotely(0, "zero\n")
            await world.until_equal("zero\none\n")
            temporary = _temporary(world.path)
        temporary.write_text("one\nsaved\n")
        async with world.mirrored():
            await world.until_equal("zero\none\n")
        assert world.events[-1].kept == f"{world.path}.culm-kept"
        assert kept(world.path) == "one\nsaved\n"
