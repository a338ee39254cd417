"""Makes Yjs v1 updates by hand, good and bad ones, and reads them with pycrdt."""

from typing import Any, Final

import pytest
from pycrdt import Array, Doc, Map, Text, XmlFragment

from domain.crdt.varint import write_varint
from domain.crdt.walker import decode_state_vector, walk_update
from domain.errors import UpdateError

ALICE: Final = 2**53 - 5
BOB: Final = 6
CAROL: Final = 7
IN_TEXT: Final = b"\x01\x04text"  # parent: the root called `text`
IN_MAP: Final = b"\x01\x03map\x01k"  # parent: the root called `map`, under the key `k`
NO_DELETES: Final = b"\0"


def sized(data: bytes) -> bytes:
    return write_varint(len(data)) + data


def numbers(*values: int) -> bytes:
    return b"".join(map(write_varint, values))


def string(text: str | bytes, *, origin: bytes = b"", right: bytes = b"") -> bytes:
    """A struct of text, at the start of the root unless an origin or right origin is given."""
    info = 4 | (0x80 if origin else 0) | (0x40 if right else 0)
    data = text.encode() if isinstance(text, str) else text
    return bytes([info]) + (origin + right or IN_TEXT) + sized(data)


def section(*structs: bytes, client: int = BOB, clock: int = 0) -> bytes:
    return numbers(len(structs), client, clock) + b"".join(structs)


def update(*sections: bytes, deletes: bytes = NO_DELETES) -> bytes:
    return numbers(len(sections)) + b"".join(sections) + deletes


def delete_set(*clients: tuple[int, list[tuple[int, int]]]) -> bytes:
    return numbers(len(clients)) + b"".join(
        numbers(client, len(ranges)) + b"".join(numbers(*one) for one in ranges)
        for client, ranges in clients
    )


def any_value(data: bytes) -> bytes:
    return update(section(b"\x28" + IN_MAP + b"\x01" + data))


def embed(text: bytes) -> bytes:
    return update(section(b"\x05" + IN_TEXT + sized(text)))


def pycrdt_takes(data: bytes) -> bool:
    try:
        Doc[Any]().apply_update(data)
    except ValueError:
        return False
    return True


def refusal(data: bytes) -> str:
    with pytest.raises(UpdateError) as caught:
        walk_update(data)
    return caught.value.code


def fail_to_apply(monkeypatch: pytest.MonkeyPatch, mark: bytes) -> None:
    """Make pycrdt fail on updates with a mark in them: none is known that passes our checks and that it fails on."""
    take = Doc.apply_update

    def failing(doc: Doc[Any], data: bytes) -> None:
        if mark in data:
            raise RuntimeError("cannot apply")
        take(doc, data)

    monkeypatch.setattr(Doc, "apply_update", failing)


class Author:
    """A document with every kind of shared type, and the updates that it has made."""

    def __init__(self, client: int) -> None:
        self.doc = Doc[Any](client_id=client)
        self.updates: list[bytes] = []
        updates = (
            self.updates
        )  # without naming `self`, so that the document goes as soon as its author does
        self.text: Text = self.doc.get("text", type=Text)
        self.map: Map[Any] = self.doc.get("map", type=Map)
        self.array: Array[Any] = self.doc.get("array", type=Array)
        self.xml: XmlFragment = self.doc.get("xml", type=XmlFragment)
        self._subscription = self.doc.observe(lambda event: updates.append(event.update))

    def state(self) -> dict[int, int]:
        return decode_state_vector(self.doc.get_state())
