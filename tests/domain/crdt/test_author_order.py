"""pycrdt itself: replicas that apply each author's updates in the author's order end alike. Run in full on each bump.

Sessions of one to three authors, who see each other late, with text, formats, embeds, maps, arrays, XML and types
within types. Each author's updates arrive in order, those of different authors in any; some come twice, merged, or as a
snapshot. In any other order pycrdt loses content without a word: that never gets past the check of clocks.
`CULM_TEST_SESSIONS=20000` runs as many.
"""

import os
import random
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest
from pycrdt import Array, Doc, Map, Text, XmlElement, XmlFragment, XmlText, merge_updates

from domain.crdt.walker import check_update, decode_state_vector, walk_update
from domain.errors import UpdateError
from domain.limits import CLOCK_MAX
from tests.domain.crdt.test_walker_fuzz import session

SESSIONS: Final = int(os.environ.get("CULM_TEST_SESSIONS", "100"))
Log = list[tuple[int, bytes]]
Delivery = Callable[[random.Random, Log], Iterator[bytes]]


def show(doc: "Doc[Any]") -> dict[str, Any]:
    """Everything that a document shows, in a form that does not depend on the order of keys."""
    text: Text = doc.get("text", type=Text)
    mapping: Map[Any] = doc.get("map", type=Map)
    array: Array[Any] = doc.get("array", type=Array)
    xml: XmlFragment = doc.get("xml", type=XmlFragment)
    return {
        "text": text.diff(),
        "map": mapping.to_py(),
        "array": array.to_py(),
        "xml": [show_xml(child) for child in xml.children],
        "state": decode_state_vector(doc.get_state()),
    }


def show_xml(node: XmlElement | XmlText | XmlFragment) -> object:
    if isinstance(node, XmlText):
        return node.diff()
    assert isinstance(node, XmlElement)
    attributes = dict(node.attributes)  # type: ignore[call-overload]
    return node.tag, attributes, [show_xml(child) for child in node.children]


def replica(updates: Iterator[bytes]) -> "Doc[Any]":
    doc = Doc[Any](client_id=1)
    for update in updates:
        doc.apply_update(update)
    return doc


def by_author(log: Log) -> dict[int, list[bytes]]:
    found: dict[int, list[bytes]] = {}
    for client, update in log:
        found.setdefault(client, []).append(update)
    return found


# -- In the order of each author --


def as_made(_: random.Random, log: Log) -> Iterator[bytes]:
    return (update for _, update in log)


def interleaved(chance: random.Random, log: Log) -> Iterator[bytes]:
    queues = [list(updates) for updates in by_author(log).values()]
    while queues := [queue for queue in queues if queue]:
        yield chance.choice(queues).pop(0)


def with_repetitions(chance: random.Random, log: Log) -> Iterator[bytes]:
    seen: list[bytes] = []
    for update in interleaved(chance, log):
        seen.append(update)
        yield update
        if chance.random() < 0.3:
            yield chance.choice(seen)


def author_after_author(chance: random.Random, log: Log) -> Iterator[bytes]:
    logs = list(by_author(log).values())
    chance.shuffle(logs)
    return (update for updates in logs for update in updates)


def merged_by_author(chance: random.Random, log: Log) -> Iterator[bytes]:
    logs = list(by_author(log).values())
    chance.shuffle(logs)
    return (merge_updates(*updates) for updates in logs if updates)


def snapshot_and_rest(chance: random.Random, log: Log) -> Iterator[bytes]:
    cut = chance.randint(0, len(log))
    yield replica(as_made(chance, log[:cut])).get_update()
    yield from interleaved(chance, log[cut:])


@pytest.mark.timeout(120 + SESSIONS)
@pytest.mark.parametrize(
    "deliver",
    [interleaved, with_repetitions, author_after_author, merged_by_author, snapshot_and_rest],
    ids=lambda one: one.__name__,
)
def test_replicas_that_keep_the_order_of_each_author_end_alike(
    deliver: Delivery, seed: int
) -> None:
    for number in range(SESSIONS):
        chance = random.Random(f"{seed} {number}")
        _, log = session(chance)
        expected = show(replica(as_made(chance, log)))
        found = show(replica(deliver(chance, log)))
        assert found == expected, f"session {number} of seed {seed}"


# -- In any order --


def shuffled(chance: random.Random, log: Log) -> list[bytes]:
    updates = [update for _, update in log]
    chance.shuffle(updates)
    return updates


def is_in_order(doc: "Doc[Any]", update: bytes) -> bool:
    """Whether the clocks of an update go on where the document stands, by the check that is before every replica."""
    state = decode_state_vector(doc.get_state())
    try:
        check_update(
            walk_update(update),
            next_clock=lambda client: state.get(client, 0),
            end_clock=lambda _: CLOCK_MAX,  # what others have written may still be missing
        )
    except UpdateError as error:
        if error.code != "clock-gap":
            raise
        return False
    return True


def test_any_order_ends_alike_behind_the_check_of_clocks(seed: int) -> None:
    refused = 0
    for number in range(SESSIONS):
        chance = random.Random(f"{seed} {number}")
        _, log = session(chance)
        waiting, doc = shuffled(chance, log), Doc[Any](client_id=1)
        while waiting:
            ready = next(update for update in waiting if is_in_order(doc, update))
            refused += waiting.index(ready)
            waiting.remove(ready)
            doc.apply_update(ready)
        assert show(doc) == show(replica(as_made(chance, log))), f"session {number} of seed {seed}"
    assert refused > SESSIONS


def test_without_that_check_pycrdt_loses_content(seed: int) -> None:
    """If this ever fails, pycrdt has been mended, and order costs no content any more."""
    different = 0
    for number in range(max(SESSIONS, 50)):
        chance = random.Random(f"{seed} {number}")
        _, log = session(chance)
        expected = show(replica(as_made(chance, log)))
        different += show(replica(iter(shuffled(chance, log)))) != expected
    assert different > 5
