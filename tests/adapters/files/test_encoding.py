import codecs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.files.encoding import TextFormat, decode, encode
from domain.errors import MirrorError

PLAIN = TextFormat()
lines = st.lists(st.sampled_from(["a", "é", "😀", "\n", "\r\n", "\r", "\ufeff"]), max_size=12).map(
    "".join
)
formats = st.builds(TextFormat, has_mark=st.booleans(), has_crlf=st.booleans())


def read(data: bytes, *, is_verbatim: bool = False) -> tuple[str, TextFormat]:
    return decode(data, path="notes.md", before=PLAIN, is_verbatim=is_verbatim)


@given(lines, st.booleans(), st.booleans())
def test_a_file_read_and_written_has_the_same_bytes(
    text: str, has_mark: bool, is_verbatim: bool
) -> None:
    data = (codecs.BOM_UTF8 if has_mark else b"") + text.lstrip("\ufeff").encode()
    read_text, text_format = read(data, is_verbatim=is_verbatim)
    assert encode(read_text, text_format)[0] == data


@given(lines, formats)
def test_a_text_written_and_read_is_the_same(text: str, text_format: TextFormat) -> None:
    data, text_format = encode(text.lstrip("\ufeff"), text_format)
    is_verbatim = "\r\n" in text
    again = decode(data, path="notes.md", before=text_format, is_verbatim=is_verbatim)
    assert again == (text.lstrip("\ufeff"), text_format)


@pytest.mark.parametrize(
    ("data", "text", "text_format"),
    [
        (b"", "", PLAIN),
        (b"a\nb\n", "a\nb\n", PLAIN),
        (b"a\r\nb\r\n", "a\nb\n", TextFormat(has_crlf=True)),
        (b"a\r\nb\n", "a\r\nb\n", PLAIN),
        (b"a\rb", "a\rb", PLAIN),
        (b"\xef\xbb\xbfa\r\n", "a\n", TextFormat(has_mark=True, has_crlf=True)),
        (b"\xef\xbb\xbf\xef\xbb\xbfa", "\ufeffa", TextFormat(has_mark=True)),
        (b"\0\x01", "\0\x01", PLAIN),
    ],
)
def test_mark_and_line_ends_are_told_from_the_text(
    data: bytes, text: str, text_format: TextFormat
) -> None:
    assert read(data) == (text, text_format)


def test_line_ends_are_remembered_while_there_are_none() -> None:
    crlf = TextFormat(has_crlf=True)
    assert decode(b"one line", path="notes.md", before=crlf, is_verbatim=False)[1] == crlf


def test_a_document_with_mixed_line_ends_is_written_as_it_is() -> None:
    assert encode("a\r\nb\n", TextFormat(has_crlf=True)) == (b"a\r\nb\n", PLAIN)


@pytest.mark.parametrize(
    ("data", "hint"),
    [
        (b"caf\xe9", "offset 3"),
        (b"\xff\xfea\0", "UTF-16"),
        (b"\xfe\xff\0a", "UTF-16"),
        (b"\xff\xfe\0\0a\0\0\0", "UTF-32"),
        (b"\xed\xa0\x80", "offset 0"),
        (b"a\xf0\x9f\x98", "offset 1"),
        (b"\xc0\x80", "offset 0"),
    ],
)
def test_what_is_not_utf8_is_refused_with_a_hint(data: bytes, hint: str) -> None:
    with pytest.raises(MirrorError, match=hint):
        read(data)


def test_half_a_character_is_not_written() -> None:
    with pytest.raises(MirrorError, match="half a character at 1"):
        encode("a\ud83d", PLAIN)
