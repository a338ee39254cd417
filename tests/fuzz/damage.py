"""Damages bytes that were in good form, in the ways that parsers trip over."""

from collections.abc import Sequence
from random import Random
from typing import Final

BYTES_MAX: Final = 4_096
"""Longer inputs find little more, and take longer."""
MAGIC: Final = (
    b"\0", b"\xff", b"\x7f", b"\x80", b"\xff\xff", b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff",
    b"\xff\xff\xff\xff\x0f", b"\xff" * 9 + b"\x01", b"\xff\xff\xff\xff\xff\xff\xff\x1f", b"\x1b" + b"\xff" * 8,
    b"\x3b" + b"\xff" * 8, b"\x5a\xff\xff\xff\xff", b"\x9b" + b"\x7f" * 8, b"\x9f", b"\xbf", b"\xf9\x7e\0", b"\xf6",
    b"\xc2\x80", b"[" * 40, b'{"a":' * 20, b"1e999", b"-1", b"\xed\xa0\x80", b"\x81" * 60,
)  # fmt: skip
"""Ends of ranges, lengths beyond everything, and containers in containers: varints, CBOR, JSON, UTF-8."""


def damage(chance: Random, corpus: Sequence[bytes]) -> bytes:
    """Take one, and damage it in one to five places."""
    data = bytearray(chance.choice(corpus)[:BYTES_MAX])
    for _ in range(chance.randint(1, 5)):
        _damage_once(chance, data, corpus)
    return bytes(data[:BYTES_MAX])


def _damage_once(chance: Random, data: bytearray, corpus: Sequence[bytes]) -> None:
    at = chance.randint(0, len(data))
    end = min(len(data), at + chance.choice((1, 1, 2, 4, 8, 40)))
    match chance.randrange(8):
        case 0:
            data[at:end] = b""
        case 1:
            data[at:at] = data[at:end]
        case 2:
            data[at:at] = chance.choice(MAGIC)
        case 3:
            magic = chance.choice(MAGIC)
            data[at : at + len(magic)] = magic
        case 4:
            del data[at:]
        case 5:
            other = chance.choice(corpus)[:BYTES_MAX]
            start = chance.randint(0, len(other))
            data[at:end] = other[start : start + chance.choice((1, 8, 40, BYTES_MAX))]
        case _:
            for place in range(at, end):
                data[place] ^= 1 << chance.randrange(8)
