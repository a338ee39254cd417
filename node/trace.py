"""Editing traces: sessions of real people, recorded keystroke by keystroke, to be replayed.

The format is that of the editing-traces collection (gzip JSON): a sequential trace is `{startContent, endContent,
txns: [{patches: [[position, deleted, inserted], ...]}]}`; a concurrent one has `kind` ("concurrent"), `numAgents` and,
for each transaction, `agent` and `parents` (indexes of the transactions that its positions are about). Patches apply
one after the other; positions count Unicode code points.

It reads and checks; it does not replay. What it keeps: a `Trace` that it gives has positions inside of the text (of a
sequential trace; those of a concurrent one show only when it is replayed), transactions that build on earlier ones
alone, and agents of whom each goes on from its own last transaction.
"""

import gzip
import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from domain import limits
from domain.errors import CulmError

FILE_BYTES_MAX: Final = 64 * limits.MIB  # the largest known is 1 MiB
JSON_BYTES_MAX: Final = 256 * limits.MIB  # what a small file may unpack to
TRANSACTIONS_MAX: Final = 4_000_000  # about 2 GB in memory
PATCHES_MAX: Final = 4_000_000
TEXT_CODE_POINTS_MAX: Final = 16 * limits.MIB  # of the text at any time
INSERTED_BYTES_MAX: Final = limits.MIB  # by one transaction; an operation holds 16
AGENTS_MAX: Final = 8  # one process for each
PARENTS_MAX: Final = 64


class TraceError(CulmError):
    """A file is no editing trace, or one that contradicts itself."""


class Patch(NamedTuple):
    """At `position` `deleted` code points go and `inserted` comes."""

    position: int
    deleted: int
    inserted: str


class TraceTransaction(NamedTuple):
    """What somebody did at once, to the version that all of `parents` and their pasts make up."""

    patches: tuple[Patch, ...]
    agent: int = 0
    parents: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """A recorded editing session.

    Args:
        start: The text before; empty in a concurrent trace.
        end: The text after.
        agents: How many people typed; None in a sequential trace.
        transactions: What they did, each after those that it builds on.
    """

    start: str
    end: str
    agents: int | None
    transactions: tuple[TraceTransaction, ...]


class CodePoints:
    """The sizes of the code points of a text that changes, to turn positions into UTF-8 offsets quickly.

    Args:
        text: The text at first.
    """

    def __init__(self, text: str = "") -> None:
        self._sizes = bytearray(_sizes(text))
        self._wide = len(self._sizes) - self._sizes.count(1)

    def __len__(self) -> int:
        return len(self._sizes)

    def offset(self, position: int) -> int:
        """Give the UTF-8 offset of a position in code points."""
        if not self._wide:
            return position
        count = self._sizes.count
        return (
            position + count(2, 0, position) + 2 * count(3, 0, position) + 3 * count(4, 0, position)
        )

    def replace(self, patch: Patch) -> tuple[int, int]:
        """Make a patch, and give from which UTF-8 offset to which one it deletes."""
        position, deleted, inserted = patch
        start, stop = self.offset(position), self.offset(position + deleted)
        gone = self._sizes[position : position + deleted]
        came = _sizes(inserted)
        self._wide += came.count(1) * -1 + len(came) - (len(gone) - gone.count(1))
        self._sizes[position : position + deleted] = came
        return start, stop


def _sizes(text: str) -> bytes:
    if text.isascii():
        return b"\1" * len(text)
    return bytes(len(character.encode()) for character in text)


