"""The demonstration: finding places in a text that moves, and the whole of it with real processes."""

import asyncio
import gzip
import json
import os
import random
import select
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycrdt import Doc, Text, TransactionEvent

from domain.crdt.walker import decode_state_vector
from domain.errors import UpdateError
from node.demo.command import demo
from node.demo.line import LINE_BYTES_MAX, DemoError, LineReader, encode_line
from node.demo.passage import make_script
from node.demo.process import start_worker
from node.demo.ruler import Ruler, ascii_update, utf16_units
from node.demo.script import ROOT, Deletion, Evidence, Insertion, Move, Place, Script, relate
from node.demo.stage import correlate, percentile_ms, prepare
from node.demo.typist import Voice, _Reader, to_splices
from node.trace import Patch, Trace, TraceError, TraceTransaction

CHARACTERS = "ab\u00e9\u0301\u20ac\U0001f600\U0001f468\u200d"
END_S_MAX = 20


class Replica:
    """An author of a script, with a plain document and queues instead of a node."""

    def __init__(self, script: Script, agent: int, clients: list[int]) -> None:
        self.doc: Doc[Any] = Doc(client_id=clients[agent])
        self.text = self.doc.get(ROOT, type=Text)
        self.emitted: list[bytes] = []
        self.inboxes: list[list[bytes]] = [[] for _ in clients]
        self.todo = list(script.moves[agent])
        voices = [Voice(client, script.typed(each)) for each, client in enumerate(clients)]
        is_ascii = all(voice.is_ascii for voice in voices)
        self.reader = _Reader(Ruler(self.doc, ROOT, is_ascii=is_ascii), voices, script)
        self.is_receiving = False
        self.subscription = self.doc.observe(self.keep)

    def keep(self, event: TransactionEvent) -> None:
        if not self.is_receiving:
            self.emitted.append(event.update)

    def receive(self, update: bytes) -> None:
        self.is_receiving = True
        self.doc.apply_update(update)
        self.is_receiving = False

    def may_move(self) -> bool:
        clocks = decode_state_vector(self.doc.get_state())
        return bool(self.todo) and self.reader.has_seen(self.todo[0], clocks)

    def move(self) -> list[bytes]:
        for part in self.todo.pop(0).parts:
            if isinstance(part, Insertion):
                self.text.insert(self.reader.offset(part.after), part.text)
                continue
            for place in part.places:
                span = self.reader.span(place)
                if span is not None:
                    del self.text[span[0] : span[1]]
        emitted, self.emitted = self.emitted, []
        return emitted


def play(script: Script, chance: random.Random) -> list[str]:
    """Let all authors type, delivering in whatever order keeps that of each author; give their texts."""
    clients = chance.sample(range(1, 2**53), len(script.moves))
    replicas = [Replica(script, agent, clients) for agent in range(len(clients))]
    while True:
        steps: list[tuple[Replica, int]] = [(each, -1) for each in replicas if each.may_move()]
        steps += [
            (each, sender)
            for each in replicas
            for sender, inbox in enumerate(each.inboxes)
            if inbox
        ]
        if not steps:
            break
        replica, sender = chance.choice(steps)
        if sender >= 0:
            replica.receive(replica.inboxes[sender].pop(0))
            continue
        updates = replica.move()
        for other in replicas:
            if other is not replica:
                other.inboxes[replicas.index(replica)] += updates
    assert not any(replica.todo for replica in replicas)
    return [str(replica.text) for replica in replicas]


@st.composite
def concurrent_traces(draw: st.DrawFn) -> Trace:
    """A trace whose positions are inside of their versions, without anybody knowing the text."""
    agents = draw(st.integers(1, 3))
    alphabet = draw(st.sampled_from(["ab", CHARACTERS]))
    transactions: list[TraceTransaction] = []
    pasts: list[set[int]] = []
    last: dict[int, int] = {}
    for index in range(draw(st.integers(1, 14))):
        agent = draw(st.integers(0, agents - 1))
        parents = {last[agent]} if agent in last else set()
        if draw(st.booleans()) and transactions:
            parents.add(draw(st.integers(0, index - 1)))
        past = parents.union(*(pasts[parent] for parent in parents))
        patches = [patch for each in past for patch in transactions[each].patches]
        length = sum(len(patch.inserted) - patch.deleted for patch in patches)  # or more
        position = draw(st.integers(0, max(0, length)))
        deleted = draw(st.integers(0, max(0, min(3, length - position))))
        inserted = draw(st.text(st.sampled_from(alphabet), max_size=4))
        patch = Patch(position, deleted, inserted)
        transactions.append(TraceTransaction((patch,), agent, tuple(sorted(parents))))
        pasts.append(past)
        last[agent] = index
    return Trace(start="", end="", agents=agents, transactions=tuple(transactions))


@given(trace=concurrent_traces(), order=st.integers(0, 2**32))
def test_concurrent_trace_ends_equal_with_its_characters(trace: Trace, order: int) -> None:
    script = relate(trace)
    texts = play(script, random.Random(order))
    assert len(set(texts)) == 1
    assert Counter(texts[0]) == script.characters()


