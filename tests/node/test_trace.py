import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.trace import CodePoints, Patch, TraceError, parse_trace, read_trace

TEXT = st.text(st.sampled_from("ab\u00e9\u0301\u20ac\U0001f600\n"), max_size=12)


@st.composite
def sessions(draw: st.DrawFn) -> tuple[str, str, list[list[Patch]]]:
    """A text before, a text after, and the transactions between."""
    start = text = draw(TEXT)
    transactions = []
    for _ in range(draw(st.integers(1, 8))):
        patches = []
        for _ in range(draw(st.integers(1, 3))):
            position = draw(st.integers(0, len(text)))
            patch = Patch(position, draw(st.integers(0, len(text) - position)), draw(TEXT))
            text = text[:position] + patch.inserted + text[position + patch.deleted :]
            patches.append(patch)
        transactions.append(patches)
    return start, text, transactions


def encode(start: str, end: str, transactions: list[list[Patch]]) -> bytes:
    rows = [{"patches": [list(patch) for patch in patches]} for patches in transactions]
    return json.dumps({"startContent": start, "endContent": end, "txns": rows}).encode()


def concurrent(rows: object, agents: object = 2, **more: object) -> bytes:
    value = {"kind": "concurrent", "numAgents": agents, "endContent": "", "txns": rows}
    return json.dumps(value | more).encode()


def row(agent: object = 0, parents: object = (), patches: object = ([0, 0, "a"],)) -> object:
    return {"agent": agent, "parents": parents, "patches": patches}


@given(session=sessions())
def test_trace_is_read_as_it_was_written(session: tuple[str, str, list[list[Patch]]]) -> None:
    start, end, transactions = session
    trace = parse_trace(encode(start, end, transactions))
    assert (trace.start, trace.end, trace.agents) == (start, end, None)
    assert [list(each.patches) for each in trace.transactions] == transactions


@given(session=sessions())
def test_offsets_are_those_of_the_encoded_text(session: tuple[str, str, list[list[Patch]]]) -> None:
    text, end, transactions = session
    points, encoded = CodePoints(text), text.encode()
    for patch in (patch for patches in transactions for patch in patches):
        start, stop = points.replace(patch)
        encoded = encoded[:start] + patch.inserted.encode() + encoded[stop:]
        assert len(points) == len(encoded.decode())
    assert encoded.decode() == end


@given(session=sessions(), beyond=st.integers(1, 1_000))
def test_position_beyond_the_text_is_refused(
    session: tuple[str, str, list[list[Patch]]], beyond: int
) -> None:
    start, end, transactions = session
    with pytest.raises(TraceError, match="beyond the text"):
        parse_trace(encode(start, end, [*transactions, [Patch(len(end), beyond, "")]]))


@given(data=st.binary(max_size=200))
def test_arbitrary_bytes_are_no_trace(data: bytes) -> None:
    with pytest.raises(TraceError):
        parse_trace(data)


@given(
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(["kind", "txns", "patches", "endContent", "numAgents", "agent"]),
                inner,
                max_size=4,
            )
        ),
        max_leaves=20,
    )
)
def test_json_that_is_no_trace_is_refused(value: object) -> None:
    with pytest.raises(TraceError):
        parse_trace(json.dumps(value).encode())


@pytest.mark.parametrize(
    "patch",
    [
        [0, 0],
        [0, 0, "a", 1],
        [-1, 0, "a"],
        [0, -1, "a"],
        [True, 0, "a"],
        [0, 0, 1],
        [0.0, 0, "a"],
        [0, 0, "\ud800"],
        "abc",
        None,
        [0, 0, "a" * 2**18 + "a"],
    ],
)
def test_malformed_patch_is_refused(patch: object) -> None:
    rows = [{"patches": [patch]}]
    data = json.dumps({"endContent": "", "txns": rows}).encode()
    with pytest.raises(TraceError):
        parse_trace(data)


@pytest.mark.parametrize(
    "data",
    [
        concurrent([]),
        concurrent([row()], agents=0),
        concurrent([row()], agents=9),
        concurrent([row(agent=2)]),
        concurrent([row(parents=[0])]),
        concurrent([row(parents=[-1])]),
        concurrent([row(parents="0")]),
        concurrent([row(), row()]),
        concurrent([row(), row(agent=1), row(parents=[1])]),
        concurrent([row()], startContent="a"),
        concurrent([row()], kind="other"),
    ],
)
def test_concurrent_trace_that_contradicts_itself_is_refused(data: bytes) -> None:
    with pytest.raises(TraceError):
        parse_trace(data)


def test_concurrent_trace_keeps_agents_and_parents() -> None:
    trace = parse_trace(concurrent([row(), row(agent=1), row(parents=[0, 1])]))
    assert trace.agents == 2
    assert [each.agent for each in trace.transactions] == [0, 1, 0]
    assert trace.transactions[2].parents == (0, 1)


def test_file_that_is_not_gzip_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "trace.json.gz"
    path.write_bytes(b"{}")
    with pytest.raises(TraceError, match="gzip"):
        read_trace(path)


def test_truncated_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "trace.json.gz"
    path.write_bytes(gzip.compress(encode("", "a", [[Patch(0, 0, "a")]]))[:-9])
    with pytest.raises(TraceError, match="gzip"):
        read_trace(path)


def test_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="cannot be read"):
        read_trace(tmp_path / "nothing.json.gz")


def test_file_that_unpacks_to_too_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.trace.JSON_BYTES_MAX", 1_000)
    path = tmp_path / "trace.json.gz"
    path.write_bytes(gzip.compress(bytes(1_001)))
    with pytest.raises(TraceError, match="unpacks to more"):
        read_trace(path)
