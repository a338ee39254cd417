"""`docs/protocol.md` says what the code does, as far as tables and codes go."""

import ast
import re
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Final

from adapters.sql import schema
from domain import limits
from domain.connectivity.close_codes import CloseCode
from domain.connectivity.hello import PROTOCOL_VERSIONS
from domain.identity import Label
from domain.operations.control import BODY_VERSION, DOCUMENT_FORMAT, Role
from domain.operations.kind import CONTENT_KINDS_FROM, Kind
from domain.operations.operation import VARIANT_CULM
from domain.sync.message import BY_TAG
from domain.sync.session import ALLOWED, State
from tests.tidy.documents import blocks
from tests.tidy.repository import ROOT, name_of, python_files

PROTOCOL: Final = ROOT / "docs" / "protocol.md"
CODED: Final = ("domain/operations/", "domain/ledger/", "domain/crdt/", "domain/sealing.py")
CODED_ERRORS: Final = {"OperationError", "UpdateError", "SealError"}
ABOUT_OWN_EDITS: Final = "domain/crdt/replica.py"
OURS_ALONE: Final = {"wrong-key", "state-vector"}
"""What no operation of a peer can cause: a secret of a wrong length, a state vector."""
STARTS: Final = {"[*]"}


@cache
def text() -> str:
    return PROTOCOL.read_text(encoding="utf-8")


def table(*header: str) -> list[list[str]]:
    """The rows of the table of the document with that header, without the marks of code."""
    lines = iter(text().splitlines())
    for line in lines:
        if cells(line) == list(header):
            next(lines)
            rows: list[list[str]] = []
            for row in lines:
                if not row.startswith("|"):
                    return rows
                rows.append(cells(row))
            return rows
    raise AssertionError(f"docs/protocol.md has no table with the header {header}")


def cells(line: str) -> list[str]:
    return [cell.strip().replace("`", "") for cell in line.strip().strip("|").split("|")]


def numbered(rows: Iterable[list[str]]) -> dict[int, str]:
    return {int(row[0]): row[1] for row in rows}


def number(cell: str) -> float:
    digits = cell.replace(",", "")
    return float(digits) if "." in digits else int(digits)


def protocol_limits() -> dict[str, float]:
    """The limits that stand in `domain/limits.py` below a heading with the word "(protocol"."""
    source = Path(str(limits.__file__)).read_text(encoding="utf-8")
    names: list[str] = []
    is_protocol = False
    for line in source.splitlines():
        if heading := re.match(r"# --- (.*) ---", line):
            is_protocol = "(protocol" in heading[1]
        elif is_protocol and (name := re.match(r"([A-Z][A-Z_0-9]*): Final", line)):
            names.append(name[1])
    return {name: vars(limits)[name] for name in names}


def codes(path: Path) -> set[str]:
    """The codes of the errors about operations that a file raises."""
    return {
        constant.value
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        if isinstance(node.func, ast.Name) and node.func.id in CODED_ERRORS and node.args
        for constant in ast.walk(node.args[0])
        if isinstance(constant, ast.Constant) and isinstance(constant.value, str)
    }


def raised_codes() -> set[str]:
    files = [
        path
        for path in python_files("domain")
        if name_of(path).startswith(CODED) and name_of(path) != ABOUT_OWN_EDITS
    ]
    conditional = {"clock-gap", "clock-reused"}  # named in a variable before they are raised
    return set().union(*map(codes, files)) | conditional


def test_limits_of_the_protocol_are_those_of_the_code() -> None:
    documented = {row[0]: number(row[1]) for row in table("name", "value")}
    assert documented == protocol_limits()


def test_bounds_in_the_grammar_are_limits() -> None:
    """Numbers stand in the CDDL as well; a limit that changes has to change there."""
    grammar = "\n".join(block.text for block in blocks(PROTOCOL) if block.language == "cddl")
    for bound, value in {
        "clients: [1*{} uint]": limits.CLAIMED_CLIENTS_MAX,
        "uses: 1..{}": limits.INVITE_USES_MAX,
        "addresses: [*{} tstr]": limits.INVITE_ADDRESSES_MAX,
        "[*{} [log, count: uint, tip: bytes32]]": limits.HAVE_PAGE_LOGS_MAX,
        "previous: [*{} bytes32]": limits.PREVIOUS_COUNT_MAX,
        "1 to {} bytes": limits.BODY_PART_BYTES_MAX,
        "[*{} [channel: bytes32, digest: bytes32]]": limits.DIGESTS_PER_MESSAGE_MAX,
    }.items():
        assert bound.format(value) in grammar


def test_close_codes_are_those_of_the_code() -> None:
    assert numbered(table("number", "code", "meaning")) == {code: code.name for code in CloseCode}


def test_kinds_are_those_of_the_code() -> None:
    rows = table("number", "kind", "body", "in this version")
    assert numbered(rows) == {kind: kind.name for kind in Kind}
    assert f"From {CONTENT_KINDS_FROM} on it is **content**" in text()


def test_roles_are_those_of_the_code() -> None:
    rows = table("role", "number", "may")
    assert {row[0]: int(row[1]) for row in rows} == {role.name: role for role in Role}


def test_labels_are_those_of_the_code() -> None:
    rows = table("label", "bytes", "signs")
    expected = {label.name: label.value.decode().replace("\0", r"\0") for label in Label}
    assert {row[0]: row[1] for row in rows} == expected


def test_message_tags_are_those_of_the_code() -> None:
    expected = {tag: message.__name__ for tag, message in BY_TAG.items()}
    assert numbered(table("tag", "message", "fields")) == expected


def test_session_states_are_those_of_the_code() -> None:
    assert [row[0] for row in table("state", "means")] == [state.name for state in State]


def test_diagram_of_the_session_shows_its_states() -> None:
    (diagram,) = (block.text for block in blocks(PROTOCOL) if block.language == "mermaid")
    ends = {end for step in re.findall(r"(\S+) --> (\w+)", diagram) for end in step}
    assert ends - STARTS == {state.name for state in State}


def test_message_is_allowed_in_the_states_that_the_document_says() -> None:
    documented = {row[0]: set(row[1].split()) for row in table("received", "states")}
    allowed = {
        message.__name__: {state.name for state in states} for message, states in ALLOWED.items()
    }
    assert documented == allowed


def test_every_code_that_refuses_something_is_documented() -> None:
    known = set(re.findall(r"`([a-z-]+)`", text()))
    assert raised_codes() - OURS_ALONE - known == set()


def test_tables_of_the_database_are_those_of_the_code() -> None:
    documented = {row[0]: row[1].split() for row in table("table", "columns", "holds")}
    tables: Mapping[str, object] = schema.metadata.tables
    assert documented == {
        name: [column.name for column in schema.metadata.tables[name].columns] for name in tables
    }
    assert f"names the revision, `{schema.REVISION}`" in text()
    assert f"`{schema.APPLICATION_ID:#x}`" in text()


def test_versions_are_those_of_the_code() -> None:
    assert f"protocol version {max(PROTOCOL_VERSIONS)} and" in text()
    assert f"{VARIANT_CULM:#06x}," in text()
    assert f"this version writes format {DOCUMENT_FORMAT}" in text()
    assert f"invite  = [{BODY_VERSION}, key" in text()


def test_missing_row_of_a_table_is_noticed() -> None:
    rows = table("state", "means")
    assert len(rows) == len(State)
    assert rows[0][0] == "QUIET"