@pytest.mark.parametrize("agents", [2, 8])
def test_built_in_text_ends_equal_with_its_characters(agents: int, seed: int) -> None:
    script = make_script(agents)
    texts = play(script, random.Random(seed))
    assert len(set(texts)) == 1
    assert Counter(texts[0]) == script.characters()


def test_one_author_s_concurrent_trace_gives_the_text_itself() -> None:
    transactions = (
        TraceTransaction((Patch(0, 0, "h\u00e9llo"),), 0, ()),
        TraceTransaction((Patch(1, 1, "e"), Patch(5, 0, "\U0001f600")), 0, (0,)),
    )
    script = relate(Trace(start="", end="", agents=1, transactions=transactions))
    assert play(script, random.Random(0)) == ["hello\U0001f600"]


def test_position_beyond_its_version_is_refused() -> None:
    transactions = (
        TraceTransaction((Patch(0, 0, "abc"),), 0, ()),
        TraceTransaction((Patch(1, 0, "x"),), 1, ()),
    )
    with pytest.raises(TraceError, match="beyond the text"):
        relate(Trace(start="", end="", agents=2, transactions=transactions))


@given(
    pieces=st.lists(
        st.tuples(
            st.integers(0, 2),
            st.integers(0, 99),
            st.text(st.sampled_from(CHARACTERS), min_size=1, max_size=4),
        ),
        max_size=12,
    )
)
def test_ascii_copy_of_an_update_has_the_same_clocks(pieces: list[tuple[int, int, str]]) -> None:
    docs = [Doc[Any](client_id=client) for client in (7, 2**52 + 1, 300)]
    for author, position, text in pieces:
        root = docs[author].get(ROOT, type=Text)
        before = str(root)
        root.insert(len(before[: position % (len(before) + 1)].encode()), text)
        if position % 5 == 0 and before:
            del root[: len(str(root)[0].encode())]
        for other in docs:
            if other is not docs[author]:
                other.apply_update(docs[author].get_update(other.get_state()))
    copy: Doc[Any] = Doc()
    copy.apply_update(ascii_update(docs[0].get_update()))
    assert decode_state_vector(copy.get_state()) == decode_state_vector(docs[0].get_state())
    units = utf16_units(str(docs[0].get(ROOT, type=Text)))
    assert str(copy.get(ROOT, type=Text)) == "x" * units


def test_update_of_something_other_than_text_has_no_ascii_copy() -> None:
    doc: Doc[Any] = Doc()
    doc.get("list", type=Text).insert_embed(0, {"a": 1})
    with pytest.raises(UpdateError):
        ascii_update(doc.get_update())


def test_deletion_has_arrived_when_its_characters_are_gone() -> None:
    evidence = Evidence([Move((Insertion(None, "ab"),)), Move((Deletion((Place(0, 0),)),))])
    assert not evidence.has_arrived(1, 1, lambda _: False)
    assert evidence.has_arrived(1, 2, lambda _: False)
    assert not evidence.has_arrived(2, 2, lambda _: False)
    assert evidence.has_arrived(2, 2, lambda place: place == Place(0, 0))
    assert evidence.has_arrived(1, 0, lambda _: False)  # known from before


def test_splices_of_a_trace_make_its_text() -> None:
    start = "\u20ac" * 20_000
    patches = (Patch(1, 2, "\U0001f600"), Patch(0, 0, "a"))
    trace = Trace(start=start, end="", agents=None, transactions=(TraceTransaction(patches),))
    splices = to_splices(trace)
    encoded = b""
    for part in (part for parts in splices for part in parts):
        encoded = encoded[: part.start] + part.inserted.encode() + encoded[part.stop :]
    assert encoded.decode() == "a\u20ac\U0001f600" + "\u20ac" * 19_997
    assert max(len(part.inserted.encode()) for parts in splices for part in parts) <= 2**16


# -- Talking to workers --


@given(
    messages=st.lists(st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=9))),
    cuts=st.lists(st.integers(0, 500)),
)
def test_messages_arrive_however_they_are_cut(
    messages: list[dict[str, object]], cuts: list[int]
) -> None:
    data = b"".join(map(encode_line, messages))
    reader, received = LineReader(), []
    bounds = [0, *sorted(cuts), len(data)]
    for start, stop in pairwise(bounds):
        received += reader.feed(data[start:stop])
    received += reader.feed(b"")
    assert received == messages


@pytest.mark.parametrize("line", [b"[]\n", b"{\n", b"1\n", b"\xff\n"])
def test_line_that_is_no_object_is_refused(line: bytes) -> None:
    with pytest.raises(DemoError):
        LineReader().feed(line)


def test_line_without_end_is_refused() -> None:
    with pytest.raises(DemoError, match="a line of more than"):
        LineReader().feed(b"x" * LINE_BYTES_MAX)


async def test_worker_answers_what_it_cannot_do(tmp_path: Path) -> None:
    async with start_worker(tmp_path / "node") as worker:
        with pytest.raises(DemoError, match="the node is not open"):
            await worker.ask("create", name="x")
        with pytest.raises(DemoError, match="KeyError"):
            await worker.ask("dance")
        assert (await worker.ask("open"))["addresses"]
        assert (await worker.ask("create", name="x"))["client"]


