"""RFC 5780 behavior discovery names every NAT box correctly."""

from dataclasses import replace
from itertools import product

import pytest

from adapters.simulation.internet.internet import Internet
from adapters.simulation.internet.line import LineOptions
from adapters.simulation.internet.nat import (
    ADDRESS_RESTRICTED,
    FULL_CONE,
    PORT_RESTRICTED,
    PRESETS,
    SYMMETRIC,
    Dependence,
    NatOptions,
    PortChoice,
)
from adapters.simulation.internet.router import STATEFUL, UDP_BLOCKED, FirewallOptions
from adapters.simulation.internet.stun_server import StunServer
from tests.adapters.simulation.internet.behavior import Behavior, discover
from tests.adapters.simulation.internet.datagrams import new_internet

EXTERNAL = "203.0.113.9"
NAMES = {
    (Dependence.ENDPOINT_INDEPENDENT, Dependence.ENDPOINT_INDEPENDENT): "full cone",
    (Dependence.ENDPOINT_INDEPENDENT, Dependence.ADDRESS_DEPENDENT): "address restricted",
    (Dependence.ENDPOINT_INDEPENDENT, Dependence.ADDRESS_AND_PORT_DEPENDENT): "port restricted",
    (Dependence.ADDRESS_AND_PORT_DEPENDENT, Dependence.ADDRESS_AND_PORT_DEPENDENT): "symmetric",
}


async def start_stun(internet: Internet) -> StunServer:
    host = internet.public_host("stun", "198.51.100.1", "198.51.100.2")
    server = StunServer(host, "198.51.100.1", "198.51.100.2")
    await server.start()
    return server


async def discover_behind(
    seed: int, nat: NatOptions | None, *, loss: float = 0.0, firewall: FirewallOptions = STATEFUL
) -> Behavior:
    internet = new_internet(seed)
    server = await start_stun(internet)
    line = LineOptions(delay_s=0.01, jitter_s=0.005, loss=loss)
    _, inside = internet.router("box", EXTERNAL, nat=nat, options=line, firewall=firewall)
    host = internet.host("client")
    host.attach(inside, "10.0.0.2")
    return await discover(host, server.address)


@pytest.mark.parametrize("name", PRESETS)
async def test_each_classical_type_is_named(name: str, seed: int) -> None:
    found = await discover_behind(seed, PRESETS[name])
    assert found.mapped is not None
    assert found.mapped[0] == EXTERNAL
    assert found.mapping is not None
    assert found.filtering is not None
    assert NAMES[found.mapping, found.filtering] == name


@pytest.mark.parametrize("ports", PortChoice, ids=lambda each: each.value)
@pytest.mark.parametrize(
    ("mapping", "filtering"),
    list(product(Dependence, Dependence)),
    ids=lambda each: each.value.removesuffix("-dependent"),
)
async def test_each_combination_is_named(
    mapping: Dependence, filtering: Dependence, ports: PortChoice, seed: int
) -> None:
    nat = NatOptions(mapping=mapping, filtering=filtering, ports=ports)
    found = await discover_behind(seed, nat)
    assert (found.mapping, found.filtering) == (mapping, filtering)


@pytest.mark.parametrize("nat", [FULL_CONE, ADDRESS_RESTRICTED, PORT_RESTRICTED, SYMMETRIC])
async def test_a_little_loss_does_not_mislead(nat: NatOptions, seed: int) -> None:
    found = await discover_behind(seed, nat, loss=0.02)
    assert (found.mapping, found.filtering) == (nat.mapping, nat.filtering)


async def test_without_nat_a_host_sees_its_own_address(seed: int) -> None:
    internet = new_internet(seed)
    server = await start_stun(internet)
    host = internet.public_host("client", "203.0.113.5")
    found = await discover(host, server.address)
    assert found.mapped is not None
    assert found.mapped[0] == "203.0.113.5"
    assert found.filtering is Dependence.ENDPOINT_INDEPENDENT


async def test_where_udp_is_blocked_nothing_is_found(seed: int) -> None:
    found = await discover_behind(seed, FULL_CONE, firewall=UDP_BLOCKED)
    assert found == Behavior(mapped=None)


@pytest.mark.parametrize("inner", PRESETS.values(), ids=PRESETS)
async def test_two_boxes_are_as_strict_as_the_stricter_one(inner: NatOptions, seed: int) -> None:
    internet = new_internet(seed)
    server = await start_stun(internet)
    outer = replace(ADDRESS_RESTRICTED, ports=PortChoice.RANDOM)
    _, between = internet.router("carrier", EXTERNAL, nat=outer)
    _, inside = internet.router("home", "100.64.0.9", nat=inner, outside=between)
    host = internet.host("client")
    host.attach(inside, "192.168.1.2")
    found = await discover(host, server.address)
    assert found.mapped is not None
    assert found.mapped[0] == EXTERNAL
    assert found.mapping is inner.mapping
    strictness = list(Dependence)
    expected = max(inner.filtering, outer.filtering, key=strictness.index)
    assert found.filtering is expected
