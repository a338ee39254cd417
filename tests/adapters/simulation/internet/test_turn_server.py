"""The TURN server, used by aioice's client unchanged, and by hand where that client does not go."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from hashlib import md5
from typing import Any

import pytest
from aioice.stun import Class, Message, Method, TransactionFailed, TransactionTimeout, parse_message
from aioice.turn import TurnTransport, create_turn_endpoint

from adapters.simulation.internet.datagram import SocketName
from adapters.simulation.internet.internet import Internet
from adapters.simulation.internet.line import LineOptions
from adapters.simulation.internet.nat import SYMMETRIC
from adapters.simulation.internet.reproducible import reproducible_transport
from adapters.simulation.internet.router import STATEFUL, UDP_BLOCKED
from adapters.simulation.internet.turn_server import TurnOptions, TurnServer
from tests.adapters.simulation.internet.datagrams import Inbox, new_internet, open_inbox, until

RELAY, PEER = "198.51.100.1", ("192.0.2.1", 5_000)
EXTERNAL, PUBLIC = "203.0.113.9", "203.0.113.50"
USER, PASSWORD, REALM = "user", "password", "culm.test"
UDP_TRANSPORT = 17 << 24


class Lab:
    """A client behind a strict box, a relay, and a peer in public."""

    def __init__(self, seed: int, *, is_udp_blocked: bool = False, **options: object) -> None:
        self.internet: Internet = new_internet(seed)
        host = self.internet.public_host("relay", RELAY, "2001:db8::1")
        self.relay_host = host
        self.server = TurnServer(host, RELAY, options=replace(TurnOptions(), **options))  # type: ignore[arg-type]
        self.peer_host = self.internet.public_host("peer", PEER[0])
        firewall = UDP_BLOCKED if is_udp_blocked else STATEFUL
        self.router, inside = self.internet.router(
            "box", EXTERNAL, nat=SYMMETRIC, firewall=firewall
        )
        self.client = self.internet.host("client")
        self.client.attach(inside, "10.0.0.2")

    async def start(self) -> Inbox:
        """Start the relay and the peer; give the peer's socket."""
        await self.server.start()
        return await open_inbox(self.peer_host, PEER)

    @asynccontextmanager
    async def allocated(self, **named: object) -> AsyncIterator[tuple[TurnTransport, Inbox]]:
        """Allocate with aioice in the block."""
        arguments: dict[str, Any] = {"username": USER, "password": PASSWORD, **named}
        with self.client.entered():
            transport, inbox = await create_turn_endpoint(Inbox, self.server.address, **arguments)
        try:
            yield transport, inbox
        finally:
            transport.close()
            await until(lambda: inbox.is_lost)


@pytest.fixture(autouse=True)
async def _reproducible(seed: int) -> AsyncIterator[None]:
    with reproducible_transport(seed, asyncio.get_running_loop().time):
        yield


@pytest.mark.parametrize(("transport", "is_udp_blocked"), [("udp", False), ("tcp", True)])
async def test_aioice_relays_through_it(transport: str, is_udp_blocked: bool, seed: int) -> None:
    lab = Lab(seed, is_udp_blocked=is_udp_blocked)
    peer = await lab.start()
    async with lab.allocated(transport=transport) as (relayed, inbox):
        name = relayed.get_extra_info("sockname")
        assert name[0] == RELAY
        assert relayed.get_extra_info("related_address")[0] == EXTERNAL
        for data in (b"ping", b"odd", b"x" * 1_200):
            relayed.sendto(data, PEER)
            assert await peer.receive() == (data, name)
            peer.send(data[::-1], name)
            assert await inbox.receive() == (data[::-1], PEER)
    assert not lab.server.allocations


@pytest.mark.parametrize("transport", ["udp", "tcp"])
async def test_an_allocation_lives_for_as_long_as_aioice_refreshes_it(
    transport: str, seed: int
) -> None:
    lab = Lab(seed, nonce_s=1_000.0)
    peer = await lab.start()
    async with lab.allocated(transport=transport, channel_refresh_time=240) as (relayed, inbox):
        name = relayed.get_extra_info("sockname")
        for _ in range(40):  # longer than allocation, channel, permission and nonce last
            relayed.sendto(b"ping", PEER)
            assert await peer.receive() == (b"ping", name)
            peer.send(b"pong", name)
            assert await inbox.receive() == (b"pong", PEER)
            await asyncio.sleep(100)
    assert not lab.server.allocations


async def test_it_works_over_lossy_lines(seed: int) -> None:
    lab = Lab(seed)
    lab.router.outside.set_options(LineOptions(loss=0.1, jitter_s=0.02))
    peer = await lab.start()
    async with lab.allocated() as (relayed, _):
        for _ in range(100):
            relayed.sendto(b"ping", PEER)
            await asyncio.sleep(0.02)
        await asyncio.sleep(5)
        assert 70 < len(peer.received) < 100


