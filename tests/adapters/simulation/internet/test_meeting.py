"""What two nodes behind boxes need to meet, what the one in between learns, and what each network is said to be."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import pytest

from adapters.simulation.internet.internet import PacketEvent, PacketFate
from adapters.simulation.internet.machine import NODE_PORT
from adapters.simulation.internet.nat import PORT_RESTRICTED, SYMMETRIC
from adapters.simulation.internet.reproducible import reproducible_transport
from adapters.simulation.internet.router import UDP_BLOCKED
from domain.connectivity.meeting import HOUR_S, rendezvous_tag
from domain.connectivity.signal import Signal, encode_signal
from domain.limits import OLD_KEY_S, SIGNAL_ROUTES_MAX
from domain.operations.control import Remove
from domain.operations.kind import Kind
from node import NodeConfig
from node.signal_link import SignalLink
from node.signalling import REGISTER_S, REGISTER_S_MIN, Signalling
from tests.adapters.simulation.internet.datagrams import until
from tests.adapters.simulation.internet.nat_lab import (
    LEFT,
    LISTEN,
    RENDEZVOUS,
    RIGHT,
    STUN,
    TURN,
    TYPES,
    NatLab,
)
from tests.node.reconnecting import until_joined

FIRST_SYNC_S_MAX = 7.0


@pytest.fixture(autouse=True)
async def _reproducible(seed: int) -> AsyncIterator[None]:
    with reproducible_transport(seed, asyncio.get_running_loop().time):
        yield


def two_houses(seed: int) -> NatLab:
    lab = NatLab(seed)
    lab.house(LEFT, 1, PORT_RESTRICTED)
    lab.house(RIGHT, 2, PORT_RESTRICTED)
    return lab


async def test_an_invite_is_all_that_a_joiner_needs(seed: int) -> None:
    """Where the invite is pasted no server is configured, and both boxes let in nobody unasked."""
    lab = two_houses(seed)
    async with lab.servers(), lab.node(RIGHT) as right:
        await asyncio.sleep(5.0)
        founded = await right.create("shared")
        founded.text("body").insert(0, "founded ")
        invite = await founded.invite(uses=1, expires_s=1_000)
        async with lab.node(LEFT, NodeConfig(listen=LISTEN)) as left:
            started = lab.loop.time()
            joined = await left.join(invite)
            await until(lambda: "founded" in str(joined.text("body")))
            assert lab.loop.time() - started < FIRST_SYNC_S_MAX
            assert left.environment.traversal is not None
            assert left.environment.traversal.is_relayed(right.peer_id) is False


async def test_a_rendezvous_learns_neither_document_nor_text_nor_who_they_are(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab, seen, showing = two_houses(seed), list[bytes](), list[bytes]()
    take: Callable[[Signalling, SignalLink, Signal], None] = Signalling._take

    def note(signalling: Signalling, link: SignalLink, signal: Signal) -> None:
        if signalling._serves_anybody:
            seen.append(encode_signal(signal))
            showing.append(bytes(link.connection.peer))
        take(signalling, link, signal)

    monkeypatch.setattr(Signalling, "_take", note)
    async with lab.pair() as meeting:
        await meeting.edit(0, "a secret line ")
        left, right = meeting.nodes
        document = meeting.documents[0].id
    everything = b"".join(seen)
    assert len(seen) >= 4
    for secret in (
        bytes(document),
        b"founded",
        b"secret",
        bytes(left.peer_id),
        bytes(right.peer_id),
    ):
        assert secret not in everything
    assert {bytes(left.peer_id), bytes(right.peer_id)}.isdisjoint(showing)


async def test_members_tell_each_other_how_they_are_found(seed: int) -> None:
    """Also who became one on a connection that was there before."""
    lab = two_houses(seed)
    async with lab.pair() as meeting:
        await asyncio.sleep(REGISTER_S + 2 * REGISTER_S_MIN)  # a secret may come later
        for node, other in (meeting.nodes, meeting.nodes[::-1]):
            assert node._signalling is not None
            links = [
                each for each in node._signalling._links if each.connection.peer == other.peer_id
            ]
            assert links
            assert all(set(each.told) > set(node._signalling._own_tags()) for each in links)


async def test_two_who_have_other_peers_meet_again_after_the_rendezvous_has_restarted(
    seed: int,
) -> None:
    """Each has four connections that are older than the new one to the rendezvous, to peers that know nobody."""
    lab = two_houses(seed)
    await lab.stun.start()
    await lab.turn.start()
    serving = NodeConfig(listen=f"{RENDEZVOUS}:{NODE_PORT}", is_rendezvous=True)
    async with AsyncExitStack() as stack:
        async with lab.node("rendezvous", serving) as server:
            lab.via = (f"{server.peer_id}@{RENDEZVOUS}:{NODE_PORT}",)
            pair = [await stack.enter_async_context(lab.node(each)) for each in (RIGHT, LEFT)]
            right, left = pair
            for number in range(2 * SIGNAL_ROUTES_MAX):
                name = f"peer {number}"
                lab.internet.public_host(name, f"198.51.100.{60 + number}")
                peer = await stack.enter_async_context(lab.node(name, NodeConfig(listen=LISTEN)))
                founded = await pair[number % 2].create("other")
                await (await peer.join(await founded.invite())).synced()
            shared = await right.create("shared")
            await (await left.join(await shared.invite())).synced()
        async with lab.node("rendezvous", serving):
            await asyncio.sleep(30.0)
            for node, other in ((left, right), (right, left)):
                known = node.peers.known[other.peer_id]
                if known.link is not None:
                    known.link.connection.close(0, "the test")
                known.addresses = ()
            await asyncio.sleep(1.0)
            async with asyncio.timeout(30.0):
                await until(lambda: right.peers.known[left.peer_id].link is not None)
    lab.turn.close()
    lab.stun.close()


async def test_who_only_answers_offers_no_port_of_a_relay_that_has_restarted(seed: int) -> None:
    """The relay has forgotten the port, and says so only when it is asked."""
    lab = NatLab(seed)
    lab.house(LEFT, 1, SYMMETRIC)
    lab.house(RIGHT, 2, PORT_RESTRICTED)
    async with lab.servers(), lab.node(LEFT) as left:
        without_relay = NodeConfig(listen=LISTEN, stun=(STUN,), via=lab.via)
        founded = await left.create("shared")
        async with lab.node(RIGHT, without_relay) as right:
            await (await right.join(await founded.invite())).synced()
        await asyncio.sleep(20.0)
        left.peers.known[right.peer_id].is_wanted = False  # so that it is right who begins
        lab.turn.close()
        await lab.turn.start()
        async with lab.node(RIGHT, without_relay) as right, asyncio.timeout(20.0):
            await until(lambda: right.peers.known[left.peer_id].link is not None)


async def test_no_server_is_sent_anything_lasting_in_clear(seed: int) -> None:
    """Everything that the rendezvous, the STUN server and the relay are sent or send, as it is on the wire."""
    lab = NatLab(seed)
    lab.house(LEFT, 1, SYMMETRIC)
    lab.house(RIGHT, 2, SYMMETRIC)
    captured: dict[str, bytearray] = {each: bytearray() for each in (RENDEZVOUS, STUN, TURN)}

    def capture(event: PacketEvent) -> None:
        packet = event.packet
        if event.fate is PacketFate.SENT:
            for end in (packet.source, packet.destination):
                if end[0] in captured:
                    captured[end[0]] += packet.payload

    lab.internet.report = capture
    async with lab.pair() as meeting:
        assert meeting.path == "relayed"
        await meeting.edit(0, "a secret line ")
        keyring = meeting.documents[0]._owner.document.keyring
        lasting = [
            bytes(meeting.documents[0].id),
            *(bytes(each.peer_id) for each in meeting.nodes),
            *map(bytes, keyring.secrets),
            *keyring.discovery_keys.values(),
        ]
    for server, seen in captured.items():
        assert len(seen) > 100, server
        for secret in (b"founded", b"secret", b"shared", *lasting):
            assert secret not in seen
            assert secret.hex().encode() not in seen


@pytest.mark.slow
async def test_who_was_away_is_found_and_who_was_removed_finds_nobody(seed: int) -> None:
    """Bob is away while Eve is removed: he goes by the old key, as she does, but he is looked for."""
    lab = NatLab(seed)
    lab.house(LEFT, 1, SYMMETRIC)  # so that what Ada remembers of Bob does not lead to him
    lab.house(RIGHT, 2, PORT_RESTRICTED)
    lab.house("third", 3, PORT_RESTRICTED)
    async with lab.servers() as server, lab.node(RIGHT) as ada:
        founded = await ada.create("shared")
        founded.text("body").insert(0, "founded ")
        async with lab.node("third") as eve, lab.node(LEFT) as bob:
            for guest in (eve, bob):
                await (await guest.join(await founded.invite(expires_s=60))).synced()
        await founded._owner.write(Kind.REMOVE, Remove(member=eve.peer_id))
        founded.text("body").insert(0, "without Eve ")
        await founded.durable()
        known = eve._documents.get(founded.id).document.keyring.discovery_keys.values()
        await asyncio.sleep(OLD_KEY_S + REGISTER_S + 1.0)
        hour = lab.world.machine(RIGHT).clock.timestamp_us() // 1_000_000 // HOUR_S
        traces = {
            rendezvous_tag(key, ada.peer_id, hour=each)
            for key in known
            for each in range(hour - 3, hour + 3)
        }
        assert server._signalling is not None
        assert len(server._signalling._board.tags) > 3  # Ada is found there
        assert traces
        assert traces.isdisjoint(server._signalling._board.tags)
        async with lab.node(LEFT) as bob:
            document = await bob.document(founded.id)
            await until(lambda: "without Eve" in str(document.text("body")))


@pytest.mark.parametrize("pause_s", [0.0, 10.0])
@pytest.mark.parametrize("name", [*TYPES, "udp-blocked", "public"])
async def test_the_doctor_names_the_network(name: str, pause_s: float, seed: int) -> None:
    """Also where the node has looked around before: a box lets through who was sent something since."""
    lab = NatLab(seed)
    if name == "public":
        lab.internet.public_host(LEFT, "198.51.100.77")
    elif name == "udp-blocked":
        lab.house(LEFT, 1, PORT_RESTRICTED, UDP_BLOCKED)
    else:
        lab.house(LEFT, 1, TYPES[name])
    async with lab.servers(), lab.node(LEFT) as node:
        await asyncio.sleep(pause_s)
        codes = {each.code for each in await node.doctor()}
    expected = {"udp-blocked": "udp-blocked", "public": "nat-none"}.get(name, f"nat-{name}")
    assert expected in codes
    assert {"turn-works", "rendezvous-works"} <= codes
    assert ("stun-works" in codes) == (name != "udp-blocked")


async def test_members_who_know_no_address_of_each_other_meet_once_a_third_is_here(
    seed: int,
) -> None:
    """After a start nobody is there who could hand on an offer, and nothing is known but who is a member."""
    lab = two_houses(seed)
    lab.internet.public_host("hub", "198.51.100.60")
    await lab.stun.start()
    async with lab.node("hub") as hub:
        shared = await hub.create("shared")
        for name in (LEFT, RIGHT):
            async with lab.node(name) as joiner:
                await (await joiner.join(await shared.invite())).synced()
        async with lab.node(LEFT):  # learns that there is another member by now
            await asyncio.sleep(30.0)
        async with lab.node(LEFT) as left, lab.node(RIGHT) as right:
            assert not left.peers.known[right.peer_id].addresses
            await until_joined(left, right, 20.0)
    lab.stun.close()


async def test_members_meet_at_the_rendezvous_of_a_third_who_is_away(seed: int) -> None:
    """It is known by the address of that third alone, and they know no address of each other."""
    lab = two_houses(seed)
    lab.internet.public_host("hub", "198.51.100.60")
    told_nothing = NodeConfig(listen=LISTEN)
    async with lab.servers():
        async with lab.node("hub") as hub:
            shared = await hub.create("shared")
            for name in (LEFT, RIGHT):
                async with lab.node(name, told_nothing) as joiner:
                    await (await joiner.join(await shared.invite())).synced()
            async with lab.node(LEFT, told_nothing):  # learns that there is another member by now
                await asyncio.sleep(30.0)
        async with lab.node(LEFT, told_nothing) as left, lab.node(RIGHT, told_nothing) as right:
            assert not left.peers.known[right.peer_id].addresses
            assert not right.peers.known[left.peer_id].addresses
            await until_joined(left, right, 20.0)
