"""UDP sockets of simulated hosts do what those of real ones do."""

import asyncio
import errno
import socket

import pytest

from adapters.simulation.errors import SimulationError
from adapters.simulation.internet.router import OPEN, UDP_BLOCKED
from tests.adapters.simulation.internet.datagrams import Inbox, new_internet, open_inbox

ONE, OTHER = "192.0.2.1", "192.0.2.2"
ONE_6, OTHER_6 = "2001:db8::1", "2001:db8::2"


async def test_datagrams_go_to_and_fro(seed: int) -> None:
    internet = new_internet(seed)
    one = await open_inbox(internet.public_host("one", ONE), (ONE, 1_000))
    other = await open_inbox(internet.public_host("other", OTHER), ("0.0.0.0", 2_000))
    one.send(b"ping", (OTHER, 2_000))
    assert await other.receive() == (b"ping", (ONE, 1_000))
    other.send(b"pong", (ONE, 1_000))
    assert await one.receive() == (b"pong", (OTHER, 2_000))


async def test_a_socket_for_both_versions_shows_mapped_addresses(seed: int) -> None:
    internet = new_internet(seed)
    both = await open_inbox(internet.public_host("one", ONE, ONE_6), ("::", 1_000))
    other = internet.public_host("other", OTHER, OTHER_6)
    four, six = await open_inbox(other, (OTHER, 4)), await open_inbox(other, (OTHER_6, 6))
    four.send(b"four", (ONE, 1_000))
    assert await both.receive() == (b"four", (f"::ffff:{OTHER}", 4, 0, 0))
    six.send(b"six", (ONE_6, 1_000, 0, 0))
    assert await both.receive() == (b"six", (OTHER_6, 6, 0, 0))
    both.send(b"back", (f"::ffff:{OTHER}", 4, 0, 0))
    assert await four.receive() == (b"back", (ONE, 1_000))
    assert both.name == ("::", 1_000, 0, 0)


async def test_a_connected_socket_hears_only_its_peer(seed: int) -> None:
    internet = new_internet(seed)
    peer = await open_inbox(internet.public_host("peer", OTHER), (OTHER, 2))
    stranger = await open_inbox(internet.public_host("stranger", "192.0.2.3"))
    connected = await open_inbox(internet.public_host("one", ONE), None, remote=(OTHER, 2))
    connected.send(b"hello")
    found = await peer.receive()
    assert found is not None
    stranger.send(b"unasked", found[1])
    peer.send(b"answer", found[1])
    assert await connected.receive() == (b"answer", (OTHER, 2))
    assert await connected.receive() is None
    with pytest.raises(ValueError, match="connected"):
        connected.send(b"elsewhere", ("192.0.2.3", 1))


async def test_ports_and_addresses_are_taken_as_on_a_real_host(seed: int) -> None:
    internet = new_internet(seed)
    host = internet.public_host("one", ONE, "192.0.2.9")
    first = await open_inbox(host, (ONE, 1_000))
    for taken in (ONE, "0.0.0.0"):
        with pytest.raises(OSError, match="in use") as caught:
            await open_inbox(host, (taken, 1_000))
        assert caught.value.errno == errno.EADDRINUSE
    await open_inbox(host, ("192.0.2.9", 1_000))
    with pytest.raises(OSError, match="no address") as caught:
        await open_inbox(host, (OTHER, 1_000))
    assert caught.value.errno == errno.EADDRNOTAVAIL
    first.transport.close()
    await asyncio.sleep(0)
    assert first.is_lost
    await open_inbox(host, (ONE, 1_000))


async def test_a_host_talks_to_itself(seed: int) -> None:
    host = new_internet(seed).public_host("one", ONE)
    inbox = await open_inbox(host, ("0.0.0.0", 5))
    speaker = await open_inbox(host, ("127.0.0.1", 6))
    speaker.send(b"psst", ("127.0.0.1", 5))
    assert await inbox.receive() == (b"psst", ("127.0.0.1", 6))
    inbox.send(b"echo", (ONE, 5))
    assert await inbox.receive() == (b"echo", (ONE, 5))


async def test_names_of_hosts_are_looked_up(seed: int) -> None:
    internet = new_internet(seed)
    internet.public_host("other.test", OTHER, OTHER_6)
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo("other.test", 7, type=socket.SOCK_DGRAM)
    assert [entry[4][:2] for entry in found] == [(OTHER, 7), (OTHER_6, 7)]
    found = await loop.getaddrinfo("other.test", 7, family=socket.AF_INET6)
    assert [entry[4][0] for entry in found] == [OTHER_6]
    with pytest.raises(socket.gaierror):
        await loop.getaddrinfo("nowhere.test", 7)


async def test_nobody_opens_a_socket_on_no_host(seed: int) -> None:
    new_internet(seed)
    with pytest.raises(SimulationError, match="no host is entered"):
        await asyncio.get_running_loop().create_datagram_endpoint(Inbox, local_addr=("0.0.0.0", 0))