async def test_two_relayed_clients_meet_without_udp_to_the_relay(seed: int) -> None:
    lab = Lab(seed, is_udp_blocked=True)
    await lab.start()
    async with (
        lab.allocated(transport="tcp") as (one, one_inbox),
        lab.allocated(transport="tcp") as (other, other_inbox),
    ):
        one_name, other_name = (each.get_extra_info("sockname") for each in (one, other))
        one.sendto(b"opens the way", other_name)
        other.sendto(b"opens it too", one_name)
        await asyncio.sleep(1)
        one_inbox.received.clear()
        other_inbox.received.clear()
        one.sendto(b"hello", other_name)
        assert await other_inbox.receive() == (b"hello", one_name)


async def test_a_wrong_password_is_refused(seed: int) -> None:
    lab = Lab(seed)
    await lab.start()
    for named in ({"password": "wrong"}, {"username": "nobody"}):
        with pytest.raises(TransactionFailed, match="401"):
            async with lab.allocated(**named):
                pass


async def test_a_user_has_a_quota(seed: int) -> None:
    lab = Lab(seed, allocations_per_user_max=2)
    await lab.start()
    async with lab.allocated():
        async with lab.allocated():
            with pytest.raises(TransactionFailed, match="486"):
                async with lab.allocated():
                    pass
        async with lab.allocated():
            pass


async def test_a_relay_that_failed_resets_who_uses_it_over_tcp(seed: int) -> None:
    lab = Lab(seed)
    await lab.start()
    async with lab.allocated(transport="tcp") as (relayed, inbox):
        lab.relay_host.crash()
        relayed.sendto(b"into the void", PEER)
        await asyncio.sleep(1)
        assert inbox.is_lost
    with pytest.raises(OSError, match="nobody listens"):
        async with lab.allocated(transport="tcp"):
            pass
    with pytest.raises(TransactionTimeout):
        async with lab.allocated():
            pass


async def test_a_box_that_rebinds_loses_the_allocation_and_aioice_notices_late(seed: int) -> None:
    lab = Lab(seed)
    peer = await lab.start()
    async with lab.allocated() as (relayed, inbox):
        relayed.sendto(b"before", PEER)
        assert await peer.receive() is not None
        lab.router.rebind()
        relayed.sendto(b"after", PEER)
        assert await peer.receive() is None
        assert not relayed._TurnTransport__inner_protocol.transport.is_closing()  # type: ignore[attr-defined]
        await asyncio.sleep(600)
        assert inbox.is_lost


# --- By hand ---


class Client:
    """Speaks to the relay from one socket, signing what it says."""

    def __init__(self, inbox: Inbox, server: tuple[str, int], password: str = PASSWORD) -> None:
        self.inbox = inbox
        self._server = server
        self._password = password
        self._nonce: bytes | None = None
        self._count = 0

    async def ask(self, method: Method, username: str = USER, **attributes: object) -> Message:
        named = {name.replace("_", "-"): value for name, value in attributes.items()}
        answer = await self._ask(method, username, named)
        if answer.error_code in (401, 438) and "NONCE" in answer.attributes:
            self._nonce = answer.attributes["NONCE"]
            answer = await self._ask(method, username, named)
        return answer

    async def _ask(self, method: Method, username: str, attributes: dict[str, Any]) -> Message:
        self._count += 1
        request = Message(method, Class.REQUEST, self._count.to_bytes(12, "big"), dict(attributes))
        self.key = md5(f"{username}:{REALM}:{self._password}".encode()).digest()
        if self._nonce is not None:
            request.attributes |= {"USERNAME": username, "REALM": REALM, "NONCE": self._nonce}
            request.add_message_integrity(self.key)
        self.inbox.send(bytes(request), self._server)
        found = await self.inbox.receive()
        assert found is not None
        answer = parse_message(found[0])
        assert answer.transaction_id == request.transaction_id
        return answer

    async def allocate(self, **attributes: object) -> Message:
        return await self.ask(
            Method.ALLOCATE, USER, REQUESTED_TRANSPORT=UDP_TRANSPORT, **attributes
        )

    def say(self, data: bytes, peer: SocketName) -> None:
        message = Message(Method.SEND, Class.INDICATION, b"x" * 12)
        message.attributes |= {"XOR-PEER-ADDRESS": peer, "DATA": data}
        self.inbox.send(bytes(message), self._server)


async def start(seed: int, **options: object) -> tuple[Lab, Inbox, Client]:
    lab = Lab(seed, is_udp_blocked=False, **options)
    peer = await lab.start()
    host = lab.internet.public_host("public client", PUBLIC)
    return lab, peer, Client(await open_inbox(host, (PUBLIC, 7_000)), lab.server.address)


