"""Random edits of every type that pycrdt has, each with a mark by which it can be found again.

A mark is never deleted and never torn apart, by whoever edits: what is deleted is filler, and places within a mark are
left alone. So every mark of an edit that was kept is in every replica. What would not be the same in every process is
avoided: yrs orders several attributes of one format, and several keys of one map, by chance.
"""

import re
from collections.abc import Callable
from random import Random
from typing import Any, Final

from pycrdt import Array, Map, Text, XmlElement, XmlFragment, XmlText

from node import Document

MARK: Final = re.compile(r"<[a-z]+[0-9]+>")
FILLER: Final = "abcxyz  \n\u00e9\u00df\u4e16\u0301\U0001f600"
FORMATS: Final = ("bold", "italic", "color")


class Editor:
    """Edits as one author.

    Args:
        random: Where the choices come from.
        name: The author, in lower-case letters; it begins each mark.
        is_flat: Whether it makes nothing that others could edit within: what is made within something that counts no
            longer is not seen either.
    """

    def __init__(self, random: Random, name: str, *, is_flat: bool = False) -> None:
        self._random = random
        self._name = name
        self._count = 0
        self._kinds: tuple[tuple[Callable[[Document], str | None], int], ...] = (
            (self._insert, 10),
            (self._delete, 5),
            (self._format, 3),
            (self._embed, 1),
            (self._set, 3),
            (self._set_hot, 2),
            (self._insert_item, 3),
            (self._delete_item, 1),
        )
        if not is_flat:
            self._kinds += (
                (self._nest, 2),
                (self._edit_nested, 4),
                (self._add_element, 2),
                (self._edit_element, 2),
                (self._delete_element, 1),
            )

    def edit(self, document: Document) -> list[str]:
        """Make one edit, or a few in one transaction; give the marks that came in with it."""
        kinds, weights = zip(*self._kinds, strict=True)
        count = self._random.choice((1, 1, 1, 1, 3))
        if count == 1:
            made = [self._random.choices(kinds, weights)[0](document)]
        else:
            with document.ydoc.transaction():
                made = [kind(document) for kind in self._random.choices(kinds, weights, k=count)]
        return [mark for mark in made if mark is not None]

    def _mark(self) -> str:
        self._count += 1
        return f"<{self._name}{self._count}>"

    # -- Text --

    def _insert(self, document: Document) -> str:
        mark, text = self._mark(), document.text("text")
        content = str(text)
        index = _outside_marks(content, self._random.randint(0, len(content)))
        filler = "".join(self._random.choices(FILLER, k=self._random.randint(0, 12)))
        text.insert(_byte_index(content, index), filler + mark)
        return mark

    def _delete(self, document: Document) -> None:
        text = document.text("text")
        content = str(text)
        start = _outside_marks(content, self._random.randint(0, len(content)))
        end = start
        while end < len(content) and content[end] != "<" and end - start < 6:
            end += 1
        if end > start:
            del text[_byte_index(content, start) : _byte_index(content, end)]

    def _format(self, document: Document) -> None:
        text = document.text("text")
        content = str(text)
        start, end = sorted(self._random.randint(0, len(content)) for _ in range(2))
        if end > start:
            value = self._random.choice((True, None, self._name))
            format_name = self._random.choice(FORMATS)
            text.format(
                _byte_index(content, start), _byte_index(content, end), {format_name: value}
            )

    def _embed(self, document: Document) -> str:
        mark = self._mark()
        document.text("rich").insert_embed(0, {"image": mark})
        return mark

    # -- Map and array --

    def _set(self, document: Document) -> str:
        mark = self._mark()
        value = self._random.choice((1, -1.5, None, True, "\u00fc", [1, ["x"]], {"k": b"bytes"}))
        document.map("map")[mark] = value
        return mark

    def _set_hot(self, document: Document) -> None:
        hot = document.map("hot")
        key = self._random.choice(("one", "other"))
        if key in hot and self._random.random() < 0.3:
            del hot[key]
        else:
            hot[key] = self._random.randrange(1000)

    def _insert_item(self, document: Document) -> str:
        mark, array = self._mark(), document.array("array")
        array.insert(self._random.randint(0, len(array)), mark)
        array.insert(self._random.randint(0, len(array)), self._random.randrange(1000))
        return mark

    def _delete_item(self, document: Document) -> None:
        array = document.array("array")
        index = self._random.randint(0, len(array))
        if index < len(array) and isinstance(array[index], int | float):
            del array[index]

    # -- Types within types: each under a key of its own, so that nobody replaces it --

    def _nest(self, document: Document) -> str:
        mark = self._mark()
        nested: Map[Any] | Array[Any] | Text = self._random.choice(
            (lambda: Map({"first": mark}), lambda: Array([mark, 1]), lambda: Text(mark))
        )()
        document.map("boxes")[f"box {mark[1:-1]}"] = nested
        return mark

    def _edit_nested(self, document: Document) -> str | None:
        boxes = document.map("boxes")
        keys = sorted(boxes.keys())
        if not keys:
            return None
        mark, box = self._mark(), boxes[self._random.choice(keys)]
        if isinstance(box, Map):
            box[mark] = Array(["x"]) if self._random.random() < 0.3 else 1
        elif isinstance(box, Array):
            box.append(mark)
        else:
            box.insert(0, mark)
        return mark

    # -- XML --

    def _add_element(self, document: Document) -> str | None:
        children = document.xml("xml").children
        if self._random.random() < 0.3:
            children.append(XmlElement("tmp", {}))
            return None
        mark = self._mark()
        element = children.append(XmlElement("p", {"id": mark}))
        element.children.append(XmlText("\u00e4"))
        return mark

    def _edit_element(self, document: Document) -> str | None:
        children = document.xml("xml").children
        if not len(children):
            return None
        element = children[self._random.randrange(len(children))]
        if not isinstance(element, XmlElement) or element.tag != "p":
            return None
        mark = self._mark()
        text = element.children[0]
        assert isinstance(text, XmlText)
        text.insert(0, mark)
        return mark

    def _delete_element(self, document: Document) -> None:
        children = document.xml("xml").children
        if len(children):
            index = self._random.randrange(len(children))
            element = children[index]
            if isinstance(element, XmlElement) and element.tag == "tmp":
                del children[index]


def content(document: Document) -> dict[str, Any]:
    """Everything that a document shows, and its state vector, in a form that can be compared."""
    xml: XmlFragment = document.xml("xml")
    return {
        "text": document.text("text").diff(),
        "rich": document.text("rich").diff(),
        "map": document.map("map").to_py(),
        "hot": document.map("hot").to_py(),
        "boxes": document.map("boxes").to_py(),
        "array": document.array("array").to_py(),
        "xml": str(xml),
        "state": state_vector(document.ydoc.get_state()),
    }


def marks(document: Document) -> list[str]:
    """All marks that are in a document, each as often as it is there."""
    shown = content(document)
    shown["text"] = str(document.text("text"))
    del shown["state"]
    return MARK.findall(repr(shown))


def state_vector(data: bytes) -> dict[int, int]:
    """Read the clock of each client from an encoded state vector."""
    numbers: list[int] = []
    value = shift = 0
    for byte in data:
        value |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            numbers.append(value)
            value = shift = 0
    return dict(zip(numbers[1::2], numbers[2::2], strict=True))


def _outside_marks(text: str, index: int) -> int:
    """The index, or the beginning of the mark in whose middle it lies."""
    start = text.rfind("<", 0, index)
    return start if start >= 0 and text.find(">", start) >= index else index


def _byte_index(text: str, index: int) -> int:
    return len(text[:index].encode())
