"""An operation has one form: what is decoded encodes to the same bytes, and nothing altered passes for signed."""

import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from domain import codec, limits
from domain.codec import Value
from domain.errors import OperationError
from domain.identifiers import DocumentId, LogId, OperationId
from domain.identity import DeviceKey
from domain.operations.kind import Kind, is_content
from domain.operations.operation import (
    AnyExtension,
    Extension,
    Header,
    Operation,
    decode_header,
    decode_operation,
    sign,
)
from tests.strategies import basic_extensions, bodies, extensions, key, keys, operations


@given(operations())
def test_operation_comes_back(operation: Operation) -> None:
    back = decode_operation(operation.header_bytes, operation.body)
    assert back == operation
    assert back.is_signed()
    assert back.operation_id == blake3(operation.header_bytes).digest()
    assert back.header.encode() == operation.header_bytes
    assert back.size == len(operation.header_bytes) + len(operation.body)


@given(keys, st.none() | extensions | basic_extensions, bodies)
def test_header_of_any_extension_comes_back(
    signer: DeviceKey, extension: AnyExtension | None, body: bytes
) -> None:
    header = sign(signer, seq_num=0, backlink=None, extension=extension, body=body)
    assert decode_header(header.encode()) == header


def is_taken(header: bytes, body: bytes) -> bool:
    """Whether a header passes all checks that need nothing but itself."""
    try:
        return decode_operation(header, body).is_signed()
    except OperationError:
        return False


@given(operations())
@settings(max_examples=10)
def test_no_flipped_bit_of_a_header_is_taken(operation: Operation) -> None:
    header = operation.header_bytes
    for at in range(8 * len(header)):
        altered = bytearray(header)
        altered[at // 8] ^= 1 << at % 8
        try:
            other = decode_header(bytes(altered))
        except OperationError:
            continue
        assert other.encode() == altered
        assert other.unsigned() != operation.header.unsigned() or (
            other.signature != operation.header.signature
        )


def test_no_altered_byte_of_a_header_is_taken() -> None:
    extension = Extension(log_id=LogId(bytes(32)), timestamp=7, kind=1, prune=True)
    header = sign(key(1), seq_num=0, backlink=None, extension=extension, body=b"body").encode()
    assert is_taken(header, b"body")
    for at in range(len(header)):
        for byte in {0, 1, header[at] ^ 1, header[at] ^ 0x80, 0xF4, 0xF5, 0xF6} - {header[at]}:
            assert not is_taken(header[:at] + bytes([byte]) + header[at + 1 :], b"body")


def values_of(header: Header) -> list[Value]:
    return list(codec.decode_array(header.encode(), bytes_max=limits.HEADER_BYTES_MAX))  # type: ignore[arg-type]


def example(body: bytes = b"body") -> Header:
    extension = Extension(log_id=LogId(bytes(32)), timestamp=7, kind=1)
    return sign(key(1), seq_num=0, backlink=None, extension=extension, body=body)


def code_of(values: list[Value], body: bytes = b"body") -> str:
    with pytest.raises(OperationError) as caught:
        decode_operation(codec.encode(values), body)
    return caught.value.code


@pytest.mark.parametrize(
    ("at", "value", "code"),
    [
        (0, 2, "wrong-version"),
        (0, True, "malformed"),
        (1, bytes(31), "malformed"),
        (2, bytes(63), "malformed"),
        (3, limits.BODY_BYTES_MAX + 1, "malformed"),
        (3, -1, "malformed"),
        (4, bytes(31), "malformed"),
        (5, limits.SEQ_NUM_MAX + 1, "malformed"),
        (5, 1, "malformed"),  # a second operation without a backlink
        (6, None, "malformed"),
        (6, [], "wrong-extension"),
    ],
)
def test_header_with_a_wrong_element_is_refused(at: int, value: Value, code: str) -> None:
    values = values_of(example())
    values[at] = value
    assert code_of(values) == code


def test_header_that_is_too_short_or_too_long_is_refused() -> None:
    values = values_of(example())
    for count in range(6):
        assert code_of(values[:count]) == "malformed"
    assert code_of(values[:6]) == "wrong-extension"
    assert code_of([*values, 1]) == "malformed"
    with pytest.raises(OperationError, match="too-large"):
        decode_header(bytes(limits.HEADER_BYTES_MAX + 1))


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (0, 2),
        (0, True),
        (1, 1),
        (1, False),
        (2, bytes(31)),
        (3, -1),
        (3, True),
        (4, 0),
        (5, 256),
        (5, True),
        (6, bytes(33)),
        (7, [bytes(31)]),
        (7, [bytes(32), bytes(32)]),
        (7, [b"\2" * 32, b"\1" * 32]),
        (7, [n.to_bytes(32, "big") for n in range(limits.PREVIOUS_COUNT_MAX + 1)]),
        (7, None),
        (8, bytes(31)),
    ],
)
def test_extension_with_a_wrong_field_is_refused(at: int, value: Value) -> None:
    extension = Extension(log_id=LogId(bytes(32)), timestamp=7, kind=1)
    fields = list(extension.value())  # type: ignore[arg-type]
    values = [*values_of(example())[:-1], fields]
    assert decode_operation(codec.encode(values), b"body").extension == extension
    fields[at] = value
    assert code_of(values) in ("malformed", "wrong-extension")


