import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.connectivity.address import Address, AddressError, is_loopback, parse_address

HOSTS = st.one_of(
    st.ip_addresses(v=4).map(str),
    st.ip_addresses(v=6)
    .map(str)
    .filter(lambda host: "." not in host and not host.startswith("::ffff:")),
    st.from_regex(r"[a-z]([a-z0-9-]{0,10}[a-z0-9])?(\.[a-z]{2,5}){0,3}", fullmatch=True),
)


@given(host=HOSTS, port=st.integers(0, 65_535))
def test_addresses_come_back(host: str, port: int) -> None:
    address = Address(host, port)
    assert parse_address(str(address)) == address
    assert Address.from_host(host, port) == address


@given(st.text(max_size=300))
def test_any_text_is_an_address_or_a_typed_error(text: str) -> None:
    try:
        address = parse_address(text)
    except AddressError:
        return
    assert parse_address(str(address)) == address


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:4433", "127.0.0.1", 4433),
        ("[::1]:0", "::1", 0),
        ("[2001:DB8:0:0::1]:1", "2001:db8::1", 1),
        ("[::ffff:192.0.2.1]:80", "192.0.2.1", 80),
        ("Node.Example:65535", "node.example", 65_535),
    ],
)
def test_addresses_are_normalized(text: str, host: str, port: int) -> None:
    assert parse_address(text) == (host, port)


@pytest.mark.parametrize(
    "text",
    [
        "", ":", "host", "host:", ":80", "host:-1", "host:65536", "host:080", "host: 80", "host:8٠", "::1:80",
        "[::1]", "[::1:80", "[host]:80", "[fe80::1%eth0]:80", "1.2.3:80", "1.2.3.4.5:80", "256.1.1.1:80",
        "ho st:80", "-host:80", "a..b:80", "host/:80", "x" * 64 + ":80", "a." * 130 + "b:80",
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(AddressError):
        parse_address(text)


def test_a_port_is_16_bits() -> None:
    with pytest.raises(AddressError):
        Address.from_host("192.0.2.1", 65_536)


@pytest.mark.parametrize("text", ["127.0.0.1:1", "[::1]:1", "127.9.9.9:1", "[::ffff:127.0.0.1]:1"])
def test_loopback_is_known_as_such(text: str) -> None:
    assert is_loopback(text)


@pytest.mark.parametrize("text", ["192.0.2.1:1", "[2001:db8::1]:1", "localhost:1", "nonsense", ""])
def test_all_else_is_not_loopback(text: str) -> None:
    assert not is_loopback(text)
