"""Variable-length integers as lib0 and Yjs write them: seven bits a byte, lowest first.

Only the shortest form is read: yrs and Yjs disagree about what longer forms and more than 64 bits mean. Values of
more than 63 bits are refused too, since nothing in an update may be that large. Reading past the end raises
IndexError, which `domain.crdt.walker` turns into an error of its own: a test of the length for each byte would cost
more than all the rest.
"""

from typing import Final

from domain.errors import UpdateError

MORE: Final = 0x80  # set in every byte but the last
BITS: Final = 0x7F
SHIFT_MAX: Final = 56  # of the ninth byte


def read_varint(data: bytes, position: int) -> tuple[int, int]:
    """Read an unsigned integer at `position`.

    Returns:
        The integer, and the position after it.

    Raises:
        IndexError: The data end within it.
        UpdateError: It is not in its shortest form, or has more than 63 bits (`varint`).
    """
    byte = data[position]
    position += 1
    if byte < MORE:
        return byte, position
    second = data[position]
    if 0 < second < MORE:  # clocks of two bytes are by far the most common
        return byte & BITS | second << 7, position + 1
    value = byte & BITS
    shift = 7
    while (byte := data[position]) >= MORE:
        position += 1
        value |= (byte & BITS) << shift
        shift += 7
        if shift > SHIFT_MAX:
            raise UpdateError("varint", "an integer has more than 63 bits")
    if not byte:
        raise UpdateError("varint", "an integer is not in its shortest form")
    return value | byte << shift, position + 1


def write_varint(value: int) -> bytes:
    """Write an unsigned integer in its shortest form."""
    out = bytearray()
    while value >= MORE:
        out.append(value & BITS | MORE)
        value >>= 7
    out.append(value)
    return bytes(out)
