"""Random sessions of pycrdt and random damage to what they make, judged by the walker and then by pycrdt itself.

`CULM_FUZZ_SCALE=100` runs a hundred times as many.
"""

import os
import random
from collections.abc import Callable
from typing import Any, Final

import pytest
from pycrdt import Array, Map, Text, XmlElement, XmlText, merge_updates

from domain.crdt.walker import Walk, check_update, void_update, walk_update
from domain.errors import UpdateError
from domain.limits import CLIENT_ID_MAX, UPDATE_BYTES_MAX
from tests.domain.crdt.encoding import Author, any_value, embed, numbers, section, string, update

SCALE: Final = int(os.environ.get("CULM_FUZZ_SCALE", "1"))
SESSIONS: Final = 300 * SCALE
DAMAGED: Final = 45_000 * SCALE
WALK_S_MAX: Final = 60  # what takes longer is quadratic: it would take hours
WORDS: Final = ("a", "bc", "defgh", "x" * 9, "\n", "é", "e\u0301", "🎉y", "👩‍👩‍👧", "日本")
PLACES: Final = "abé"
MAGIC: Final = (
    b"\x00", b"\xff", b"\x7f", b"\x80", b"\xff\xff\xff\xff\x0f", b"\xff" * 9 + b"\x01", b"\xff\xff\xff\x7f",
    b"\x80\x80\x80\x80\x80\x80\x01",
    b"\x04", b"\x05", b"\x06", b"\x07", b"\x44", b"\x84", b"\xc4", b"\x75\x01", b"\x76\x01",
)  # fmt: skip


# --- Random sessions ---


def value(rng: random.Random, depth: int = 0, *, binary: bool = True) -> object:
    kind = rng.randrange(10 if depth < 3 else 8)
    if kind == 8:
        return [value(rng, depth + 1, binary=binary) for _ in range(rng.randrange(4))]
    if kind == 9:
        return {word: value(rng, depth + 1, binary=binary) for word in rng.sample(WORDS, 2)}
    scalars = (
        None,
        True,
        rng.randrange(-99, 99),
        rng.random(),
        2**60 + kind,
        -1e300,
        rng.choice(WORDS),
    )
    return scalars[kind] if kind < len(scalars) else (b"by\xff" if binary else "text")


def boundaries(text: Text) -> list[int]:
    """Where characters begin, in pycrdt's count: UTF-8 bytes, and one for an embed."""
    places = [0]
    for piece, _ in text.diff():
        sizes = [len(one.encode()) for one in piece] if isinstance(piece, str) else [1]
        for size in sizes:
            places.append(places[-1] + size)
    return places


def edit_text(rng: random.Random, author: Author) -> None:
    text, places = author.text, boundaries(author.text)
    start, end = sorted((rng.choice(places), rng.choice(places)))
    kind = rng.randrange(6)
    if kind < 3 or start == end:
        text.insert(start, rng.choice(WORDS))
    elif kind == 3:
        del text[start:end]
    elif kind == 4:
        text.format(
            start, end, {rng.choice("bi"): rng.choice([True, None, value(rng, binary=False)])}
        )
    else:
        text.insert_embed(start, {"embed": value(rng, binary=False)})


def edit_map(rng: random.Random, author: Author) -> None:
    key = rng.choice(PLACES)
    nested = (Map({"k": 1}), Text("in"), Array([1, Map({"z": 2})]))
    if key in author.map and rng.random() < 0.3:
        del author.map[key]
    else:
        author.map[key] = rng.choice(nested) if rng.random() < 0.3 else value(rng)


def edit_array(rng: random.Random, author: Author) -> None:
    array = author.array
    if len(array) and rng.random() < 0.3:
        del array[rng.randrange(len(array))]
    else:
        what: Any = Array([value(rng)]) if rng.random() < 0.3 else value(rng)
        array.insert(rng.randrange(len(array) + 1), what)


def edit_xml(rng: random.Random, author: Author) -> None:
    children = author.xml.children
    if not len(children) or rng.random() < 0.4:
        element = XmlElement("p", {"class": "a"}, [XmlText("q"), XmlElement("b")])
        what = rng.choice((element, XmlText("hé")))
        children.insert(rng.randrange(len(children) + 1), what)
        return
    place = rng.randrange(len(children))
    child = children[place]
    if rng.random() < 0.3:
        del children[place]
    elif isinstance(child, XmlElement):
        child.attributes[rng.choice(PLACES)] = rng.choice(WORDS)
        child.children.append(XmlText("z"))
    elif isinstance(child, XmlText):
        child.insert(0, rng.choice(WORDS), {"bold": True})


EDITS: Final[tuple[Callable[[random.Random, Author], None], ...]] = (
    edit_text, edit_text, edit_text, edit_map, edit_array, edit_xml,
)  # fmt: skip


def edit(rng: random.Random, author: Author) -> list[bytes]:
    """Make a random transaction, return what it emits."""
    author.updates.clear()
    with author.doc.transaction():
        for _ in range(rng.choice((1, 1, 2, 5))):
            rng.choice(EDITS)(rng, author)
    return list(author.updates)


