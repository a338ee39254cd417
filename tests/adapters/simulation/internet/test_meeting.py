"""What two nodes behind boxes need to meet, what the one in between learns, and what each network is said to be."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from adapters.simulation.internet.nat import PORT_RESTRICTED
from adapters.simulation.internet.reproducible import reproducible_transport
from adapters.simulation.internet.router import UDP_BLOCKED
from domain.connectivity.signal import Signal, encode_signal
from node import NodeConfig
from node.signalling import Signalling, SignalLink
from tests.adapters.simulation.internet.datagrams import until
from tests.adapters.simulation.internet.nat_lab import LEFT, LISTEN, RIGHT, TYPES, NatLab

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


@pytest.mark.parametrize("name", [*TYPES, "udp-blocked", "public"])
async def test_the_doctor_names_the_network(name: str, seed: int) -> None:
    lab = NatLab(seed)
    if name == "public":
        lab.internet.public_host(LEFT, "198.51.100.77")
    elif name == "udp-blocked":
        lab.house(LEFT, 1, PORT_RESTRICTED, UDP_BLOCKED)
    else:
        lab.house(LEFT, 1, TYPES[name])
    async with lab.servers(), lab.node(LEFT) as node:
        codes = {each.code for each in await node.doctor()}
    expected = {"udp-blocked": "udp-blocked", "public": "nat-none"}.get(name, f"nat-{name}")
    assert expected in codes
    assert {"turn-works", "rendezvous-works"} <= codes
    assert ("stun-works" in codes) == (name != "udp-blocked")
