"""A node stays with its rendezvous servers whatever else fails, and does not let them know it for long."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from adapters.simulation.internet.machine import NODE_PORT
from adapters.simulation.internet.nat import PORT_RESTRICTED
from adapters.simulation.internet.reproducible import reproducible_transport
from adapters.simulation.internet.router import UDP_BLOCKED
from domain.connectivity.close_codes import CloseCode
from domain.connectivity.nat import Mapping
from domain.errors import DialError
from domain.identifiers import DocumentId, PeerId
from domain.identity import DeviceKey
from domain.invite import Invite
from domain.limits import SERVERS_LEARNT_MAX
from node import Node, NodeConfig
from node.rendezvous import RECONNECT_S, REVIEW_S, UNUSED_S
from tests.adapters.simulation.internet.datagrams import until
from tests.adapters.simulation.internet.nat_lab import (
    LEFT,
    LISTEN,
    RENDEZVOUS,
    RIGHT,
    STUN,
    TURN,
    NatLab,
)

DAY_S = 600
SERVING = NodeConfig(listen=f"{RENDEZVOUS}:{NODE_PORT}", is_rendezvous=True)


@pytest.fixture(autouse=True)
async def _reproducible(seed: int) -> AsyncIterator[None]:
    with reproducible_transport(seed, asyncio.get_running_loop().time):
        yield


def is_linked(node: Node) -> bool:
    assert node._signalling is not None
    return any(each.is_server for each in node._signalling._links)


async def test_a_node_returns_to_its_rendezvous_though_no_stun_server_answers(seed: int) -> None:
    """UDP looks blocked then, and there is no relay."""
    lab = NatLab(seed)
    lab.house(LEFT, 1, PORT_RESTRICTED)
    await lab.stun.start()
    async with lab.node("rendezvous", SERVING) as server:
        via = (f"{server.peer_id}@{RENDEZVOUS}:{NODE_PORT}",)
        running = lab.node(LEFT, NodeConfig(listen=LISTEN, stun=(STUN,), via=via))
        left = await running.__aenter__()
        await until(lambda: is_linked(left))
        lab.stun.close()
        traversal = left.environment.traversal
        assert traversal is not None
        await until(lambda: traversal.nat.mapping is Mapping.BLOCKED)
    await until(lambda: not is_linked(left))
    async with lab.node("rendezvous", SERVING):
        async with asyncio.timeout(2 * RECONNECT_S[-1]):
            await until(lambda: is_linked(left))
        await running.__aexit__(None, None, None)


async def test_a_rendezvous_with_a_name_is_reached_by_the_relay_too(seed: int) -> None:
    lab = NatLab(seed)
    lab.house(LEFT, 1, PORT_RESTRICTED, UDP_BLOCKED)
    async with lab.servers() as server:
        config = NodeConfig(
            listen=LISTEN,
            turn=(f"turn:user:password@{TURN}",),
            via=(f"{server.peer_id}@rendezvous:{NODE_PORT}",),
        )
        async with lab.node(LEFT, config) as left, asyncio.timeout(20.0):
            await until(lambda: is_linked(left))


async def test_each_day_a_rendezvous_knows_a_node_by_another_name_and_none_is_missed(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The node is found all the time: the name of the day before stays until the new one serves."""
    monkeypatch.setattr("node.rendezvous.DAY_S", DAY_S)
    lab = NatLab(seed)
    lab.house(LEFT, 1, PORT_RESTRICTED)
    async with lab.servers() as server, lab.node(LEFT) as left:
        await left.create("shared")
        assert server._signalling is not None
        assert left._signalling is not None
        board, tags = server._signalling._board, set(left._signalling._own_tags())
        await until(lambda: tags <= board.tags)
        names, lasting = set[PeerId](), list[set[bytes]]()
        for _ in range(3 * DAY_S):
            await asyncio.sleep(1.0)
            names.update(each.connection.peer for each in board._tags)
            assert tags <= board.tags
            lasting += [set(each) - tags for each in board._tags.values()]
        assert 3 <= len(names) <= 4
        assert left.peer_id not in names
        replies = {frozenset(each) for each in lasting if each}
        assert len(replies) == len(names)  # nor do the tags for answers stay
        assert len(board._tags) == 1


def greedy_invite(number: int) -> str:
    """An invite by nobody, which names many rendezvous servers, also of other managers."""
    key = DeviceKey(bytes([number]) * 32)
    servers = [
        f"{DeviceKey(bytes([number, each]) * 16).peer}@198.51.100.{100 + each}:1"
        for each in range(2 * SERVERS_LEARNT_MAX)
    ]
    return Invite(
        document=DocumentId(bytes(32)),
        name="",
        inviter=key.peer,
        expires_us=2**60,
        key=key,
        addresses=tuple(servers[:9]),
        others=((DeviceKey(bytes([number, 99]) * 16).peer, tuple(servers[9:])),),
    ).encode(key)


async def test_invites_that_name_many_rendezvous_keep_no_other_from_being_used(seed: int) -> None:
    """They take no place of those that are configured, nor of those that lead to members, and give theirs up soon."""
    lab = NatLab(seed)
    lab.house(LEFT, 1, PORT_RESTRICTED)
    lab.house(RIGHT, 2, PORT_RESTRICTED)
    async with lab.servers(), lab.node(RIGHT) as right:
        await asyncio.sleep(5.0)
        founded = await right.create("shared")
        invite = await founded.invite()
        own = f"{DeviceKey(bytes([7]) * 32).peer}@198.51.100.99:1"
        async with lab.node(LEFT, NodeConfig(listen=LISTEN, via=(own,))) as left:
            assert left._signalling is not None
            rendezvous = left._signalling.rendezvous
            for number in (1, 2):
                with pytest.raises(DialError):
                    await left.join(greedy_invite(number))
            await (await left.join(invite)).synced()
            with pytest.raises(DialError):
                await left.join(greedy_invite(3))
            used = set(map(str, rendezvous.servers))
            assert {own, *lab.via} <= used
            assert len(used) <= SERVERS_LEARNT_MAX + 1
            await asyncio.sleep(UNUSED_S + 2 * REVIEW_S)
            assert set(map(str, rendezvous.servers)) == {own, *lab.via}


@pytest.mark.parametrize(
    ("code", "least", "most"), [(CloseCode.INTERNAL_ERROR, 4, 12), (CloseCode.RESOURCES, 1, 3)]
)
async def test_a_rendezvous_that_ends_every_connection_is_not_dialled_without_a_pause(
    code: CloseCode, least: int, most: int, seed: int
) -> None:
    """As one does that has too many: all whom it turns away would come back at once."""
    lab = NatLab(seed)
    lab.house(LEFT, 1, PORT_RESTRICTED)
    async with lab.stranger("rendezvous") as network:
        via = (f"{lab.world.machine('rendezvous').key.peer}@{RENDEZVOUS}:{NODE_PORT}",)
        came = list[float]()
        async with lab.node(LEFT, NodeConfig(listen=LISTEN, via=via)) as left:
            with suppress(TimeoutError):
                async with asyncio.timeout(60.0):
                    while True:
                        (await network.accept()).close(code, "the test")
                        came.append(lab.loop.time())
            served = await network.accept()
            await until(lambda: is_linked(left))
            assert least <= len(came) <= most
            await asyncio.sleep(60.0)
            served.close(CloseCode.SHUTTING_DOWN, "")
            lost_at = lab.loop.time()
            await network.accept()
            assert lab.loop.time() - lost_at < 2 * RECONNECT_S[0]
