import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.crdt.json_text import measure_json
from domain.crdt.varint import write_varint
from domain.crdt.walker import walk_update
from domain.errors import UpdateError
from domain.limits import UPDATE_ANY_DEPTH_MAX, UPDATE_VALUES_MAX
from tests.domain.crdt.encoding import (
    ALICE,
    BOB,
    IN_MAP,
    IN_TEXT,
    Author,
    any_value,
    embed,
    numbers,
    pycrdt_takes,
    refusal,
    section,
    sized,
    string,
    update,
)


@pytest.mark.parametrize("text", [b"a\xff", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80"])
def test_text_that_is_not_utf8_is_refused(text: bytes) -> None:
    places = [
        string(text),
        b"\x04\x01" + sized(text) + sized(b"a"),
        b"\x28\x01\x01m" + sized(text) + b"\x01\x7e",
        b"\x28" + IN_MAP + b"\x01\x77" + sized(text),
        b"\x28" + IN_MAP + b"\x01\x76\x01" + sized(text) + b"\x7e",
        b"\x05" + IN_TEXT + sized(b'"' + text + b'"'),
        b"\x06" + IN_TEXT + sized(text) + sized(b"true"),
        b"\x07" + IN_TEXT + b"\x03" + sized(text),
    ]
    for place in places:
        assert refusal(update(section(place))) == "text"
        assert not pycrdt_takes(update(section(place)))


@pytest.mark.parametrize("value", [b"\x7d\x80\x00", b"\x7d\xbf\xff\xff\xff\xff\xff\xff\x20"])
def test_integer_value_in_a_longer_form_or_of_more_than_53_bits_is_refused(value: bytes) -> None:
    assert refusal(any_value(value)) == "varint"


@pytest.mark.parametrize(
    ("struct", "what"),
    [
        (b"\x02" + IN_TEXT + b"\x01" + sized(b"1") + sized(b"2"), "JSON, which yrs misreads"),
        (b"\x29" + IN_MAP + sized(b"guid") + b"\x76\0", "subdocument"),
        (b"\x0a\x02", "skip"),
        (b"\x0b" + IN_TEXT + b"\0\0\0", "move"),
        (b"\x0f" + IN_TEXT, "unknown"),
        (b"\x14" + IN_TEXT + sized(b"x"), "string with a stray bit"),
        (b"\x20" + IN_TEXT + b"\x01k\x01", "GC with flags"),
        (b"\x27" + IN_MAP + b"\x05" + sized(b"hook"), "XML hook, whose name yrs leaves unread"),
        (b"\x27" + IN_MAP + b"\x07", "weak link"),
        (b"\x27" + IN_MAP + b"\x09", "subdocument as type"),
        (b"\x27" + IN_MAP + b"\x0f", "undefined type"),
        (b"\x04\x02" + numbers(BOB, 0) + sized(b"x"), "parent of unknown kind"),
        (b"\x28" + IN_MAP + b"\x01\x10", "value of unknown kind"),
    ],
)
def test_content_that_replicas_might_read_differently_is_refused(struct: bytes, what: str) -> None:
    assert refusal(update(section(struct))) == "content", what


@pytest.mark.parametrize(
    "value",
    [
        b"\x7f", b"\x7e", b"\x79", b"\x78", b"\x7c\0\0\0\0", b"\x7b" + bytes(8), b"\x7a" + bytes(8),
        b"\x7d\x00", b"\x7d\x3f", b"\x7d\x40", b"\x7d\x7f", b"\x7d\xbf\x01",
        b"\x7d\xbf\xff\xff\xff\xff\xff\xff\x1f", b"\x77\x02\xc3\xa9", b"\x74\x02\xff\xff",
        b"\x75\x00", b"\x75\x02\x7e\x75\x01\x7f", b"\x76\x00", b"\x76\x02\x01a\x7e\x01b\x76\x00",
    ],
)  # fmt: skip
def test_every_kind_of_value_is_read(value: bytes) -> None:
    assert walk_update(any_value(value)).structs == 1
    assert pycrdt_takes(any_value(value))


@pytest.mark.parametrize(
    ("opening", "innermost"), [(b"\x75\x01", b"\x7e"), (b"\x76\x01\x01k", b"\x7e")]
)
def test_value_nested_too_deep_is_refused(opening: bytes, innermost: bytes) -> None:
    deepest = opening * UPDATE_ANY_DEPTH_MAX + innermost
    assert walk_update(any_value(deepest)).structs == 1
    assert refusal(any_value(opening + deepest)) == "too-deep"


def test_announced_size_is_checked_before_anything_is_read() -> None:
    huge = write_varint(2**50)
    for struct in (b"\x04" + IN_TEXT + huge, b"\x03" + IN_TEXT + huge, b"\x28" + IN_MAP + huge):
        assert refusal(update(section(struct))) == "truncated"
    for value in (b"\x77" + huge, b"\x74" + huge, b"\x75" + huge, b"\x76" + huge):
        assert refusal(any_value(value)) == "truncated"


GOOD_JSON = [
    b"1", b"-0", b"1E5", b"0.1", b" [ ] ", b"\t{\n}\r", b'""', b'"\\u0000\\n\\/"', b'"\x7f"', '"é🎉"'.encode(),
    b'"\\ud83d\\ude00"', b"[1,[2],{}]", b'{"a":{"b":[true,false,null]},"a":1}', b"9223372036854775807",
    b"18446744073709551616", b"-9223372036854775809", b"1e-999",
]  # fmt: skip
BAD_JSON = [
    b"", b" ", b"{zz", b"undefined", b"NaN", b"-Infinity", b"1e999", b"-1e999", b'"\\ud800"', b'"\\ude00\\ud83d"',
    b"1 2", b"[1,]", b"[,1]", b"[1 2]", b"[1}", b"]", b"{1:2}", b'{"a"}', b'{"a":}', b'{"a":1,}', b"'a'", b'"\x01"',
    b'"\\x"', b'"', b"01", b"-", b"1.", b".5", b"+1", b"\xef\xbb\xbf1", b"\x0c1", b"True", b"1" * 400,
    b"9223372036854775808", b"18446744073709551615",
]  # fmt: skip


@pytest.mark.parametrize("text", GOOD_JSON)
def test_json_that_yrs_accepts_is_accepted(text: bytes) -> None:
    assert walk_update(embed(text)).structs == 1
    assert pycrdt_takes(embed(text))


@pytest.mark.parametrize("text", BAD_JSON)
def test_json_that_yrs_refuses_is_refused(text: bytes) -> None:
    assert refusal(embed(text)) == "json"
    assert not pycrdt_takes(embed(text))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@given(value=json_values)
def test_embed_that_pycrdt_writes_is_read(value: object) -> None:
    author = Author(ALICE)
    author.text.insert_embed(0, {"value": value})
    author.text.insert(0, "x", {"format": value})
    assert all(walk_update(data).structs for data in author.updates)


@given(
    pieces=st.lists(
        st.sampled_from([*'[]{},:"\\ -1.e', '"a"', "true", "null", "\\ud83d", "\\ude00", "é"]), max_size=12
    )
)  # fmt: skip
def test_json_is_judged_as_yrs_does(pieces: list[str]) -> None:
    data = embed("".join(pieces).encode())
    try:
        walk_update(data)
    except UpdateError:
        assert not pycrdt_takes(data)
    else:
        assert pycrdt_takes(data)


def test_values_of_all_structs_count_together() -> None:
    half = UPDATE_VALUES_MAX // 2 + 1
    struct = b"\x28" + IN_MAP + write_varint(half) + b"\x7e" * half
    assert refusal(update(section(struct, struct))) == "too-many"


def test_json_tokens_count_as_values() -> None:
    with pytest.raises(UpdateError, match="too-many"):
        measure_json(b"[1,2,3]", 5)


def test_json_nested_too_deep_is_refused() -> None:
    deepest = b"[" * UPDATE_ANY_DEPTH_MAX + b"]" * UPDATE_ANY_DEPTH_MAX
    assert walk_update(embed(deepest)).structs == 1
    assert refusal(embed(b"[" + deepest + b"]")) == "too-deep"
