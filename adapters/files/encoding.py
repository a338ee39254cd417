"""Bytes of a file and the text that they mean: UTF-8, byte order mark, line ends.

A document holds line feeds. A file whose lines all end in CR LF is read and written so, and the document does
not notice; one with mixed line ends is taken as it is, to the last byte. Once a document holds a CR LF itself
(from such a file), its files hold exactly its text: else they could not be equal.
"""

import codecs
from dataclasses import dataclass, replace

from domain.errors import MirrorError

_OTHER_MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class TextFormat:
    """How a text is written: with a byte order mark, and with CR LF where the text has line feeds."""

    has_mark: bool = False
    has_crlf: bool = False


def decode(
    data: bytes, *, path: str, before: TextFormat, is_verbatim: bool
) -> tuple[str, TextFormat]:
    """Read the text and the format of the bytes of a file.

    Args:
        data: The whole file.
        path: For the text of the error.
        before: The format so far, which holds on while the text has no line end at all.
        is_verbatim: The document holds CR LF itself, so that those of the file belong to the text.

    Raises:
        MirrorError: It is not UTF-8.
    """
    has_mark = data.startswith(codecs.BOM_UTF8)
    try:
        text = data.removeprefix(codecs.BOM_UTF8).decode("utf-8")
    except UnicodeDecodeError as error:
        name = next((name for mark, name in _OTHER_MARKS.items() if data.startswith(mark)), "")
        found = f"it looks like {name}" if name else f"the byte at offset {error.start} is not"
        raise MirrorError(
            f"{path} is not UTF-8 text ({found}): convert it, and the mirror goes on"
        ) from None
    lines = text.count("\n")
    has_crlf = lines == text.count("\r\n") if lines else before.has_crlf
    has_crlf = has_crlf and "\r\r\n" not in text  # which would not come back
    if is_verbatim or not has_crlf:
        return text, TextFormat(has_mark=has_mark, has_crlf=False)
    return text.replace("\r\n", "\n"), TextFormat(has_mark=has_mark, has_crlf=True)


def encode(text: str, text_format: TextFormat) -> tuple[bytes, TextFormat]:
    """Write the text in the format; the format as it is afterwards.

    Raises:
        MirrorError: The text holds half characters (lone surrogates), which UTF-8 cannot.
    """
    if "\r\n" in text:
        text_format = replace(text_format, has_crlf=False)
    elif text_format.has_crlf:
        text = text.replace("\n", "\r\n")
    try:
        data = text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise MirrorError(f"the text has half a character at {error.start}: delete it") from None
    return (codecs.BOM_UTF8 if text_format.has_mark else b"") + data, text_format
