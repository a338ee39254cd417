"""Servers as text: what is read, what is refused, and what is never shown."""

import pytest

from domain.connectivity.address import Address
from domain.connectivity.server import RendezvousServer, TurnServer, parse_stun, parse_turn
from domain.errors import ConfigurationError

PEER = "ab" * 32


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("stun.example.org", Address("stun.example.org", 3_478)),
        ("stun:192.0.2.1:99", Address("192.0.2.1", 99)),
        ("[2001:db8::1]", Address("2001:db8::1", 3_478)),
        ("[2001:db8::1]:99", Address("2001:db8::1", 99)),
    ],
)
def test_a_stun_server(text: str, address: Address) -> None:
    assert parse_stun(text) == address


@pytest.mark.parametrize(
    ("text", "server"),
    [
        (
            "turn:al%40ice:pa%3Ass@turn.example.org",
            TurnServer(
                address=Address("turn.example.org", 3_478),
                transports=("udp", "tcp"),
                username="al@ice",
                password="pa:ss",
            ),
        ),
        (
            "turn:192.0.2.1:99?transport=tcp&secret=shared",
            TurnServer(address=Address("192.0.2.1", 99), transports=("tcp",), secret="shared"),
        ),
        (
            f"turns:u:p@192.0.2.1?pin={'0f' * 32}",
            TurnServer(
                address=Address("192.0.2.1", 5_349),
                transports=("tls",),
                username="u",
                password="p",
                pin=b"\x0f" * 32,
            ),
        ),
    ],
)
def test_a_turn_server(text: str, server: TurnServer) -> None:
    assert parse_turn(text) == server
    for secret in ("pa:ss", "shared"):
        assert secret not in repr(server)
        assert secret not in str(server)


@pytest.mark.parametrize(
    "text",
    [
        "turn.example.org",
        "http://turn.example.org",
        "turn:u:hunter2@host?transport=sctp",
        "turn:u:hunter2@host?pin=12",
        "turn:u:hunter2@host?colour=red",
        "turn:u:hunter2@ho st",
    ],
)
def test_what_is_no_turn_server_is_refused_without_its_password(text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_turn(text)
    assert "hunter2" not in str(caught.value)


def test_time_limited_credentials_are_those_of_use_auth_secret() -> None:
    server = parse_turn("turn:192.0.2.1?secret=north")
    assert server.credentials(now_s=1_000) == ("87400:culm", "gCrqfDdoTe8ckvosuSfrxsATrtc=")
    assert parse_turn("turn:192.0.2.1").credentials(now_s=1) == (None, None)
    assert parse_turn("turn:u:p@192.0.2.1").credentials(now_s=1) == ("u", "p")


def test_a_rendezvous() -> None:
    text = f"{PEER}@192.0.2.1:4433"
    assert str(RendezvousServer.parse(text)) == text


@pytest.mark.parametrize("text", [PEER, "@192.0.2.1:1", f"{PEER}@nowhere", "ab@192.0.2.1:1"])
def test_what_is_no_rendezvous_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError):
        RendezvousServer.parse(text)
