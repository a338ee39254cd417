"""Which addresses are worth a packet, and which are in the own network."""

import pytest

from domain.connectivity.address import Address
from domain.connectivity.candidate import is_near

OWN = (Address("203.0.113.7", 1), Address("2001:db8:1:2::7", 1), Address("laptop", 1))


@pytest.mark.parametrize(
    "host",
    ["10.9.9.9", "192.168.1.1", "100.64.0.1", "fd00::1", "203.0.113.200", "2001:db8:1:2::99"],
)
def test_a_house_and_what_is_beside_us_are_near(host: str) -> None:
    assert is_near(Address(host, 4711), OWN)


@pytest.mark.parametrize(
    "host",
    [
        "203.0.114.7",
        "2001:db8:1:3::7",
        "198.51.100.1",
        "127.0.0.1",
        "::1",
        "0.0.0.0",
        "224.0.0.251",
        "169.254.1.1",
        "fe80::1",
        "255.255.255.255",
        "example.org",
    ],
)
def test_all_else_is_not(host: str) -> None:
    assert not is_near(Address(host, 4711), OWN)


def test_no_port_is_nowhere() -> None:
    assert not is_near(Address("10.0.0.1", 0), OWN)