async def test_send_and_data_indications_pass_only_with_a_permission(seed: int) -> None:
    lab, peer, client = await start(seed)
    answer = await client.allocate()
    assert answer.check_message_integrity(client.key)
    relayed = answer.attributes["XOR-RELAYED-ADDRESS"]
    client.say(b"too early", PEER)
    assert await peer.receive() is None
    peer.send(b"too early", relayed)
    assert await client.inbox.receive() is None
    granted = await client.ask(Method.CREATE_PERMISSION, XOR_PEER_ADDRESS=(PEER[0], 1))
    assert granted.message_class is Class.RESPONSE
    client.say(b"hello", PEER)
    assert await peer.receive() == (b"hello", relayed)
    peer.send(b"answer", relayed)
    found = await client.inbox.receive()
    assert found is not None
    indication = parse_message(found[0])
    assert indication.message_method is Method.DATA
    assert indication.attributes["DATA"] == b"answer"
    assert indication.attributes["XOR-PEER-ADDRESS"] == PEER
    await asyncio.sleep(300)
    client.say(b"too late", PEER)
    assert await peer.receive() is None
    assert lab.server.allocations


async def test_a_channel_belongs_to_one_peer_and_ends(seed: int) -> None:
    _, peer, client = await start(seed)
    relayed = (await client.allocate(LIFETIME=3_600)).attributes["XOR-RELAYED-ADDRESS"]

    async def bind(number: int, to: tuple[str, int]) -> int | None:
        answer = await client.ask(Method.CHANNEL_BIND, CHANNEL_NUMBER=number, XOR_PEER_ADDRESS=to)
        return answer.error_code

    assert await bind(0x4000, PEER) is None
    assert await bind(0x4000, PEER) is None
    assert await bind(0x4000, (PEER[0], 1)) == 400
    assert await bind(0x4001, PEER) == 400
    assert await bind(0x3FFF, PEER) == 400
    assert await bind(0x5000, PEER) == 400
    client.inbox.send(bytes.fromhex("4000 0005") + b"hello", (RELAY, 3_478))
    assert await peer.receive() == (b"hello", relayed)
    peer.send(b"there", relayed)
    found = await client.inbox.receive()
    assert found is not None
    assert found[0] == bytes.fromhex("4000 0005") + b"there"
    await asyncio.sleep(120)
    assert await bind(0x4000, PEER) is None
    await asyncio.sleep(601)
    client.inbox.send(bytes.fromhex("4000 0005") + b"hello", (RELAY, 3_478))
    assert await peer.receive() is None
    assert await bind(0x4001, PEER) is None


async def test_an_allocation_ends_unless_it_is_refreshed(seed: int) -> None:
    lab, _, client = await start(seed)
    answer = await client.allocate()
    assert answer.attributes["LIFETIME"] == 600
    await asyncio.sleep(590)
    assert len(lab.server.allocations) == 1
    refreshed = await client.ask(Method.REFRESH, LIFETIME=100_000)
    assert refreshed.attributes["LIFETIME"] == 3_600
    await asyncio.sleep(3_590)
    assert len(lab.server.allocations) == 1
    await asyncio.sleep(20)
    assert not lab.server.allocations
    assert (await client.ask(Method.REFRESH)).error_code == 437


async def test_requests_that_make_no_sense_are_refused(seed: int) -> None:
    lab, _, client = await start(seed, passwords={USER: PASSWORD, "other": PASSWORD})
    assert (await client.ask(Method.CREATE_PERMISSION)).error_code == 437
    assert (await client.ask(Method.ALLOCATE)).error_code == 400
    assert (await client.ask(Method.ALLOCATE, REQUESTED_TRANSPORT=6 << 24)).error_code == 442
    assert (await client.allocate()).error_code is None
    assert (await client.allocate()).error_code == 437
    assert (await client.ask(Method.CREATE_PERMISSION)).error_code == 400
    six = await client.ask(Method.CREATE_PERMISSION, XOR_PEER_ADDRESS=("2001:db8::9", 1))
    assert six.error_code == 443
    assert (await client.ask(Method.REFRESH, "other")).error_code == 441
    assert (await client.ask(Method.SHARED_SECRET)).error_code == 400
    assert (await client.ask(Method.BINDING)).attributes["XOR-MAPPED-ADDRESS"][0] == PUBLIC
    ended = await client.ask(Method.REFRESH, LIFETIME=0)
    assert ended.attributes["LIFETIME"] == 0
    assert not lab.server.allocations


async def test_a_repeated_request_gets_the_same_answer(seed: int) -> None:
    _, _, client = await start(seed)
    first = await client.allocate()
    client._count -= 1
    again = await client._ask(Method.ALLOCATE, USER, {"REQUESTED-TRANSPORT": UDP_TRANSPORT})
    relayed = again.attributes["XOR-RELAYED-ADDRESS"]
    assert relayed == first.attributes["XOR-RELAYED-ADDRESS"]


async def test_a_nonce_gets_stale(seed: int) -> None:
    _, _, client = await start(seed, nonce_s=60.0)
    assert (await client.allocate()).error_code is None
    await asyncio.sleep(61)
    stale = await client._ask(Method.REFRESH, USER, {})
    assert stale.error_code == 438
    assert (await client.ask(Method.REFRESH)).error_code is None
