from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycrdt import Array, Doc, Map, Text, XmlElement, XmlText

from domain.crdt.varint import read_varint, write_varint
from domain.crdt.walker import (
    ClientSection,
    check_update,
    decode_state_vector,
    delete_set_over,
    encode_state_vector,
    void_update,
    walk_update,
)
from domain.errors import UpdateError
from domain.limits import (
    CLIENT_ID_MAX,
    CLOCK_MAX,
    UPDATE_BYTES_MAX,
    UPDATE_CLIENTS_MAX,
    UPDATE_DELETE_RANGES_MAX,
    UPDATE_STRUCTS_MAX,
    UPDATE_VALUES_MAX,
)
from tests.domain.crdt.encoding import (
    ALICE,
    BOB,
    CAROL,
    IN_MAP,
    IN_TEXT,
    NO_DELETES,
    Author,
    any_value,
    delete_set,
    numbers,
    refusal,
    section,
    sized,
    string,
    update,
)


def edit_everything(author: Author) -> None:
    with author.doc.transaction():
        author.text.insert(0, "hé🎉")
        author.text.format(0, 1, {"bold": True, "link": {"to": [1, None, 2.5, "x"]}})
    author.text.insert_embed(0, {"image": "x"})
    del author.text[0:2]
    author.map["values"] = [1, -1, 2**40, 2**62, 1.1, True, None, "s", b"b", {"z": {}}, []]
    author.map["bytes"] = b"bytes"
    author.map["nested"] = Map({"text": Text("x"), "array": Array([1, Map({"k": 2})])})
    author.map["bytes"] = 1
    author.array.extend([1, "two", b"three", Map({"d": 1}), None, float("inf")])
    del author.array[1:3]
    author.xml.children.append(XmlElement("p", {"class": "a"}, [XmlText("hi")]))
    author.xml.children.append(XmlText("hello"))
    del author.map["nested"]
    with author.doc.transaction():
        author.text.insert(0, "gone")
        del author.text[0:4]
        author.text.insert(0, "kept")


# --- What pycrdt makes ---


def test_update_of_each_shared_type_advances_the_state_by_its_sections() -> None:
    author, reader = Author(ALICE), Author(BOB)
    edit_everything(author)
    clocks = {ALICE: 0}
    for data in author.updates:
        walk = walk_update(data)
        check_update(walk, next_clock=clocks.get, end_clock=clocks.__getitem__)
        reader.doc.apply_update(data)
        clocks |= {one.client: one.end for one in walk.sections}
        assert reader.state() == clocks
    assert str(reader.text) == str(author.text)


def test_clocks_count_utf16_units() -> None:
    author = Author(ALICE)
    author.text.insert(0, "hé🎉")
    assert walk_update(author.updates[0]).sections == (ClientSection(ALICE, 0, 4, 1),)


def test_origins_and_deletes_of_other_clients_are_reported() -> None:
    alice, bob = Author(ALICE), Author(BOB)
    alice.text.insert(0, "abcdef")
    bob.doc.apply_update(alice.updates[0])
    bob.updates.clear()
    with bob.doc.transaction():
        bob.text.insert(3, "x")
        del bob.text[4:6]
    walk = walk_update(bob.updates[0])
    assert walk.references == {ALICE: 4}  # between clocks 2 and 3
    assert walk.deletes[ALICE] == 5
    assert walk.delete_ranges >= 1


def test_update_that_changes_nothing_is_empty() -> None:
    assert walk_update(Doc[Any]().get_update()).is_empty
    assert walk_update(b"\0\0").is_empty
    assert not walk_update(update(section(string("a")))).is_empty


def test_snapshots_and_merged_updates_are_read_too() -> None:
    author = Author(ALICE)
    edit_everything(author)
    assert walk_update(author.doc.get_update()).sections[0].end == author.state()[ALICE]


# --- Malformed ---