async def test_worker_that_is_killed_answers_nobody(tmp_path: Path) -> None:
    async with start_worker(tmp_path / "node") as worker:
        await worker.ask("open")
        asked = worker.ask("create", name="x")
        await worker.kill()
        with pytest.raises(DemoError):
            await asked
        with pytest.raises(DemoError):
            await worker.ask("look")


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="nothing to wait on")
def test_worker_ends_with_its_parent(tmp_path: Path) -> None:
    parent = (
        "import asyncio, sys\nfrom pathlib import Path\nfrom node.demo.process import start_worker\n"
        "async def main():\n"
        "    async with start_worker(Path(sys.argv[1])) as worker:\n"
        "        await worker.ask('open')\n"
        "        print(worker.transport.get_pid(), flush=True)\n"
        "        await asyncio.Event().wait()\n"
        "asyncio.run(main())\n"
    )
    command = [sys.executable, "-c", parent, str(tmp_path / "node")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        worker = os.pidfd_open(int(process.stdout.readline()))
        process.send_signal(signal.SIGKILL)
    try:
        ended, _, _ = select.select([worker], [], [], END_S_MAX)
        assert ended
    finally:
        os.close(worker)


# -- Figures --


def test_latency_runs_until_the_first_sight_of_an_edit() -> None:
    writer = {"samples": [[1, 10.0], [3, 10.5]], "arrivals": []}
    reader = {"samples": [], "arrivals": [[77, [[2, 10.25], [9, 11.5]]]]}
    assert correlate([writer, reader], [77, 88]) == [0.25, 1.0]


def test_percentile_of_nothing_is_none() -> None:
    assert percentile_ms([], 50) is None
    assert percentile_ms([0.001, 0.002, 0.003], 50) == 2.0
    assert percentile_ms([0.001, 0.002, 0.003], 99) == 3.0


# -- The whole --


def run_demo(*arguments: str) -> tuple[int, dict[str, Any]]:
    """Run the command, and give its exit code and its last line."""
    command = [sys.executable, "-m", "node.demo", "--json", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout.splitlines()[-1])


def write_trace(path: Path, value: Mapping[str, object]) -> str:
    path.write_bytes(gzip.compress(json.dumps(value).encode()))
    return str(path)


def test_demo_converges_and_survives_the_restart() -> None:
    code, report = run_demo()
    assert code == 0
    assert report["converged"]
    assert report["characters_ok"]
    assert report["restart_ok"]
    assert report["matches_end_content"] is None
    assert report["edits"] == make_script(2).edits
    assert 0 < report["operations"] < report["edits"]
    assert 0 < report["body_bytes"] < report["update_bytes"]
    assert report["wire_bytes"] > 0
    assert 0 < report["latency_ms_p50"] <= report["latency_ms_p99"]


def test_demo_replays_a_sequential_trace(tmp_path: Path) -> None:
    rows = [{"patches": [[3, 0, character]]} for character in "\u00e9\U0001f600x" * 100]
    rows.append({"patches": [[0, 3, "A"], [1, 1, ""]]})
    end = "A" + ("x\U0001f600\u00e9" * 100)[1:]
    trace = {"startContent": "abc", "endContent": end, "txns": rows}
    code, report = run_demo("--trace", write_trace(tmp_path / "trace.json.gz", trace))
    assert code == 0
    assert report["matches_end_content"] is True
    assert report["edits"] == len(rows) + 1


def test_demo_fails_where_the_end_is_another(tmp_path: Path) -> None:
    trace = {"endContent": "b", "txns": [{"patches": [[0, 0, "a"]]}]}
    path = write_trace(tmp_path / "trace.json.gz", trace)
    code, report = run_demo("--trace", path, "--data", str(tmp_path / "data"))
    assert code == 1
    assert report["converged"]
    assert report["restart_ok"]
    assert not report["matches_end_content"]
    assert not report["characters_ok"]


def test_demo_leaves_a_directory_alone_that_has_something(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("kept")
    with pytest.raises(DemoError, match="not empty"):
        demo(data=tmp_path)
    with pytest.raises(DemoError, match="cannot be used"):
        demo(data=tmp_path / "kept")
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


def test_demo_wants_as_many_authors_as_the_trace_has(tmp_path: Path) -> None:
    row = {"agent": 0, "parents": [], "patches": [[0, 0, "a"]]}
    trace = {"kind": "concurrent", "numAgents": 3, "endContent": "a", "txns": [row]}
    path = Path(write_trace(tmp_path / "trace.json.gz", trace))
    assert prepare(tmp_path, None, path).authors == 3
    with pytest.raises(DemoError, match="3 authors"):
        prepare(tmp_path, 2, path)


def test_worker_events_do_not_outlive_the_loop(tmp_path: Path) -> None:
    async def open_once() -> str:
        async with start_worker(tmp_path / "node") as worker:
            return str((await worker.ask("open"))["peer"])

    assert asyncio.run(open_once()) == asyncio.run(open_once())
