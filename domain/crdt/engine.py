"""The one place where pycrdt may fail.

Rust panics reach Python as pyo3's PanicException, which is a BaseException: `except Exception` does not catch it, and
uncaught it ends the task that happened to run. Here panics and errors alike become `EngineError`.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from pycrdt import Doc, TransactionEvent

from domain.crdt.walker import decode_state_vector
from domain.errors import EngineError

REMOTE_ORIGIN = "culm"
"""The origin of transactions that apply what others did."""


@contextmanager
def failures_translated() -> Iterator[None]:
    """Turn whatever pycrdt raises into `EngineError`, but what observers did: that comes when all is done."""
    try:
        yield
    except (EngineError, ExceptionGroup):
        raise
    except Exception as error:
        raise EngineError(f"{type(error).__name__}: {error}") from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise EngineError(f"the CRDT engine panicked: {error}") from error


def make_doc(client: int, state: bytes | None = None) -> "Doc[Any]":
    """Make a document, with a state.

    Raises:
        EngineError: The state does not load.
    """
    with failures_translated():
        doc: Doc[Any] = Doc(client_id=client)
        if state is not None:
            doc.apply_update(state)
        return doc


def save(doc: "Doc[Any]", since: bytes | None = None) -> bytes:
    """Give the state of a document as one update, or what it has since a state vector.

    Raises:
        EngineError: It cannot be encoded.
    """
    with failures_translated():
        return doc.get_update(since)


def apply(doc: "Doc[Any]", update: bytes) -> None:
    """Apply one update in a transaction of its own.

    Raises:
        EngineError: It could not be applied; the document may be damaged.
        ExceptionGroup: It was applied, and observers of the document failed.
    """
    with failures_translated(), doc.transaction(origin=REMOTE_ORIGIN):
        doc.apply_update(update)


def apply_each(doc: "Doc[Any]", updates: Iterable[bytes]) -> Iterator["ExceptionGroup[Exception]"]:
    """Apply updates, each in a transaction of its own; give what observers of the document raised.

    Raises:
        EngineError: One could not be applied; the document may be damaged.
    """
    for update in updates:
        try:
            apply(doc, update)
        except ExceptionGroup as error:
            yield error


def state_of(doc: "Doc[Any]") -> dict[int, int]:
    """Give the clock that each client has reached in a document."""
    with failures_translated():
        return decode_state_vector(doc.get_state())


def is_in_transaction(doc: "Doc[Any]") -> bool:
    """Whether somebody has a transaction of the document open (across an await, or in an observer)."""
    return doc._txn is not None  # noqa: SLF001 - pycrdt has no public way to ask; kept in this one place


def coalesce(doc: "Doc[Any]", updates: Iterable[bytes]) -> bytes | None:
    """Apply updates in one transaction and give the one update that this amounts to; None where that is nothing.

    Six times smaller than merging the updates, since runs of structs become one.

    Raises:
        EngineError: They could not be applied; the document may be damaged.
    """
    emitted: list[bytes] = []

    def keep(event: TransactionEvent) -> None:
        emitted.append(event.update)

    with failures_translated():
        subscription = doc.observe(keep)
        try:
            with doc.transaction():
                for update in updates:
                    doc.apply_update(update)
        finally:
            doc.unobserve(subscription)
    return emitted[0] if emitted and emitted[0] != b"\0\0" else None
