"""The addresses of this machine: each once, with loopback last, and nothing that means nothing elsewhere."""

from ipaddress import ip_address

import pytest

from adapters.quic.interface import reachable_addresses
from domain.connectivity.address import is_loopback
from domain.limits import HOST_ADDRESSES_MAX


@pytest.mark.parametrize("with_ipv6", [False, True])
def test_addresses_are_usable_bounded_and_end_with_loopback(with_ipv6: bool) -> None:
    found = reachable_addresses(4711, with_ipv6=with_ipv6)
    assert len(set(found)) == len(found) <= HOST_ADDRESSES_MAX + 2
    assert {each.port for each in found} == {4711}
    loopback = [is_loopback(str(each)) for each in found]
    assert loopback == sorted(loopback)
    assert loopback.count(True) == (2 if with_ipv6 else 1)
    versions = {ip_address(each.host).version for each in found}
    assert versions == ({4, 6} if with_ipv6 else {4})
    assert not any(ip_address(each.host).is_link_local for each in found)