def test_every_truncation_is_refused() -> None:
    author = Author(ALICE)
    edit_everything(author)
    for data in (*author.updates, author.doc.get_update()):
        for size in range(len(data)):
            assert refusal(data[:size]) == "truncated"


def test_bytes_after_the_update_are_refused() -> None:
    assert refusal(update(section(string("a"))) + b"\0") == "trailing"


@pytest.mark.parametrize(
    "data",
    [
        b"\x80\x00\x00",
        b"\xff" * 20,
        numbers(1, 1) + b"\x86\x00" + b"\x00" + string("a") + NO_DELETES,
        numbers(1, 1) + b"\xff" * 9 + b"\x01" + b"\x00" + string("a") + NO_DELETES,
    ],
)
def test_integer_in_a_longer_form_or_too_large_is_refused(data: bytes) -> None:
    assert refusal(data) == "varint"


@pytest.mark.parametrize(
    "struct",
    [b"\0\0", b"\x01" + IN_TEXT + b"\0", b"\x04" + IN_TEXT + b"\0", b"\x28" + IN_MAP + b"\0"],
)
def test_struct_that_takes_no_clock_is_refused(struct: bytes) -> None:
    assert refusal(update(section(struct, string("x")))) == "zero-length"


def test_section_without_structs_is_refused() -> None:
    assert refusal(update(section())) == "zero-length"


def test_two_sections_of_one_client_are_refused() -> None:
    data = update(section(string("a")), section(string("b"), clock=1))
    assert refusal(data) == "duplicate-client"
    assert (
        refusal(update(deletes=delete_set((BOB, [(0, 1)]), (BOB, [(4, 1)])))) == "duplicate-client"
    )


@pytest.mark.parametrize(
    "ranges", [[(1, 0)], [(5, 1), (1, 2)], [(1, 4), (3, 4)], [(1, 4), (1, 4)], [(2, 2), (2, 1)]]
)
def test_ranges_that_are_empty_or_out_of_order_are_refused(ranges: list[tuple[int, int]]) -> None:
    assert refusal(update(deletes=delete_set((BOB, ranges)))) == "delete-set"


def test_client_without_ranges_is_accepted_because_pycrdt_writes_it() -> None:
    walk = walk_update(update(deletes=delete_set((BOB, []), (CAROL, [(1, 1), (2, 1)]))))
    assert walk.deletes == {BOB: 0, CAROL: 3}
    assert walk_update(update(deletes=delete_set((BOB, [])))).is_empty


def test_client_id_of_more_than_53_bits_is_refused() -> None:
    above = CLIENT_ID_MAX + 1
    reference = numbers(above, 0)
    assert walk_update(update(section(string("a"), client=CLIENT_ID_MAX))).structs == 1
    assert refusal(update(section(string("a"), client=above))) == "client-id"
    assert refusal(update(section(string("a", origin=reference)))) == "client-id"
    assert refusal(update(deletes=delete_set((above, [(0, 1)])))) == "client-id"


def test_clock_of_more_than_32_bits_is_refused() -> None:
    assert (
        walk_update(update(section(b"\0" + write_varint(CLOCK_MAX)))).sections[0].end == CLOCK_MAX
    )
    assert refusal(update(section(b"\0" + write_varint(CLOCK_MAX), string("a")))) == "clock"
    assert refusal(update(section(string("a"), clock=CLOCK_MAX))) == "clock"
    assert refusal(update(section(string("a", origin=numbers(ALICE, CLOCK_MAX))))) == "clock"
    assert refusal(update(deletes=delete_set((BOB, [(CLOCK_MAX, 1)])))) == "clock"


# --- Limits ---


def test_each_limit_is_held() -> None:
    assert refusal(bytes(UPDATE_BYTES_MAX + 1)) == "too-large"
    assert refusal(numbers(UPDATE_CLIENTS_MAX + 1)) == "too-many"
    assert refusal(numbers(1, UPDATE_STRUCTS_MAX + 1, BOB, 0)) == "too-many"
    assert refusal(numbers(0, 1, BOB, UPDATE_DELETE_RANGES_MAX + 1)) == "too-many"
    count = UPDATE_VALUES_MAX + 1
    assert refusal(any_value(b"\x75" + write_varint(count) + b"\x7e" * count)) == "too-many"


