"""The router is read from what the system says."""

import socket
import struct
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.gateway.route import find_gateway_route, read_default_gateway

HEAD = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"
hosts = st.ip_addresses(v=4)


def line(gateway: IPv4Address, metric: int, *, flags: int = 3, destination: int = 0) -> str:
    (number,) = struct.unpack("=I", gateway.packed)
    mask = 0xFFFFFF if destination else 0
    return (
        f"eth0\t{destination:08X}\t{number:08X}\t{flags:04X}\t0\t0\t{metric}\t{mask:08X}\t0\t0\t0\n"
    )


@given(routes=st.lists(st.tuples(hosts, st.integers(0, 1_000)), min_size=1, max_size=5))
def test_default_router_with_the_least_metric_is_found(
    routes: list[tuple[IPv4Address, int]],
) -> None:
    table = HEAD + "".join(line(*each) for each in routes)
    least = min(metric for _, metric in routes)
    assert read_default_gateway(table) in {str(host) for host, metric in routes if metric == least}


@given(host=hosts, text=st.text(max_size=200))
def test_what_is_no_default_route_is_passed_over(host: IPv4Address, text: str) -> None:
    others = line(host, 1, destination=10) + line(host, 1, flags=1) + line(host, 1, flags=2)
    assert read_default_gateway(HEAD + others) is None
    read_default_gateway(text)


@pytest.mark.parametrize("listening", ["127.0.0.1", "::1", "2001:db8::1"])
def test_who_listens_where_no_router_leads_has_none(listening: str) -> None:
    assert find_gateway_route(listening) is None


def test_router_of_this_machine_is_one_of_ipv4() -> None:
    route = find_gateway_route("::")
    if route is not None:
        for host in route:
            socket.inet_aton(host)
        assert find_gateway_route(route.local) == route