async def test_after_a_switch_of_interfaces_another_address_is_used(seed: int) -> None:
    internet = new_internet(seed)
    far = await open_inbox(internet.public_host("far", OTHER), (OTHER, 2))
    _, house = internet.router("house", "203.0.113.1", firewall=OPEN)
    mobile = internet.host("mobile")
    wireless = mobile.attach(house, "192.0.2.77")
    anywhere, bound = (
        await open_inbox(mobile, ("0.0.0.0", 7)),
        await open_inbox(mobile, ("192.0.2.77", 8)),
    )
    anywhere.send(b"at home", far.name)
    assert await far.receive() == (b"at home", ("192.0.2.77", 7))
    far.send(b"you are there", ("192.0.2.77", 7))
    assert await anywhere.receive() == (b"you are there", (OTHER, 2))
    cellular = mobile.attach(internet.public, ONE)
    mobile.detach(wireless)
    for inbox in (anywhere, bound):
        inbox.send(b"on the road", far.name)
    assert await far.receive() == (b"on the road", (ONE, 7))
    assert await far.receive() is None
    far.send(b"too late", ("192.0.2.77", 7))
    assert await anywhere.receive() is None
    cellular.set_up(is_up=False)
    anywhere.send(b"in a tunnel", far.name)
    assert await far.receive() is None


async def test_the_preferred_interface_is_used_and_what_is_near_is_reached_directly(
    seed: int,
) -> None:
    internet = new_internet(seed)
    far = await open_inbox(internet.public_host("far", OTHER), (OTHER, 2))
    _, house = internet.router("house", "203.0.113.1", firewall=OPEN)
    near_host = internet.host("near")
    near_host.attach(house, "192.0.2.80")
    near = await open_inbox(near_host, ("192.0.2.80", 1))
    host = internet.host("one")
    host.attach(house, "192.0.2.81")
    host.attach(internet.public, ONE, preferred=True)
    inbox = await open_inbox(host, ("0.0.0.0", 3))
    inbox.send(b"far", far.name)
    assert await far.receive() == (b"far", (ONE, 3))
    inbox.send(b"near", near.name)
    assert await near.receive() == (b"near", ("192.0.2.81", 3))


async def test_partitions_and_blocks_bar_the_way_until_they_end(seed: int) -> None:
    internet = new_internet(seed)
    one = await open_inbox(internet.public_host("one", ONE), (ONE, 1))
    other = await open_inbox(internet.public_host("other", OTHER), (OTHER, 2))

    async def gets_through() -> bool:
        one.send(b"?", other.name)
        return await other.receive() is not None

    assert await gets_through()
    internet.partition(["one"])
    assert not await gets_through()
    internet.heal()
    internet.block("one", "other")
    assert not await gets_through()
    internet.unblock("one", "other")
    assert await gets_through()


async def test_a_stateful_firewall_lets_only_answers_in_over_ipv6(seed: int) -> None:
    internet = new_internet(seed)
    server = await open_inbox(internet.public_host("server", OTHER_6), (OTHER_6, 2))
    _, inside = internet.router("house", "2001:db8:1::1")
    host = internet.host("one")
    host.attach(inside, "2001:db8:1::2")
    inbox = await open_inbox(host, ("2001:db8:1::2", 7))
    server.send(b"unasked", inbox.name)
    assert await inbox.receive() is None
    inbox.send(b"hello", server.name)
    found = await server.receive()
    assert found == (b"hello", ("2001:db8:1::2", 7, 0, 0))
    server.send(b"answer", found[1])
    assert await inbox.receive() == (b"answer", server.name)
    assert await inbox.receive(121.0) is None
    server.send(b"too late", found[1])
    assert await inbox.receive() is None


async def test_what_is_routed_stays_reachable_through_two_routers_and_a_new_address(
    seed: int,
) -> None:
    internet = new_internet(seed)
    server = await open_inbox(internet.public_host("server", OTHER_6), (OTHER_6, 2))
    outer, between = internet.router("outer", "2001:db8:1::1", firewall=OPEN)
    _, inside = internet.router("inner", "2001:db8:2::1", firewall=OPEN, outside=between)
    host = internet.host("one")
    interface = host.attach(inside, "2001:db8:2::2")
    inbox = await open_inbox(host, ("::", 7))

    async def is_reached() -> bool:
        server.send(b"?", ("2001:db8:2::2", 7))
        return await inbox.receive() is not None

    assert await is_reached()
    outer.readdress("2001:db8:1::99")
    assert await is_reached()
    host.detach(interface)
    assert not await is_reached()


async def test_a_firewall_can_block_udp(seed: int) -> None:
    internet = new_internet(seed)
    server = await open_inbox(internet.public_host("server", OTHER), (OTHER, 2))
    _, inside = internet.router("office", "203.0.113.1", firewall=UDP_BLOCKED)
    host = internet.host("one")
    host.attach(inside, "192.0.2.50")
    (await open_inbox(host, ("192.0.2.50", 7))).send(b"?", server.name)
    assert await server.receive() is None


async def test_a_crash_closes_everything_without_a_word(seed: int) -> None:
    internet = new_internet(seed)
    host = internet.public_host("one", ONE)
    inbox = await open_inbox(host, (ONE, 1))
    other = await open_inbox(internet.public_host("other", OTHER), (OTHER, 2))
    host.crash()
    inbox.send(b"from the grave", other.name)
    other.send(b"?", (ONE, 1))
    assert await other.receive() is None
    assert not inbox.received
    assert not inbox.is_lost
    again = await open_inbox(host, (ONE, 1))
    other.send(b"!", (ONE, 1))
    assert await again.receive() == (b"!", (OTHER, 2))