# --- References ---


@pytest.mark.parametrize("clock", [1, 2, 9])
def test_struct_that_refers_to_itself_or_a_later_one_is_refused(clock: int) -> None:
    named = numbers(BOB, clock)
    child = b"\x04\0" + named + sized(b"x")
    for struct in (string("xy", origin=named), string("xy", right=named), child):
        assert refusal(update(section(string("a"), struct, string("z")))) == "self-reference"


def test_edit_inside_a_character_is_refused_since_pycrdt_names_the_struct_itself() -> None:
    author = Author(ALICE)
    author.text.insert(0, "é")
    author.text.insert(1, "x")
    assert refusal(author.updates[1]) == "self-reference"


def test_sections_may_refer_to_each_other_in_turn() -> None:
    ours = section(
        string("a"), string("c", origin=numbers(CAROL, 0)), string("e", origin=numbers(CAROL, 1))
    )
    theirs = section(
        string("b", origin=numbers(BOB, 0)), string("d", origin=numbers(BOB, 1)), client=CAROL
    )
    for data in (update(ours, theirs), update(theirs, ours)):
        doc = Doc[Any]()
        doc.apply_update(data)
        assert str(doc.get("text", type=Text)) == "abcde"
        assert [one.structs for one in walk_update(data).sections] in ([3, 2], [2, 3])


def test_sections_that_wait_for_each_other_are_refused() -> None:
    ours = section(string("a"), string("b", origin=numbers(CAROL, 1)))
    theirs = section(string("c"), string("d", origin=numbers(BOB, 1)), string("e"), client=CAROL)
    assert refusal(update(ours, theirs)) == "cyclic-reference"
    assert refusal(update(theirs, ours)) == "cyclic-reference"


def test_reference_beyond_another_section_is_refused() -> None:
    ours = section(string("a", origin=numbers(CAROL, 5)))
    assert refusal(update(ours, section(string("b"), client=CAROL))) == "unseen-reference"


# --- What the author may write ---


def checked(data: bytes, *, own: dict[int, int], seen: dict[int, int]) -> str | None:
    end_clock: Callable[[int], int] = lambda client: seen.get(client, 0)  # noqa: E731
    try:
        check_update(walk_update(data), next_clock=own.get, end_clock=end_clock)
    except UpdateError as error:
        return error.code
    return None


def test_section_starts_where_its_author_left_off() -> None:
    data = update(section(string("a"), clock=4))
    assert checked(data, own={BOB: 4}, seen={BOB: 4}) is None
    assert checked(data, own={BOB: 3}, seen={BOB: 3}) == "clock-gap"
    assert checked(data, own={BOB: 5}, seen={BOB: 5}) == "clock-reused"
    assert checked(data, own={CAROL: 4}, seen={BOB: 4}) == "foreign-client"


def test_references_stay_within_what_the_author_has_seen() -> None:
    for struct in (
        string("x", origin=numbers(ALICE, 4)),
        string("x", right=numbers(ALICE, 4)),
        b"\x04\0" + numbers(ALICE, 4) + sized(b"x"),
    ):
        data = update(section(struct))
        assert checked(data, own={BOB: 0}, seen={ALICE: 5}) is None
        assert checked(data, own={BOB: 0}, seen={ALICE: 4}) == "unseen-reference"
        assert checked(data, own={BOB: 0}, seen={}) == "unseen-reference"


def test_deletes_stay_within_what_the_author_has_seen() -> None:
    data = update(section(string("abc")), deletes=delete_set((ALICE, [(0, 1), (2, 2)])))
    assert checked(data, own={BOB: 0}, seen={ALICE: 4}) is None
    assert checked(data, own={BOB: 0}, seen={ALICE: 3}) == "unseen-delete"