def read_trace(path: Path) -> Trace:
    """Read an editing trace from a file.

    Raises:
        TraceError: It cannot be read, is too large, or is no trace; the text says what is wrong.
    """
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise TraceError(f"{path} is larger than {FILE_BYTES_MAX} bytes")
        with gzip.open(path) as file:
            data = file.read(JSON_BYTES_MAX + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise TraceError(f"{path} is not a complete gzip file: {error}") from None
    except OSError as error:
        raise TraceError(f"{path} cannot be read: {error.strerror or error}") from None
    if len(data) > JSON_BYTES_MAX:
        raise TraceError(f"{path} unpacks to more than {JSON_BYTES_MAX} bytes")
    return parse_trace(data)


def parse_trace(data: bytes) -> Trace:
    """Read an editing trace from its JSON.

    Raises:
        TraceError: It is none; the text says what is wrong.
    """
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise TraceError(f"the trace is no JSON: {error}") from None
    fields = _dictionary(value, "the trace")
    kind = fields.get("kind", "sequential")
    if kind not in ("sequential", "concurrent"):
        raise TraceError(f"traces of kind {str(kind)[:40]!r} are unknown")
    end = _text(fields.get("endContent"), "endContent")
    start = _text(fields.get("startContent", ""), "startContent")
    rows = _list(fields.get("txns"), "txns", TRANSACTIONS_MAX)
    if not rows:
        raise TraceError("the trace has no transactions")
    if kind == "sequential":
        transactions = tuple(_sequential(rows))
        _check_positions(start, transactions)
        return Trace(start=start, end=end, agents=None, transactions=transactions)
    if start:
        raise TraceError("a concurrent trace has to begin with an empty text")
    agents = _int(fields.get("numAgents"), "numAgents", 1, AGENTS_MAX)
    transactions = tuple(_concurrent(rows, agents))
    return Trace(start=start, end=end, agents=agents, transactions=transactions)


def _sequential(rows: Sequence[object]) -> Iterator[TraceTransaction]:
    budget = _Budget(PATCHES_MAX)
    for index, row in enumerate(rows):
        yield TraceTransaction(
            _patches(_dictionary(row, f"transaction {index}").get("patches"), index, budget)
        )


def _concurrent(rows: Sequence[object], agents: int) -> Iterator[TraceTransaction]:
    """Read transactions, checking that each is about all that its agent did before."""
    budget = _Budget(PATCHES_MAX)
    pasts: list[tuple[int, ...]] = []
    authors: list[int] = []
    counts = [0] * agents
    for index, row in enumerate(rows):
        fields = _dictionary(row, f"transaction {index}")
        agent = _int(fields.get("agent"), f"the agent of transaction {index}", 0, agents - 1)
        parents = tuple(
            _int(parent, f"a parent of transaction {index}", 0, index - 1)
            for parent in _list(
                fields.get("parents"), f"parents of transaction {index}", PARENTS_MAX
            )
        )
        past = [0] * agents
        for parent in parents:
            past = [max(pair) for pair in zip(past, pasts[parent], strict=True)]
        if past[agent] != counts[agent]:
            raise TraceError(f"transaction {index} leaves out what its own agent did before")
        counts[agent] += 1
        past[agent] += 1
        pasts.append(tuple(past))
        authors.append(agent)
        patches = _patches(fields.get("patches"), index, budget)
        yield TraceTransaction(patches, agent, parents)


@dataclass(slots=True)
class _Budget:
    """How many patches are left."""

    patches: int


def _patches(value: object, index: int, budget: _Budget) -> tuple[Patch, ...]:
    rows = _list(value, f"patches of transaction {index}", budget.patches)
    budget.patches -= len(rows)
    patches = tuple([_patch(row, index) for row in rows])
    if sum([len(patch.inserted) for patch in patches]) > INSERTED_BYTES_MAX // 4:
        raise TraceError(
            f"transaction {index} inserts more than {INSERTED_BYTES_MAX // 4} code points"
        )
    return patches


def _patch(row: object, index: int) -> Patch:
    match row:
        case [int(position), int(deleted), str(inserted)] if (
            type(position) is int and type(deleted) is int and position >= 0 and deleted >= 0
        ):
            if not inserted.isascii():
                _text(inserted, f"an insertion of transaction {index}")
            return Patch(position, deleted, inserted)
    raise TraceError(
        f"a patch of transaction {index} is not [position, deleted, inserted]: {str(row)[:80]}"
    )


def _check_positions(start: str, transactions: Sequence[TraceTransaction]) -> None:
    length = len(start)
    for index, transaction in enumerate(transactions):
        for position, deleted, inserted in transaction.patches:
            if position + deleted > length:
                raise TraceError(f"transaction {index} reaches beyond the text of {length}")
            length += len(inserted) - deleted
        if length > TEXT_CODE_POINTS_MAX:
            raise TraceError(
                f"transaction {index} makes the text longer than {TEXT_CODE_POINTS_MAX}"
            )


def _dictionary(value: object, what: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise TraceError(f"{what} is not an object")
    return value


def _list(value: object, what: str, maximum: int) -> list[object]:
    if not isinstance(value, list):
        raise TraceError(f"{what} is missing or not an array")
    if len(value) > maximum:
        raise TraceError(f"{what}: more than {maximum} entries")
    return value


def _int(value: object, what: str, minimum: int, maximum: int) -> int:
    if type(value) is not int or not minimum <= value <= maximum:
        raise TraceError(f"{what} is not a number from {minimum} to {maximum}: {str(value)[:40]}")
    return value


def _text(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise TraceError(f"{what} is missing or not a text")
    if len(value) > TEXT_CODE_POINTS_MAX:
        raise TraceError(f"{what} is longer than {TEXT_CODE_POINTS_MAX}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise TraceError(f"{what} contains half a character (a lone surrogate)") from None
    return value
