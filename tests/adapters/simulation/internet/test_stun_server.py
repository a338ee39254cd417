"""The STUN server answers as RFC 8489 and RFC 5780 say, and survives whatever is sent to it."""

import pytest
from aioice.stun import Class, Message, Method, parse_message
from hypothesis import given
from hypothesis import strategies as st

from adapters.simulation.internet.stun_codec import decode, is_stun, raw_attributes
from adapters.simulation.internet.stun_server import StunServer
from tests.adapters.simulation.internet.behavior import StunClient
from tests.adapters.simulation.internet.datagrams import Inbox, new_internet, open_inbox

FIRST, SECOND = "198.51.100.1", "198.51.100.2"
SERVER = (FIRST, 3_478)
CLIENT = ("192.0.2.1", 5_000)
REQUEST = Message(Method.BINDING, Class.REQUEST, b"transactions")


async def start(seed: int, *other: str) -> tuple[StunServer, Inbox]:
    internet = new_internet(seed)
    server = StunServer(internet.public_host("stun", FIRST, SECOND), FIRST, *other)
    await server.start()
    return server, await open_inbox(internet.public_host("client", CLIENT[0]), CLIENT)


async def test_it_tells_who_asks_and_who_answers(seed: int) -> None:
    _, inbox = await start(seed, SECOND)
    answer = await StunClient(inbox).ask(SERVER)
    assert answer is not None
    assert answer.message_class is Class.RESPONSE
    assert answer.attributes["XOR-MAPPED-ADDRESS"] == CLIENT
    assert answer.attributes["RESPONSE-ORIGIN"] == SERVER
    assert answer.attributes["OTHER-ADDRESS"] == (SECOND, 3_479)


@pytest.mark.parametrize(
    ("change", "origin"),
    [
        (0x00, SERVER),
        (0x02, (FIRST, 3_479)),
        (0x04, (SECOND, 3_478)),
        (0x06, (SECOND, 3_479)),
    ],
)
async def test_it_answers_from_where_it_is_asked_to(
    change: int, origin: tuple[str, int], seed: int
) -> None:
    _, inbox = await start(seed, SECOND)
    request = Message(Method.BINDING, Class.REQUEST, b"transactions")
    request.attributes["CHANGE-REQUEST"] = change
    inbox.send(bytes(request), SERVER)
    found = await inbox.receive()
    assert found is not None
    assert found[1] == origin
    assert parse_message(found[0]).attributes["RESPONSE-ORIGIN"] == origin


async def test_the_other_address_depends_on_where_it_is_asked(seed: int) -> None:
    _, inbox = await start(seed, SECOND)
    answer = await StunClient(inbox).ask((SECOND, 3_478))
    assert answer is not None
    assert answer.attributes["OTHER-ADDRESS"] == (FIRST, 3_479)


async def test_with_one_address_it_cannot_answer_from_elsewhere_and_says_so(seed: int) -> None:
    _, inbox = await start(seed)
    answer = await StunClient(inbox).ask(SERVER)
    assert answer is not None
    assert "OTHER-ADDRESS" not in answer.attributes
    refusal = await StunClient(inbox).ask(SERVER, 0x06)
    assert refusal is not None
    assert refusal.error_code == 420


async def test_it_answers_to_another_port_if_asked_to(seed: int) -> None:
    _, inbox = await start(seed, SECOND)
    internet = new_internet(seed)
    host = internet.public_host("client", CLIENT[0])
    server = StunServer(internet.public_host("stun", FIRST), FIRST)
    await server.start()
    inbox, other = await open_inbox(host, CLIENT), await open_inbox(host, (CLIENT[0], 6_000))
    response_port = bytes.fromhex("0027 0004") + (6_000).to_bytes(2, "big") + bytes(2)
    header = bytes(REQUEST)
    inbox.send(
        header[:2] + len(response_port).to_bytes(2, "big") + header[4:] + response_port, SERVER
    )
    found = await other.receive()
    assert found is not None
    assert parse_message(found[0]).attributes["XOR-MAPPED-ADDRESS"] == CLIENT


async def test_what_must_be_understood_and_is_not_is_refused(seed: int) -> None:
    _, inbox = await start(seed)
    header = bytes(REQUEST)
    inbox.send(header[:2] + b"\x00\x04" + header[4:] + bytes.fromhex("7abc 0000"), SERVER)
    found = await inbox.receive()
    assert found is not None
    assert parse_message(found[0]).error_code == 420


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"x" * 20,
        bytes(REQUEST)[:-1],
        bytes(REQUEST) + b"x",
        bytes(Message(Method.BINDING, Class.INDICATION, b"transactions")),
        bytes(Message(Method.BINDING, Class.RESPONSE, b"transactions")),
        bytes(Message(Method.ALLOCATE, Class.REQUEST, b"transactions")),
    ],
)
async def test_what_is_no_binding_request_is_not_answered(data: bytes, seed: int) -> None:
    server, inbox = await start(seed)
    inbox.send(data, SERVER)
    assert await inbox.receive() is None
    assert server.answered == 0


async def test_a_server_that_was_closed_answers_nobody(seed: int) -> None:
    server, inbox = await start(seed)
    server.close()
    assert await StunClient(inbox).ask(SERVER) is None


WHOLE = Message(
    Method.ALLOCATE,
    Class.REQUEST,
    b"transactions",
    {
        "USERNAME": "user",
        "REALM": "realm",
        "XOR-PEER-ADDRESS": ("192.0.2.1", 5),
        "XOR-RELAYED-ADDRESS": ("2001:db8::1", 5),
        "ERROR-CODE": (400, "Bad"),
        "LIFETIME": 5,
        "CHANNEL-NUMBER": 0x4000,
    },
)


@given(data=st.data())
def test_a_damaged_message_is_read_or_refused_never_an_error(data: st.DataObject) -> None:
    damaged = bytearray(bytes(WHOLE))
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(20, len(damaged) - 1))
        damaged[at] = data.draw(st.integers(0, 255))
    message = decode(bytes(damaged))
    assert message is None or message.transaction_id == WHOLE.transaction_id
    raw_attributes(bytes(damaged))


@given(st.binary(max_size=100))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    assert decode(data) is None or is_stun(data)
