import contextlib
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.connectivity.close_codes import CloseCode
from domain.connectivity.framing import (
    VARINT_MAX,
    FrameDecoder,
    StreamHeader,
    encode_frame,
    encode_stream_header,
    encode_varint,
    read_varint,
    take_stream_header,
)
from domain.errors import PeerError
from domain.limits import CHANNEL_EPOCH_MAX, CHANNEL_NAME_BYTES, MESSAGE_BYTES_MAX

MESSAGES = st.lists(st.binary(min_size=1, max_size=300), max_size=20)


def cut(data: bytes, cuts: list[int]) -> Iterator[bytes]:
    """Cut data at the given places (modulo its length)."""
    places = sorted({place % (len(data) + 1) for place in cuts})
    for start, end in zip([0, *places], [*places, len(data)], strict=True):
        yield data[start:end]


def drain(decoder: FrameDecoder) -> list[bytes]:
    messages = []
    while (message := decoder.next()) is not None:
        messages.append(message)
    return messages


@given(messages=MESSAGES, cuts=st.lists(st.integers(0, 10_000), max_size=30))
def test_any_chunks_of_a_stream_give_the_same_messages(
    messages: list[bytes], cuts: list[int]
) -> None:
    stream = b"".join(map(encode_frame, messages))
    decoder = FrameDecoder()
    received: list[bytes] = []
    for chunk in cut(stream, cuts):
        decoder.feed(chunk)
        received += drain(decoder)
    assert received == messages
    assert decoder.taken == len(stream)
    assert decoder.buffered == 0


@given(messages=MESSAGES)
def test_messages_wait_until_they_are_taken(messages: list[bytes]) -> None:
    decoder = FrameDecoder()
    for message in messages:
        decoder.feed(encode_frame(message))
    assert decoder.taken == 0
    assert decoder.buffered == sum(len(encode_frame(message)) for message in messages)
    assert drain(decoder) == messages


@given(garbage=st.binary(max_size=2_000), cuts=st.lists(st.integers(0, 10_000), max_size=10))
def test_garbage_gives_messages_or_a_typed_error(garbage: bytes, cuts: list[int]) -> None:
    decoder = FrameDecoder()
    with contextlib.suppress(PeerError):
        for chunk in cut(garbage, cuts):
            decoder.feed(chunk)
            for message in drain(decoder):
                assert 1 <= len(message) <= MESSAGE_BYTES_MAX


@pytest.mark.parametrize("size", [0, MESSAGE_BYTES_MAX + 1, VARINT_MAX])
def test_a_size_that_is_not_allowed_is_refused_before_the_message(size: int) -> None:
    with pytest.raises(PeerError) as caught:
        FrameDecoder().feed(encode_varint(size))
    assert caught.value.code == CloseCode.PROTOCOL_ERROR


def test_the_size_allowed_may_be_raised_later() -> None:
    decoder = FrameDecoder(message_bytes_max=4)
    decoder.feed(encode_frame(b"four"))
    decoder.feed(encode_frame(b"longer"))
    decoder.message_bytes_max = 6
    assert drain(decoder) == [b"four", b"longer"]


@given(messages=MESSAGES, more=MESSAGES)
def test_streams_that_end_between_messages_go_on_in_the_next(
    messages: list[bytes], more: list[bytes]
) -> None:
    decoder = FrameDecoder()
    for part in (messages, more):
        decoder.feed(b"".join(map(encode_frame, part)))
        decoder.finish()
    assert drain(decoder) == messages + more


@given(message=st.binary(min_size=1, max_size=300), before=MESSAGES, data=st.data())
def test_no_message_lies_across_the_end_of_a_stream(
    message: bytes, before: list[bytes], data: st.DataObject
) -> None:
    frame = encode_frame(message)
    place = data.draw(st.integers(1, len(frame) - 1))
    decoder = FrameDecoder()

    def read() -> list[bytes]:
        decoder.feed(b"".join(map(encode_frame, before)) + frame[:place])
        decoder.finish()
        decoder.feed(frame[place:])
        return drain(decoder)

    with pytest.raises(PeerError):
        read()


@given(st.integers(0, VARINT_MAX))
def test_varints_come_back(value: int) -> None:
    encoded = encode_varint(value)
    number = read_varint(encoded + b"more")
    assert number == (value, len(encoded))
    assert all(read_varint(encoded[:size]) is None for size in range(len(encoded)))


@pytest.mark.parametrize(
    ("encoded", "value"),
    [
        ("c2197c5eff14e88c", 151_288_809_941_952_652),
        ("9d7f3e7d", 494_878_333),
        ("7bbd", 15_293),
        ("25", 37),
    ],
)
def test_varints_are_those_of_rfc_9000(encoded: str, value: int) -> None:
    assert encode_varint(value).hex() == encoded
    assert read_varint(bytes.fromhex(encoded)) == (value, len(encoded) // 2)


@pytest.mark.parametrize("encoded", ["4025", "803fffff"[:8], "80003fff", "c00000003fffffff"])
def test_only_the_shortest_form_of_a_varint_is_read(encoded: str) -> None:
    number = bytes.fromhex(encoded)
    if encoded == "803fffff":  # needs four bytes: this is its shortest form
        assert read_varint(number) is not None
        return
    with pytest.raises(PeerError):
        read_varint(number)


@pytest.mark.parametrize("value", [-1, VARINT_MAX + 1])
def test_a_varint_has_62_bits(value: int) -> None:
    with pytest.raises(ValueError, match="variable-length"):
        encode_varint(value)


@pytest.mark.parametrize("size", [0, MESSAGE_BYTES_MAX + 1])
def test_a_message_of_a_wrong_size_is_not_framed(size: int) -> None:
    with pytest.raises(ValueError, match="message"):
        encode_frame(bytes(size))


@given(
    name=st.binary(min_size=CHANNEL_NAME_BYTES, max_size=CHANNEL_NAME_BYTES),
    epoch=st.integers(0, CHANNEL_EPOCH_MAX),
    rest=st.binary(max_size=50),
)
def test_stream_headers_come_back(name: bytes, epoch: int, rest: bytes) -> None:
    header = StreamHeader(name, epoch)
    encoded = encode_stream_header(header)
    buffer = bytearray(encoded + rest)
    assert take_stream_header(buffer) == header
    assert buffer == rest
    assert all(
        take_stream_header(bytearray(encoded[:size])) is None for size in range(len(encoded))
    )


def test_an_epoch_is_bounded() -> None:
    with pytest.raises(PeerError):
        take_stream_header(
            bytearray(bytes(CHANNEL_NAME_BYTES) + encode_varint(CHANNEL_EPOCH_MAX + 1))
        )
