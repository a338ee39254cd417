"""What devices say about themselves: sealed in the log, the same for all, and harmless whatever it is."""

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain import codec, limits
from domain.devices import write_metadata
from domain.document import Document
from domain.errors import NotPermittedError, UpdateError, UsageError
from domain.operations.control import Remove, Role, SetRole
from domain.operations.device import CAPABILITY, UNSEEN, DeviceMetadata
from domain.operations.kind import Kind
from tests.domain.document.editors import Editor, exchange, found_editors, newcomer
from tests.domain.document.quarrel import change
from tests.strategies import seeds

names = (
    st.text(max_size=40)
    .map(str.strip)
    .filter(
        lambda name: not UNSEEN.search(name) and len(name.encode()) <= limits.DEVICE_NAME_BYTES_MAX
    )
)
capabilities = st.sets(
    st.from_regex(CAPABILITY, fullmatch=True).filter(lambda word: len(word) <= 32),
    max_size=limits.DEVICE_CAPABILITIES_MAX,
).map(lambda words: tuple(sorted(words)))


def describe(editor: Editor, name: str, *can: str) -> None:
    editor.now_us += 1
    metadata = DeviceMetadata(name=name, capabilities=can)
    write_metadata(editor.document, metadata, now_us=editor.now_us, entropy=editor.entropy)
    editor.settle([entry.operation for entry in editor.document.author.staged])


def names_in(editor: Editor, *devices: Editor) -> list[str | None]:
    said = [editor.document.replica.devices.of(each.document.key.peer) for each in devices]
    return [None if metadata is None else metadata.name for metadata in said]


@given(names, capabilities)
def test_metadata_comes_back(name: str, can: tuple[str, ...]) -> None:
    metadata = DeviceMetadata(name=name, capabilities=can)
    metadata.check()
    assert DeviceMetadata.decode(metadata.encode()) == metadata


@given(st.binary(max_size=80))
def test_other_bytes_are_metadata_or_a_typed_error(data: bytes) -> None:
    with suppress(UpdateError):
        assert DeviceMetadata.decode(data).encode() == data


@pytest.mark.parametrize(
    ("name", "can"),
    [
        ("a" * 129, ()),
        ("two\nlines", ()),
        ("red \x1b[31m", ()),
        ("turned \u202e round", ()),
        ("unseen\u200b", ()),
        (" blank", ()),
        ("", ("b", "a")),
        ("", ("a", "a")),
        ("", ("Not Lower",)),
        ("", ("x" * 33,)),
        ("", ("",)),
        ("", tuple(f"word{number:02}" for number in range(17))),
    ],
)
def test_what_a_name_or_a_word_may_not_be(name: str, can: tuple[str, ...]) -> None:
    with pytest.raises(UsageError):
        DeviceMetadata(name=name, capabilities=can).check()
    with pytest.raises(UpdateError):
        DeviceMetadata.decode(codec.encode((1, name, can)))


def test_name_that_is_no_text_is_refused() -> None:
    with pytest.raises(UsageError, match="UTF-8"):
        DeviceMetadata(name="half a character \udcff").check()


@given(seeds)
@settings(max_examples=10)
def test_all_know_the_latest_name_whatever_the_order(seed: int) -> None:
    founder, first, second = editors = found_editors(3, seed)
    for number, editor in enumerate((first, second, first)):
        editor.text.insert(0, "text")
        editor.flush()
        describe(editor, f"name {number}", "mirror")
    exchange(editors)
    readers = [newcomer(founder, 20 + number, seed) for number in range(3)]
    for number, reader in enumerate(readers):
        order = founder.log if number else founder.log[::-1]
        reader.receive(order)
    for reader in (*editors, *readers, readers[0].reopened()):
        assert names_in(reader, founder, first, second) == [None, "name 2", "name 1"]
        assert str(reader.text) == "texttexttext"
        snapshot = reader.document.snapshot()
        assert snapshot is not None
        old = reader.document
        restored = Document(old.key, old.document, old.record, old.keyring)
        restored.restore(snapshot)
        assert restored.replica.devices.to_value() == old.replica.devices.to_value()


def test_what_the_removed_says_meanwhile_does_not_count() -> None:
    founder, removed, honest = editors = found_editors(3)
    describe(removed, "before")
    exchange(editors)
    change(founder, Remove(member=removed.document.key.peer))
    describe(removed, "after")
    exchange(editors)
    for editor in (founder, honest):
        assert names_in(editor, removed) == ["before"]


def test_who_may_not_write_cannot_say_anything() -> None:
    founder, reader = found_editors(2)
    change(founder, SetRole(member=reader.document.key.peer, role=Role.READ))
    reader.receive(founder.log)
    with pytest.raises(NotPermittedError):
        describe(reader, "name")
    founder.document.keyring.secrets.clear()
    with pytest.raises(NotPermittedError):
        describe(founder, "name")


def test_bad_metadata_is_refused_by_all_and_holds_nothing_up() -> None:
    founder, hostile, other = found_editors(3)
    author = hostile.document.author
    author._write_content(Kind.DEVICE_METADATA, b"\x80", 9, hostile.entropy)
    bad = author.staged[-1].operation
    founder.receive([bad])
    assert [code for _, code in founder.last_judged.refused] != []
    assert names_in(founder, hostile) == [None]
    other.receive([bad])
    founder.text.insert(0, "on")
    other.receive(founder.flush())
    assert str(other.text) == "on"