@given(basic_extensions)
def test_extension_of_basic_with_booleans_for_numbers_is_refused(extension: AnyExtension) -> None:
    _, _, *fields = extension.value()  # type: ignore[misc]
    for first in ((1, False), (True, 0), (True, False)):
        with pytest.raises(OperationError):
            decode_header(codec.encode([*values_of(example())[:-1], [*first, *fields]]))


def test_operation_without_our_extension_is_refused() -> None:
    header = sign(key(1), seq_num=0, backlink=None, extension=None, body=b"")
    with pytest.raises(OperationError, match="wrong-extension"):
        decode_operation(header.encode(), b"")
    with pytest.raises(OperationError, match="wrong-extension"):
        Operation.assemble(header, b"")


@pytest.mark.parametrize("body", [b"", b"bod", b"bodi", b"body!"])
def test_body_that_is_not_the_header_s_is_refused(body: bytes) -> None:
    header = example().encode()
    decode_operation(header, b"body")
    with pytest.raises(OperationError, match="wrong-body"):
        decode_operation(header, body)


def test_largest_header_is_within_its_bound() -> None:
    previous = tuple(OperationId(n.to_bytes(32, "big")) for n in range(limits.PREVIOUS_COUNT_MAX))
    extension = Extension(
        log_id=LogId(bytes(32)),
        timestamp=limits.TIMESTAMP_MAX,
        kind=255,
        prune=True,
        document=DocumentId(bytes(32)),
        previous=previous,
        secret=None,
    )
    header = sign(
        key(1),
        seq_num=limits.SEQ_NUM_MAX,
        backlink=OperationId(bytes(32)),
        extension=extension,
        body=b"body",
    )
    operation = Operation.assemble(header, b"body")
    assert decode_operation(operation.header_bytes, b"body") == operation


def test_header_beyond_its_bound_is_not_made() -> None:
    previous = tuple(OperationId(n.to_bytes(32, "big")) for n in range(200))
    extension = Extension(log_id=LogId(bytes(32)), timestamp=0, kind=1, previous=previous)
    header = sign(key(1), seq_num=0, backlink=None, extension=extension, body=b"")
    with pytest.raises(OperationError, match="too-large"):
        Operation.assemble(header, b"")


def test_largest_body_is_taken() -> None:
    body = bytes(limits.BODY_BYTES_MAX)
    assert decode_operation(example(body).encode(), body).body == body


@given(st.binary(max_size=200))
def test_other_bytes_are_no_header(data: bytes) -> None:
    with pytest.raises(OperationError):
        decode_header(data)


def test_kinds_below_64_are_control() -> None:
    assert {kind for kind in Kind if is_content(kind)} == {
        Kind.UPDATE,
        Kind.SNAPSHOT,
        Kind.DEVICE_METADATA,
    }
