"""What a NAT box does by RFC 4787, watched from sockets on either side."""

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.simulation.internet.host import Host
from adapters.simulation.internet.internet import Internet
from adapters.simulation.internet.nat import (
    FULL_CONE,
    PORT_RESTRICTED,
    SYMMETRIC,
    Dependence,
    Nat,
    NatOptions,
    PortChoice,
)
from adapters.simulation.internet.packet import Protocol
from adapters.simulation.internet.router import Router
from tests.adapters.simulation.internet.datagrams import Inbox, new_internet, open_inbox

UDP = Protocol.UDP
EXTERNAL = "203.0.113.9"
WITHIN = ("10.0.0.2", 5_000)
SERVER = ("198.51.100.1", 7_000)


def behind(internet: Internet, nat: NatOptions) -> tuple[Router, Host, Host]:
    router, inside = internet.router("box", EXTERNAL, nat=nat)
    one, other = internet.host("one"), internet.host("other")
    one.attach(inside, "10.0.0.2")
    other.attach(inside, "10.0.0.3")
    internet.public_host("server", SERVER[0])
    return router, one, other


async def open_pair(internet: Internet, host: Host) -> tuple[Inbox, Inbox]:
    """A socket within and one on the server."""
    return await open_inbox(host, WITHIN), await open_inbox(internet.host("server"), SERVER)


async def seen_by(server: Inbox, inside: Inbox) -> tuple[str, int]:
    """The address under which the server sees a socket."""
    inside.send(b"hello", server.name)
    found = await server.receive()
    assert found is not None
    return found[1][0], found[1][1]


async def test_an_answer_gets_in_and_a_stranger_does_not(seed: int) -> None:
    internet = new_internet(seed)
    _, one, _ = behind(internet, PORT_RESTRICTED)
    inside, server = await open_pair(internet, one)
    stranger = await open_inbox(internet.public_host("stranger", "198.51.100.7"))
    mapped = await seen_by(server, inside)
    assert mapped == (EXTERNAL, WITHIN[1])
    server.send(b"answer", mapped)
    stranger.send(b"unasked", mapped)
    assert await inside.receive() == (b"answer", SERVER)
    assert await inside.receive() is None


async def test_a_mapping_ends_and_what_is_sent_prolongs_it(seed: int) -> None:
    internet = new_internet(seed)
    _, one, _ = behind(internet, replace(FULL_CONE, timeout_s=30.0))
    inside, server = await open_pair(internet, one)
    mapped = await seen_by(server, inside)
    for _ in range(4):
        assert await inside.receive(20.0) is None
        inside.send(b"keep", SERVER)
    server.send(b"in time", mapped)
    assert await inside.receive() == (b"in time", SERVER)
    assert await inside.receive(31.0) is None
    server.send(b"too late", mapped)
    assert await inside.receive() is None


@pytest.mark.parametrize("is_refreshed", [True, False])
async def test_what_comes_in_prolongs_a_mapping_only_if_the_box_says_so(
    is_refreshed: bool, seed: int
) -> None:
    internet = new_internet(seed)
    nat = replace(FULL_CONE, timeout_s=30.0, is_refreshed_inbound=is_refreshed)
    _, one, _ = behind(internet, nat)
    inside, server = await open_pair(internet, one)
    mapped = await seen_by(server, inside)
    heard = []
    for _ in range(3):
        server.send(b"ping", mapped)
        heard.append(await inside.receive(20.0) is not None)
        assert await inside.receive(19.0) is None
    assert heard == ([True, True, True] if is_refreshed else [True, True, False])


@pytest.mark.parametrize("hairpins", [True, False])
async def test_neighbors_meet_at_the_external_address_only_with_hairpinning(
    hairpins: bool, seed: int
) -> None:
    internet = new_internet(seed)
    _, one, other = behind(internet, replace(FULL_CONE, hairpins=hairpins))
    inside, server = await open_pair(internet, one)
    neighbor = await open_inbox(other, ("10.0.0.3", 6_000))
    mapped, mapped_neighbor = await seen_by(server, inside), await seen_by(server, neighbor)
    inside.send(b"hairpin", mapped_neighbor)
    expected = (b"hairpin", mapped) if hairpins else None
    assert await neighbor.receive() == expected


async def test_neighbors_reach_each_other_directly(seed: int) -> None:
    internet = new_internet(seed)
    _, one, other = behind(internet, SYMMETRIC)
    inside, neighbor = await open_inbox(one, WITHIN), await open_inbox(other, ("10.0.0.3", 1))
    inside.send(b"over the fence", neighbor.name)
    assert await neighbor.receive() == (b"over the fence", WITHIN)


