"""Where a peer is, is on disk before anything depends on it."""

import asyncio
from contextlib import suppress

import pytest

from domain.errors import CulmError
from domain.identifiers import PeerId
from node import Node
from node.simulation import NodeNetwork


def is_member(node: Node) -> bool:
    return any(owner.document.role is not None for owner in node.owners())


def remembered(network: NodeNetwork, name: str) -> set[PeerId]:
    """Tell of whom a machine has addresses on its disk."""
    peers = network._now.find(name).machine.disk.content.peers
    return {peer for peer, record in peers.items() if record.addresses}


def test_a_crash_in_the_middle_of_joining_does_not_lose_the_way_to_the_inviter(seed: int) -> None:
    network = NodeNetwork(seed)

    async def scenario() -> None:
        async with network.node("alice") as alice_node, network.node("bob") as bob_node:
            alice = await alice_node.create("notes")
            joining = asyncio.create_task(bob_node.join(await alice.invite()))
            while not is_member(bob_node):  # noqa: ASYNC110 - nothing tells of it before `join` returns
                await asyncio.sleep(0.0002)
            assert not joining.done()
            await network.crash("bob")
            with suppress(CulmError, asyncio.CancelledError):
                await joining
            assert remembered(network, "bob") == {alice_node.peer_id}

    network.run(scenario)


def test_who_has_joined_already_can_be_told_again_where_the_inviter_is(seed: int) -> None:
    network = NodeNetwork(seed)

    async def scenario() -> None:
        async with network.node("alice") as alice_node, network.node("bob") as bob_node:
            alice = await alice_node.create("notes")
            invite = await alice.invite()
            await bob_node.join(invite)
            await network.crash("alice")
            await network.crash("bob")
            for name in ("alice", "bob"):
                network._now.find(name).machine.disk.content.peers.clear()
            alice = await (await network.restart("alice")).document(alice.id)
            alice.text("body").insert(0, "begun")
            bob = await (await network.restart("bob")).join(invite)
            await network.converged(alice, bob)
            assert str(bob.text("body")) == "begun"

    network.run(scenario)


@pytest.mark.parametrize("after_writes", range(8))
def test_a_full_disk_does_not_make_a_node_forget_where_its_peers_are(
    seed: int, after_writes: int
) -> None:
    network = NodeNetwork(seed)

    async def scenario() -> None:
        async with network.node("alice") as alice_node, network.node("bob") as bob_node:
            alice = await alice_node.create("notes")
            invite = await alice.invite()
            disk = network._now.find("alice").machine.disk
            disk.fill(after_writes=after_writes)
            joining = asyncio.create_task(bob_node.join(invite))
            await asyncio.sleep(5)
            disk.mend()
            await network.converged(alice, await joining)
            async with asyncio.timeout(5):
                while remembered(network, "alice") != {bob_node.peer_id}:  # noqa: ASYNC110
                    await asyncio.sleep(0.1)

    network.run(scenario)
