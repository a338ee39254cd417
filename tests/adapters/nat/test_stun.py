"""The STUN client believes the server that it asked, once, and nobody else."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aioice.stun import Class, Message, Method
from hypothesis import given
from hypothesis import strategies as st

from adapters.nat.stun import ANSWER_BYTES_MAX, REQUESTS_MAX, StunClient, StunError, decode
from adapters.simulation.environment import SimulatedEntropy
from adapters.system.environment import SystemClock
from domain.connectivity.address import Address

SERVER, OTHER, MAPPED = (
    Address("198.51.100.10", 3_478),
    Address("198.51.100.11", 3_479),
    Address("203.0.113.1", 4_433),
)


class Wire:
    """A client whose requests are kept, and to which anything can be said."""

    def __init__(self) -> None:
        self.sent: list[tuple[bytes, Address]] = []
        self.client = StunClient(
            clock=SystemClock(),
            entropy=SimulatedEntropy(0, "stun"),
            send=lambda data, to: self.sent.append((data, to)),
        )

    def answer(self, mapped: Address = MAPPED, **changed: object) -> bytes:
        request = self.sent[-1][0]
        message = Message(Method.BINDING, Class.RESPONSE, request[8:20])
        message.attributes["XOR-MAPPED-ADDRESS"] = (mapped.host, mapped.port)
        message.attributes["OTHER-ADDRESS"] = (OTHER.host, OTHER.port)
        message.attributes["SOFTWARE"] = "unknown things are not printed"
        return bytes(message)


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    wire = Wire()
    yield wire
    wire.client.close()


@pytest.mark.parametrize("mapped", [MAPPED, Address("2001:db8::7", 9)])
async def test_an_answer_is_read(
    wire: Wire, mapped: Address, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = wire.client.ask(SERVER)
    assert wire.sent[0][1] == SERVER
    wire.client.receive(wire.answer(mapped), SERVER)
    answer = await asked
    assert (answer.mapped, answer.other) == (mapped, OTHER)
    assert answer.round_trip_s >= 0
    assert capsys.readouterr().out == ""


async def test_what_comes_from_elsewhere_is_not_believed(wire: Wire) -> None:
    asked = wire.client.ask(SERVER)
    for source in (OTHER, Address(SERVER.host, 9), Address("::ffff:127.0.0.1", 3_478)):
        wire.client.receive(wire.answer(), source)
    assert not asked.done()


async def test_an_answer_with_another_id_is_not_believed(wire: Wire) -> None:
    asked = wire.client.ask(SERVER)
    forged = bytearray(wire.answer())
    forged[19] ^= 1
    wire.client.receive(bytes(forged), SERVER)
    assert not asked.done()


async def test_a_second_and_a_late_answer_are_nothing(wire: Wire) -> None:
    asked = wire.client.ask(SERVER)
    answer, lie = wire.answer(), wire.answer(Address("192.0.2.66", 6))
    wire.client.receive(answer, SERVER)
    wire.client.receive(lie, SERVER)
    assert (await asked).mapped == MAPPED
    wire.client.receive(lie, SERVER)


async def test_a_truncated_answer_is_nothing(wire: Wire) -> None:
    asked = wire.client.ask(SERVER)
    answer = wire.answer()
    for length in range(len(answer)):
        wire.client.receive(answer[:length], SERVER)
    assert not asked.done()


async def test_a_refusal_is_an_error(wire: Wire) -> None:
    asked = wire.client.ask(SERVER)
    message = Message(Method.BINDING, Class.ERROR, wire.sent[-1][0][8:20])
    message.attributes["ERROR-CODE"] = (420, "Unknown Attribute")
    wire.client.receive(bytes(message), SERVER)
    with pytest.raises(StunError, match="420"):
        await asked


async def test_requests_under_way_are_bounded(wire: Wire) -> None:
    for _ in range(REQUESTS_MAX):
        wire.client.ask(SERVER)
    with pytest.raises(StunError):
        await wire.client.ask(SERVER)
    wire.client.receive(bytes(ANSWER_BYTES_MAX + 1), SERVER)


async def test_a_request_that_is_given_up_is_forgotten(wire: Wire) -> None:
    asked = wire.client.ask(SERVER)
    answer = wire.answer()
    asked.cancel()
    await asyncio.sleep(0)
    wire.client.receive(answer, SERVER)
    assert not wire.client.is_ours(answer)


@given(st.binary(max_size=120))
def test_any_attributes_are_read_or_refused(attributes: bytes) -> None:
    header = b"\x01\x01" + len(attributes).to_bytes(2, "big") + b"\x21\x12\xa4\x42" + bytes(12)
    decode(header + attributes)


@given(st.sampled_from([1, 0x20, 0x802C, 9]), st.binary(max_size=40))
def test_any_value_of_an_attribute_is_read_or_refused(kind: int, value: bytes) -> None:
    padded = value + bytes(-len(value) % 4)
    attribute = kind.to_bytes(2, "big") + len(value).to_bytes(2, "big") + padded
    header = b"\x01\x01" + len(attribute).to_bytes(2, "big") + b"\x21\x12\xa4\x42" + bytes(12)
    decode(header + attribute)