@pytest.mark.parametrize("ports", PortChoice, ids=lambda each: each.value)
async def test_a_box_that_restarts_gives_another_port(ports: PortChoice, seed: int) -> None:
    internet = new_internet(seed)
    router, one, _ = behind(internet, replace(FULL_CONE, ports=ports))
    inside, server = await open_pair(internet, one)
    mapped = await seen_by(server, inside)
    router.rebind()
    server.send(b"to nobody", mapped)
    assert await inside.receive() is None
    again = await seen_by(server, inside)
    assert again[0] == mapped[0]
    assert again[1] != mapped[1]
    server.send(b"there", again)
    assert await inside.receive() == (b"there", SERVER)


async def test_a_box_can_get_another_address(seed: int) -> None:
    internet = new_internet(seed)
    router, one, _ = behind(internet, FULL_CONE)
    inside, server = await open_pair(internet, one)
    mapped = await seen_by(server, inside)
    router.readdress("203.0.113.10")
    server.send(b"to nobody", mapped)
    assert await inside.receive() is None
    again = await seen_by(server, inside)
    assert again[0] == "203.0.113.10"
    server.send(b"there", again)
    assert await inside.receive() == (b"there", SERVER)


def test_ports_are_preserved_or_follow_each_other_or_are_drawn(seed: int) -> None:
    def map_ten(ports: PortChoice) -> list[int]:
        nat = Nat(NatOptions(ports=ports), EXTERNAL, Random(seed))
        mapped = [
            nat.translate_outbound(UDP, (f"10.0.0.{host}", 5_000), SERVER, 0.0)
            for host in range(2, 12)
        ]
        return [each[1] for each in mapped if each is not None]

    assert map_ten(PortChoice.PRESERVING) == list(range(5_000, 5_010))
    contiguous = map_ten(PortChoice.CONTIGUOUS)
    assert contiguous == list(range(contiguous[0], contiguous[0] + 10))
    drawn = map_ten(PortChoice.RANDOM)
    assert drawn != sorted(drawn)


def test_a_box_without_free_ports_drops_until_a_mapping_ends() -> None:
    nat = Nat(replace(FULL_CONE, port_min=2_000, port_max=2_001), EXTERNAL, Random(1))

    def send(host: int, now: float) -> object:
        return nat.translate_outbound(UDP, (f"10.0.0.{host}", 5), SERVER, now)

    assert send(1, 0.0) is not None
    assert send(2, 60.0) is not None
    assert send(3, 60.0) is None
    assert send(3, 121.0) is not None
    assert send(4, 121.0) is None


def test_udp_and_tcp_are_mapped_apart() -> None:
    nat = Nat(FULL_CONE, EXTERNAL, Random(1))
    assert nat.translate_outbound(UDP, WITHIN, SERVER, 0.0) == (EXTERNAL, 5_000)
    assert nat.translate_inbound(Protocol.TCP, SERVER, (EXTERNAL, 5_000), 0.0) is None


ENDS = st.tuples(st.sampled_from(["192.0.2.1", "192.0.2.2"]), st.integers(1, 3))


@given(
    mapping=st.sampled_from(Dependence),
    filtering=st.sampled_from(Dependence),
    ports=st.sampled_from(PortChoice),
    sent=st.lists(st.tuples(st.integers(1, 3), ENDS), min_size=1, max_size=20),
)
def test_who_was_sent_to_can_always_answer_and_nobody_reaches_the_wrong_host(
    mapping: Dependence,
    filtering: Dependence,
    ports: PortChoice,
    sent: list[tuple[int, tuple[str, int]]],
) -> None:
    options = NatOptions(mapping=mapping, filtering=filtering, ports=ports)
    nat = Nat(options, EXTERNAL, Random(1))
    owners: dict[tuple[str, int], tuple[str, int]] = {}
    for host, remote in sent:
        internal = (f"10.0.0.{host}", 5_000)
        external = nat.translate_outbound(UDP, internal, remote, 0.0)
        assert external is not None
        assert owners.setdefault(external, internal) == internal
        assert nat.translate_inbound(UDP, remote, external, 1.0) == internal
    for external, internal in owners.items():
        found = nat.translate_inbound(UDP, ("192.0.2.9", 9), external, 1.0)
        is_open = filtering is Dependence.ENDPOINT_INDEPENDENT
        assert found == (internal if is_open else None)
