"""Discovery by mDNS: the port's contract on a real socket, and what a hostile neighbour announces."""

import asyncio
import socket
from contextlib import closing

import pytest
from zeroconf import (  # type: ignore[attr-defined]
    DNSOutgoing,
    DNSPointer,
    DNSService,
    DNSText,
)

from adapters.discovery.mdns import SERVICE, MdnsDiscovery
from domain.connectivity.address import parse_address
from tests.contracts.discovery import ANN, BEN, DiscoveryContract, at_work, is_quiet, names, seen

LOOPBACK = "127.0.0.1"
GROUP = ("224.0.0.251", 5353)


def can_multicast() -> bool:
    """Whether this machine lets datagrams to a group through on loopback."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sender:
        try:
            sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(LOOPBACK))
            sender.sendto(b"", GROUP)
        except OSError:
            return False
    return True


pytestmark = [
    pytest.mark.skipif(not can_multicast(), reason="no multicast on loopback"),
    pytest.mark.xdist_group("mdns"),  # they hear each other
]


def discovery(*addresses: str) -> MdnsDiscovery:
    return MdnsDiscovery(lambda: [parse_address(each) for each in addresses], [LOOPBACK])


class TestMdnsDiscovery(DiscoveryContract):
    def discovery(self, *addresses: str) -> MdnsDiscovery:
        return discovery(*addresses)


def shout(*packets: bytes) -> None:
    """Send to everybody who listens."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sender:
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(LOOPBACK))
        for packet in packets:
            sender.sendto(packet, GROUP)


async def test_no_flood_keeps_a_member_from_being_seen() -> None:
    """Thousands of names that mean nothing, huge texts, and bytes that are no message at all."""
    flood = [b"\0" * 12, b"\xff" * 1_000, b"\0\0\x84\0\0\0\xff\xff\0\0\0\0\xc0\x0c"]
    for number in range(2_000):
        out = DNSOutgoing(0x8400)
        name = f"{number:032x}.{SERVICE}"
        out.add_answer_at_time(DNSPointer(SERVICE, 12, 1, 4_500, name), 0)
        out.add_answer_at_time(DNSService(name, 33, 1, 120, 0, 0, 1, "liar.local."), 0)
        out.add_answer_at_time(DNSText(name, 16, 1, 4_500, b"\xff" + bytes(255)), 0)
        flood += out.packets()
    ann, ben = discovery(ANN), discovery(BEN)
    wanted = [bytes.fromhex("ab" * 16)]
    ben.look_for(wanted)
    async with at_work(ann, ben):
        for start in range(0, len(flood), 100):
            shout(*flood[start : start + 100])
            await asyncio.sleep(0)
        ann.announce(wanted)
        assert (await seen(ben)).addresses == (ANN,)
        assert await is_quiet(ben)


async def test_an_announcement_says_nothing_but_a_name_and_where() -> None:
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(("", GROUP[1]))
        member = socket.inet_aton(GROUP[0]) + socket.inet_aton(LOOPBACK)
        listener.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
        listener.setblocking(False)
        ann, ben = discovery(ANN), discovery(BEN)
        ann.announce(names(7))
        ben.look_for(names(7))
        async with at_work(ann, ben):
            await seen(ben)
        heard = b""
        while True:
            try:
                heard += listener.recv(9_000)
            except BlockingIOError:
                break
    assert names(7)[0].hex().encode() in heard
    assert socket.gethostname().encode() not in heard
