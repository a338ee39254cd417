"""Sealed bytes open in their one place and nowhere else; records come back or are reported as damaged."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain import codec
from domain.errors import SealError, StorageCorruptError
from domain.identifiers import DocumentId, LogId, LogKey, Position
from domain.record import DocumentRecord
from domain.sealing import (
    NONCE_BYTES,
    OVERHEAD_BYTES,
    DocumentSecret,
    open_body,
    open_record,
    seal_body,
    seal_record,
)
from tests.strategies import document_ids, log_ids, positions, some_bytes, texts

secrets = some_bytes(32).map(DocumentSecret)
nonces = some_bytes(NONCE_BYTES)
SECRET = DocumentSecret(bytes(32))
DOCUMENT = DocumentId(bytes(32))
PLACE = Position(LogKey(DOCUMENT, LogId(bytes(32))), 7)  # type: ignore[arg-type]
NONCE = bytes(NONCE_BYTES)


@given(secrets, document_ids, positions, st.integers(64, 255), st.binary(max_size=99), nonces)
def test_body_opens_in_its_place(
    secret: DocumentSecret,
    document: DocumentId,
    position: Position,
    kind: int,
    plain: bytes,
    nonce: bytes,
) -> None:
    sealed = seal_body(secret, document, position, kind, plain, nonce=nonce)
    assert len(sealed) == len(plain) + OVERHEAD_BYTES
    assert open_body(secret, document, position, kind, sealed) == plain


def other_places() -> list[tuple[DocumentSecret, DocumentId, Position, int]]:
    log, other = PLACE.log, b"\1" * 32
    return [
        (DocumentSecret(other), DOCUMENT, PLACE, 64),
        (SECRET, DocumentId(other), PLACE, 64),
        (SECRET, DOCUMENT, Position(log, 8), 64),
        (SECRET, DOCUMENT, Position(LogKey(log.author, LogId(other)), 7), 64),
        (SECRET, DOCUMENT, Position(LogKey(DocumentId(other), log.log_id), 7), 64),  # type: ignore[arg-type]
        (SECRET, DOCUMENT, PLACE, 65),
    ]


@pytest.mark.parametrize("place", other_places())
def test_body_does_not_open_elsewhere(
    place: tuple[DocumentSecret, DocumentId, Position, int],
) -> None:
    sealed = seal_body(SECRET, DOCUMENT, PLACE, 64, b"plain", nonce=NONCE)
    with pytest.raises(SealError, match="not-authentic"):
        open_body(*place, sealed)


def test_altered_or_truncated_body_does_not_open() -> None:
    sealed = seal_body(SECRET, DOCUMENT, PLACE, 64, b"plain", nonce=NONCE)
    for at in range(len(sealed)):
        altered = bytearray(sealed)
        altered[at] ^= 1
        for data in (bytes(altered), sealed[:at]):
            with pytest.raises(SealError):
                open_body(SECRET, DOCUMENT, PLACE, 64, data)


def test_record_opens_under_its_key_label_and_owner_alone() -> None:
    sealed = seal_record(bytes(32), "label", b"owner", b"plain", nonce=NONCE)
    assert open_record(bytes(32), "label", b"owner", sealed) == b"plain"
    for key, label, owner in [
        (b"\1" * 32, "label", b"owner"),
        (bytes(32), "other", b"owner"),
        (bytes(32), "label", b"other"),
    ]:
        with pytest.raises(SealError):
            open_record(key, label, owner, sealed)


def test_secret_is_not_shown() -> None:
    secret = DocumentSecret(b"\7" * 32)
    assert repr(secret) == f"DocumentSecret({secret.secret_id.short})"
    with pytest.raises(SealError, match="wrong-key"):
        DocumentSecret(bytes(31))


@given(texts, log_ids, log_ids)
def test_document_record_comes_back(name: str, control_log: LogId, content_log: LogId) -> None:
    record = DocumentRecord(name=name, control_log=control_log, content_log=content_log)
    back = DocumentRecord.decode(record.encode())
    assert (back.name, back.control_log, back.content_log) == (name, control_log, content_log)


@given(st.binary(max_size=40))
def test_other_bytes_are_no_document_record(data: bytes) -> None:
    with pytest.raises(StorageCorruptError):
        DocumentRecord.decode(data)


@pytest.mark.parametrize(
    "fields",
    [
        (2, "name", bytes(32), bytes(32), []),
        (1, "name", bytes(31), bytes(32), []),
        (1, "name", bytes(32), bytes(32), [bytes(31)]),
        (1, "name", bytes(32), bytes(32)),
        (1, b"name", bytes(32), bytes(32), []),
    ],
)
def test_document_record_with_a_wrong_field_is_refused(fields: tuple[codec.Value, ...]) -> None:
    with pytest.raises(StorageCorruptError):
        DocumentRecord.decode(codec.encode(fields))