def session(rng: random.Random) -> tuple[list[int], list[tuple[int, bytes]]]:
    """Let one to three authors edit, each behind the others by a random amount; return their ids and updates."""
    clients = [
        rng.choice((100 + n, rng.randrange(1, CLIENT_ID_MAX))) for n in range(rng.randint(1, 3))
    ]
    authors = [Author(client) for client in clients]
    seen = [0] * len(authors)
    log: list[tuple[int, bytes]] = []
    for _ in range(rng.randrange(4, 24)):
        index = rng.randrange(len(authors))
        while seen[index] < len(log) and rng.random() < 0.7:
            authors[index].doc.apply_update(log[seen[index]][1])
            seen[index] += 1
        log += ((clients[index], data) for data in edit(rng, authors[index]))
    return clients, log


def check(walk: Walk, author: int, clocks: dict[int, int]) -> None:
    check_update(
        walk,
        next_clock=lambda client: clocks.get(client, 0) if client == author else None,
        end_clock=lambda client: clocks.get(client, 0),
    )


def test_every_update_of_a_random_session_advances_the_state_by_its_sections(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(SESSIONS):
        clients, log = session(rng)
        reader = Author(1)
        clocks: dict[int, int] = {}
        for author, data in log:
            walk = walk_update(data)
            check(walk, author, clocks)
            reader.doc.apply_update(data)
            clocks |= {one.client: one.end for one in walk.sections}
            assert reader.state() == clocks
        snapshot = walk_update(reader.doc.get_update())
        assert {one.client: one.end for one in snapshot.sections} == clocks
        for client in clients:
            merged = walk_update(
                merge_updates(*(data for author, data in log if author == client), b"\0\0")
            )
            assert all(one.client == client and not one.clock for one in merged.sections)


def test_every_truncation_of_a_random_session_is_refused(seed: int) -> None:
    rng = random.Random(seed)
    for _, data in session(rng)[1]:
        for size in range(len(data)):
            assert outcome(data[:size]) is None


# --- Damage ---


def damaged(rng: random.Random, data: bytes, others: list[bytes]) -> bytes:
    result = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 5, 8))):
        place = rng.randrange(len(result) + 1)
        other = rng.choice(others)
        start = rng.randrange(len(other) + 1)
        inserted = rng.choice(
            (rng.choice(MAGIC), rng.randbytes(rng.randrange(6)), other[start : start + 40])
        )
        result[place : place + rng.choice((0, 1, 1, 1, 4))] = inserted
        if result and rng.random() < 0.5:
            result[rng.randrange(len(result))] ^= 1 << rng.randrange(8)
    return bytes(result)


def outcome(data: bytes) -> Walk | None:
    """What the walker says; anything but a Walk or an UpdateError fails the test."""
    try:
        return walk_update(data)
    except UpdateError:
        return None


def test_random_bytes_are_measured_or_refused(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(DAMAGED):
        outcome(rng.randbytes(rng.randrange(60)))
        outcome(b"\1\1\5\0" + rng.randbytes(rng.randrange(60)))


def waiting_for_each_other(clients: int, structs: int) -> bytes:
    """Sections of which each struct waits for one of the section before, and the first for the last."""

    def one(client: int, clock: int) -> bytes:
        if client == clock == 0:
            return string("x")
        named = (client - 1, clock) if client else (clients - 1, clock - 1)
        return string("x", origin=numbers(*named))

    sections = (
        section(*(one(client, clock) for clock in range(structs)), client=client)
        for client in range(clients)
    )
    return update(*sections)


NEARLY_ALL: Final = UPDATE_BYTES_MAX - 64


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(update(section(string("🎉" * (NEARLY_ALL // 4)))), id="emoji"),
        pytest.param(embed(b'"' + b"a\\n" * (NEARLY_ALL // 3 - 1) + b'"'), id="escapes"),
        pytest.param(embed(b"[" + b"1," * (NEARLY_ALL // 2 - 1) + b"1]"), id="numbers"),
        pytest.param(embed(b"[" * NEARLY_ALL), id="brackets"),
        pytest.param(
            any_value(b"\x75" + numbers(400_000) + b"\x76\1\0\x7e" * 400_000), id="objects"
        ),
        pytest.param(
            update(section(*[string("x", origin=numbers(2**50, 1))] * 200_000)), id="structs"
        ),
        pytest.param(waiting_for_each_other(64, 3_000), id="waits"),
    ],
)
@pytest.mark.timeout(WALK_S_MAX)
def test_hostile_update_is_walked_in_seconds(data: bytes) -> None:
    outcome(data)


def test_damaged_update_is_refused_or_pycrdt_decodes_it_too(seed: int) -> None:
    rng = random.Random(seed)
    accepted = 0
    for _ in range(DAMAGED // 60):
        author = Author(5)
        base = author.doc.get_update()
        updates = [data for _ in range(rng.randrange(2, 9)) for data in edit(rng, author)]
        last = updates[-1] if updates else base
        earlier = merge_updates(*updates[:-1], base, base)
        clocks = {one.client: one.end for one in walk_update(earlier).sections}
        for _ in range(60):
            data = damaged(rng, last, [last, earlier])
            walk = outcome(data)
            if walk is None:
                continue
            try:
                check(walk, 5, clocks)
            except UpdateError:
                continue
            accepted += 1
            for form in (data, void_update(data, walk)):
                assert_decodes(form, earlier)
    assert accepted > DAMAGED // 100


def assert_decodes(data: bytes, earlier: bytes) -> None:
    reader = Author(9)
    reader.doc.apply_update(earlier)
    try:
        reader.doc.apply_update(data)
    except RuntimeError as error:
        # Whether a parent is a shared type is known to the document alone.
        if "block parent" not in str(error):
            raise
