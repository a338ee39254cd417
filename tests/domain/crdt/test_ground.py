import random
import threading
from typing import Any

import pytest
from pycrdt import Array, Doc

from domain import codec
from domain.crdt.ground import Ground
from domain.crdt.walker import walk_update
from domain.errors import UpdateError
from domain.limits import UPDATE_TYPES_DEPTH_MAX
from tests.domain.crdt.encoding import (
    ALICE,
    BOB,
    CAROL,
    IN_TEXT,
    delete_set,
    numbers,
    section,
    string,
    update,
)
from tests.domain.crdt.test_walker_fuzz import session

SESSIONS = 50
ARRAY = b"\x07\x01\x01a\x00"
COLLECTED = b"\x00\x03"
DELETED = b"\x01" + IN_TEXT + b"\x03"


def inside(client: int, clock: int, kind: bytes = b"\x08\x01\x7e") -> bytes:
    """A struct whose parent is an id."""
    return kind[:1] + b"\x00" + numbers(client, clock) + kind[1:]


def array_inside(client: int, clock: int) -> bytes:
    return inside(client, clock, b"\x07\x00")


def nested(count: int, client: int = BOB) -> list[bytes]:
    """Arrays, each in the one before."""
    return [ARRAY, *(array_inside(client, clock) for clock in range(count - 1))]


def ground_of(*updates: bytes) -> Ground:
    ground = Ground()
    for data in updates:
        walk = walk_update(data)
        ground.check(walk)
        ground.take(walk)
    return ground


def refusal(ground: Ground, data: bytes) -> str:
    with pytest.raises(UpdateError) as caught:
        ground.check(walk_update(data))
    return caught.value.code


def test_everything_that_pycrdt_makes_is_taken_in_the_order_of_each_author(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(SESSIONS):
        _, log = session(chance)
        ground_of(*(data for _, data in log))


def test_what_was_kept_is_what_was_known(seed: int) -> None:
    clients, log = session(random.Random(seed))
    ground = ground_of(*(data for _, data in log))
    again = Ground()
    again.restore(codec.decode(codec.encode(ground.to_value())))
    for client in clients:
        assert [again.at(client, clock) for clock in range(300)] == [
            ground.at(client, clock) for clock in range(300)
        ]


def test_update_says_the_same_whether_it_comes_in_one_piece_or_in_many(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(SESSIONS):
        pieces = nested(chance.randint(1, UPDATE_TYPES_DEPTH_MAX))
        pieces += [inside(BOB, chance.randrange(len(pieces))) for _ in range(9)]
        cut = chance.randint(1, len(pieces) - 1)
        whole = ground_of(update(section(*pieces)))
        parts = ground_of(update(section(*pieces[:cut])), update(section(*pieces[cut:], clock=cut)))
        assert [whole.at(BOB, clock) for clock in range(len(pieces))] == [
            parts.at(BOB, clock) for clock in range(len(pieces))
        ]


@pytest.mark.parametrize(
    "parent", [string("text"), b"\x08\x01\x01a\x01\x7e", b"\x05" + IN_TEXT + b"\x011"]
)
def test_nothing_can_be_inside_of_what_is_no_type(parent: bytes) -> None:
    assert refusal(Ground(), update(section(parent, inside(BOB, 0)))) == "wrong-parent"
    gone = update(deletes=delete_set((BOB, [(0, 1)])))
    ground = ground_of(update(section(parent)), gone)
    assert refusal(ground, update(section(inside(BOB, 0), client=CAROL))) == "wrong-parent"


@pytest.mark.parametrize("parent", [ARRAY, COLLECTED, DELETED])
def test_types_and_what_was_deleted_before_it_was_sent_may_be_parents(parent: bytes) -> None:
    data = update(section(parent), section(inside(BOB, 0), client=CAROL))
    ground_of(data)
    Doc[Any]().apply_update(data)


def test_types_are_nested_up_to_the_limit() -> None:
    deepest = nested(UPDATE_TYPES_DEPTH_MAX)
    ground = ground_of(update(section(*deepest)))
    last = UPDATE_TYPES_DEPTH_MAX - 1
    ground.check(walk_update(update(section(inside(BOB, last), client=CAROL))))
    too_deep = update(section(array_inside(BOB, last), client=CAROL))
    assert refusal(ground, too_deep) == "too-deep"
    assert refusal(Ground(), update(section(*nested(UPDATE_TYPES_DEPTH_MAX + 1)))) == "too-deep"


def test_what_stands_beside_something_is_as_deep() -> None:
    last = UPDATE_TYPES_DEPTH_MAX - 1
    ground = ground_of(update(section(*nested(UPDATE_TYPES_DEPTH_MAX), inside(BOB, last))))
    for side in (b"\x87", b"\x47"):
        beside = side + numbers(BOB, UPDATE_TYPES_DEPTH_MAX) + b"\x00"
        assert refusal(ground, update(section(beside, client=CAROL))) == "too-deep"


def test_nesting_across_sections_is_found_in_any_order_of_these() -> None:
    alice = [ARRAY, *(array_inside(BOB, clock) for clock in range(UPDATE_TYPES_DEPTH_MAX))]
    bob = [array_inside(ALICE, clock) for clock in range(UPDATE_TYPES_DEPTH_MAX)]
    for half in (UPDATE_TYPES_DEPTH_MAX // 2, UPDATE_TYPES_DEPTH_MAX // 2 + 1):
        sections = [section(*alice[:half], client=ALICE), section(*bob[:half], client=BOB)]
        for data in (update(*sections), update(*reversed(sections))):
            if 2 * half <= UPDATE_TYPES_DEPTH_MAX:
                ground_of(data)
            else:
                assert refusal(Ground(), data) == "too-deep"


def test_deepest_document_is_read_and_deleted_in_a_small_stack() -> None:
    doc = Doc[Any](allow_multithreading=True)
    done: list[str] = []

    def use() -> None:
        doc.apply_update(update(section(*nested(UPDATE_TYPES_DEPTH_MAX))))
        array: Array[Any] = doc.get("a", type=Array)
        array.to_py()
        done.append(str(array))
        doc.apply_update(update(deletes=delete_set((BOB, [(0, 1)]))))
        done.append(str(array))

    size = threading.stack_size(128 * 1024)
    try:
        thread = threading.Thread(target=use)
        thread.start()
    finally:
        threading.stack_size(size)
    thread.join()
    assert done == ["[" * (UPDATE_TYPES_DEPTH_MAX + 1) + "]" * (UPDATE_TYPES_DEPTH_MAX + 1), "[]"]


@pytest.mark.timeout(60)
def test_large_update_is_checked_in_time_that_grows_as_it_does() -> None:
    """Looking through all steps for each struct would take minutes."""
    pair = (inside(BOB, 0), array_inside(BOB, 0))
    ground = ground_of(update(section(ARRAY, *(pair * 40_000))))
    assert ground.at(BOB, 1) != ground.at(BOB, 2) != ground.at(BOB, 3)