def test_update_may_name_its_own_structs() -> None:
    inside = update(
        section(string("abc"), string("d", origin=numbers(BOB, 2))),
        deletes=delete_set((BOB, [(0, 4)])),
    )
    beyond = update(section(string("abc")), deletes=delete_set((BOB, [(0, 4)])))
    assert checked(inside, own={BOB: 0}, seen={}) is None
    assert checked(beyond, own={BOB: 0}, seen={}) == "unseen-delete"


# --- Making updates and state vectors ---


def test_delete_set_over_sections_deletes_exactly_their_clocks() -> None:
    author = Author(ALICE)
    author.text.insert(0, "abcdefgh")
    author.doc.apply_update(
        delete_set_over(
            [
                ClientSection(ALICE, 1, 3, 1),
                ClientSection(ALICE, 5, 6, 1),
                ClientSection(ALICE, 3, 4, 1),
            ]
        )
    )
    assert str(author.text) == "aegh"
    assert walk_update(delete_set_over([])).is_empty


@given(
    ranges=st.lists(
        st.tuples(st.sampled_from([ALICE, BOB]), st.integers(0, 30), st.integers(1, 9)), max_size=8
    )
)
def test_delete_set_over_sections_is_the_union_of_their_clocks(
    ranges: list[tuple[int, int, int]],
) -> None:
    data = delete_set_over(ClientSection(c, start, start + size, 1) for c, start, size in ranges)
    walk = walk_update(data)
    assert walk.deletes == {
        client: max(start + size for c, start, size in ranges if c == client)
        for client in {client for client, _, _ in ranges}
    }
    author = Author(ALICE)
    author.text.insert(0, "".join(map(chr, range(65, 105))))
    author.doc.apply_update(data)
    gone = {n for c, start, size in ranges if c == ALICE for n in range(start, start + size)}
    assert str(author.text) == "".join(chr(65 + n) for n in range(40) if n not in gone)


def test_void_update_takes_the_clocks_and_shows_nothing() -> None:
    alice, bob = Author(ALICE), Author(BOB)
    alice.text.insert(0, "base")
    bob.doc.apply_update(alice.updates[0])
    bob.updates.clear()
    with bob.doc.transaction():
        bob.text.insert(2, "never")
        del bob.text[0:1]
    alice.doc.apply_update(void_update(bob.updates[0], walk_update(bob.updates[0])))
    assert str(alice.text) == "base"
    assert alice.state() == bob.state()


states = st.dictionaries(st.integers(0, CLIENT_ID_MAX), st.integers(0, CLOCK_MAX), max_size=80)


@given(state=states)
def test_state_vector_survives_the_round_trip(state: dict[int, int]) -> None:
    data = encode_state_vector(state)
    assert decode_state_vector(data) == state
    assert encode_state_vector(dict(reversed(state.items()))) == data
    for size in range(len(data)):
        with pytest.raises(UpdateError, match="truncated"):
            decode_state_vector(data[:size])


def test_state_vector_is_pycrdts() -> None:
    author = Author(ALICE)
    edit_everything(author)
    assert encode_state_vector(author.state()) == author.doc.get_state()


@pytest.mark.parametrize(
    "data",
    [
        numbers(2, BOB, 1, BOB, 2),
        numbers(1, CLIENT_ID_MAX + 1, 1),
        numbers(1, BOB, CLOCK_MAX + 1),
        numbers(0, 0),
        numbers(5),
        b"\x81\x00",
        b"",
    ],
)
def test_malformed_state_vector_is_refused(data: bytes) -> None:
    with pytest.raises(UpdateError):
        decode_state_vector(data)


@given(value=st.integers(0, 2**63 - 1), before=st.binary(max_size=3), after=st.binary(max_size=3))
def test_varint_survives_the_round_trip(value: int, before: bytes, after: bytes) -> None:
    data = before + write_varint(value)
    assert read_varint(data + after, len(before)) == (value, len(data))
