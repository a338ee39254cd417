"""Joining in odd circumstances: twice at once, after a removal, while a disk is full, where managers have changed."""

import asyncio

import pytest

from domain.errors import InviteError, NetworkError
from domain.operations.control import Role
from node import Node
from node.simulation import NodeNetwork

LONG_S = 8_000.0


async def crash_after_admitting(alice: Node, dave: Node, network: NodeNetwork) -> None:
    """Let a manager let somebody in, and lose power before it has given any secret."""
    document = next(iter(alice.owners()))
    document.courier.due = lambda _: float("inf")  # type: ignore[method-assign,assignment]
    while dave.peer_id not in document.document.ledger.membership.members():  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    await asyncio.sleep(1)
    await network.crash("alice")


def test_who_may_only_pull_gives_no_secret(seed: int) -> None:
    network = NodeNetwork(seed)

    async def scenario() -> None:
        async with (
            network.node("alice") as alice,
            network.node("bob") as bob,
            network.node("dave") as dave,
        ):
            document = await alice.create("notes")
            copy = await bob.join(await document.invite())
            copy.text("body").insert(0, "before")
            await network.converged()
            await document.set_role(bob.peer_id, "pull")
            await network.converged()
            joining = asyncio.create_task(dave.join(await document.invite(role="read")))
            await crash_after_admitting(alice, dave, network)
            await asyncio.sleep(300)
            assert not copy._owner.is_closed
            joining.cancel()
            bob = await network.restart("bob")  # noqa: PLW2901 - the same, later
            assert not bob._documents.damaged
            assert [info.role for info in bob.documents()] == [Role.PULL]

    network.run(scenario)


def test_who_was_removed_keeps_its_copy_when_joining_again_fails(seed: int) -> None:
    network = NodeNetwork(seed)

    async def scenario() -> None:
        async with network.node("alice") as alice, network.node("bob") as bob:
            document = await alice.create("notes")
            copy = await bob.join(await document.invite())
            copy.text("body").insert(0, "my work")
            await network.converged()
            await document.remove(bob.peer_id)
            await copy.wait_until(lambda: copy.role is None)
            invite = await document.invite()
            await document.revoke(invite)
            with pytest.raises(InviteError):
                await bob.join(invite)
            assert [info.name for info in bob.documents()] == ["notes"]
            assert str(copy.text("body")) == "my work"
            assert (await bob.join(await document.invite())).role is not None

    network.run(scenario)


@pytest.mark.parametrize("cancelled_after_s", [None, 0.0, 0.001, 1.0])
def test_who_cannot_reach_the_inviter_has_no_document_and_joins_later(
    seed: int, cancelled_after_s: float | None
) -> None:
    network = NodeNetwork(seed)

    async def scenario() -> None:
        async with network.node("bob") as bob:
            async with network.node("alice") as alice:
                document = await alice.create("notes")
                invite = await document.invite()
            joining = asyncio.create_task(bob.join(invite))
            if cancelled_after_s is not None:
                await asyncio.sleep(cancelled_after_s)
                joining.cancel()
            with pytest.raises((NetworkError, asyncio.CancelledError)):
                await joining
            assert not bob.documents()
            assert not await bob.environment.store.documents()
            await network.restart("alice")
            assert (await bob.join(invite)).role is not None
            await network.converged()

    network.run(scenario)


def test_who_asks_over_a_connection_that_gives_way_to_another_gets_in() -> None:
    """The inviter, too, dials who has just left: under this seed, so that the two dials cross."""
    network = NodeNetwork(75)

    async def scenario() -> None:
        async with network.node("alice") as alice, network.node("bob") as bob:
            document = await alice.create("notes")
            await bob.join(await (await alice.create("other")).invite())
            for _ in range(6):
                copy = await bob.join(await document.invite())
                await copy.durable("peers:1")
                await bob.forget(copy.id)

    network.run(scenario)


def test_who_joins_twice_at_once_joins_once(seed: int) -> None:
    network = NodeNetwork(seed)

    async def scenario() -> None:
        async with network.node("alice") as alice, network.node("bob") as bob:
            other = await alice.create("other")
            await bob.join(await other.invite())  # they are connected
            document = await alice.create("notes")
            invite = await document.invite(uses=5)
            one, two = await asyncio.gather(bob.join(invite), bob.join(invite))
            one.text("body").insert(0, "bob")
            await two.durable("peers:1")
            assert str(document.text("body")) == "bob"
            assert not bob._documents._joining

    network.run(scenario)


def test_who_asks_again_while_the_disk_of_the_inviter_is_full_gets_in(seed: int) -> None:
    network = NodeNetwork(seed)

    async def scenario() -> None:
        async with network.node("alice") as alice, network.node("bob") as bob:
            document = await alice.create("notes")
            await document.durable()
            invite = await document.invite(uses=1)
            network.fill_disk("alice")
            joining = asyncio.create_task(bob.join(invite))
            await asyncio.sleep(2)
            network.break_connections("alice", "bob")
            await asyncio.gather(joining, return_exceptions=True)
            joining = asyncio.create_task(bob.join(invite))
            await asyncio.sleep(1.2)
            network.mend_disk("alice")
            assert (await joining).role is not None
            await network.converged()

    network.run(scenario)


def test_who_asks_again_while_its_code_is_confirmed_gets_in(seed: int) -> None:
    network = NodeNetwork(seed)

    async def scenario() -> None:
        async with network.node("alice") as alice, network.node("bob") as bob:
            document = await alice.create("notes")
            await document.durable()
            invite = await document.invite(uses=5, confirm=True)
            joining = asyncio.create_task(bob.join(invite))
            await asyncio.sleep(2)
            network.fill_disk("alice")
            [code] = alice.waiting(document._owner).values()
            confirming = asyncio.create_task(document.confirm(code))
            await asyncio.sleep(0.1)
            network.break_connections("alice", "bob")
            await asyncio.gather(joining, return_exceptions=True)
            joining = asyncio.create_task(bob.join(invite))
            await asyncio.sleep(1.1)
            network.mend_disk("alice")
            await confirming
            async with asyncio.timeout(30):
                assert (await joining).role is not None

    network.run(scenario)


def test_who_is_refused_by_the_one_and_cannot_reach_the_other_hears_of_it_soon(seed: int) -> None:
    network = NodeNetwork(seed, virtual_s_max=LONG_S)

    async def scenario() -> None:
        async with (
            network.node("ada") as ada,
            network.node("bob") as bob,
            network.node("eve") as eve,
        ):
            other = await ada.create("other")
            await eve.join(await other.invite())
            document = await ada.create("notes")
            copy = await bob.join(await document.invite(role="manage"))
            await network.converged()
            ada.peers.want(bob.peer_id, bob.addresses)
            invite = await document.invite()
            await network.converged(document, copy)
            await copy.set_role(ada.peer_id, "write")
            await document.wait_until(lambda: document.role is Role.WRITE)
            await network.converged(document, copy)
            await network.crash("bob")
            with pytest.raises((InviteError, NetworkError)):
                async with asyncio.timeout(100):
                    await eve.join(invite)

    network.run(scenario)


def test_joining_through_a_manager_who_is_not_the_founder(seed: int) -> None:
    network = NodeNetwork(seed)

    async def scenario() -> None:
        async with (
            network.node("ada") as ada,
            network.node("bob") as bob,
            network.node("eve") as eve,
        ):
            network.set_link(delay_s=0.01, bytes_per_s=200_000)
            founded = await ada.create("notes")
            for _ in range(100):
                founded.text("body").insert(0, "x")
                await asyncio.sleep(0.025)
            managed = await bob.join(await founded.invite(role="manage"))
            await network.converged(founded, managed)
            async with asyncio.timeout(30):
                joined = await eve.join(await managed.invite())
            await network.converged(founded, managed, joined)

    network.run(scenario)


def test_who_was_removed_while_away_hears_of_it_on_return(seed: int) -> None:
    network = NodeNetwork(seed)

    async def scenario() -> None:
        async with network.node("alice") as alice, network.node("bob") as bob:
            document = await alice.create("notes")
            await bob.join(await document.invite())
            await network.converged()
            host = network._now.find("bob")
            await host.stop()
            await document.remove(bob.peer_id)
            copy = await (await host.start()).document(document.id)
            async with asyncio.timeout(30):
                await copy.wait_until(lambda: copy.role is None)

    network.run(scenario)


@pytest.mark.parametrize("pause_s", [0, 200])
@pytest.mark.parametrize("has_left", [True, False])
def test_who_forgot_a_document_joins_it_again_at_once(
    seed: int, has_left: bool, pause_s: float
) -> None:
    """What was said about it on that connection is forgotten on one side alone."""
    network = NodeNetwork(seed)

    async def scenario() -> None:
        async with network.node("alice") as alice, network.node("bob") as bob:
            document = await alice.create("notes")
            other = await bob.join(await (await alice.create("other")).invite())
            for turn in range(3):
                copy = await bob.join(await document.invite())
                copy.text("body").insert(0, f"{turn} ")
                await copy.durable("peers:1")
                document.text("body").insert(0, "answered ")
                await document.durable("peers:1")
                if has_left:
                    await copy.leave()
                    await document.wait_until(lambda: bob.peer_id not in document.members())
                else:
                    await bob.forget(copy.id)
                await asyncio.sleep(pause_s)
                if has_left:
                    await bob.forget(document.id)
            assert sorted(str(document.text("body")).split()) == ["0", "1", "2", *["answered"] * 3]
            other.text("body").insert(0, "on")
            await other.durable("peers:1")
            assert alice.statistics().security_count == bob.statistics().security_count == 0

    network.run(scenario)


def test_who_joins_while_the_inviter_falls_silent_asks_another_manager_soon(seed: int) -> None:
    network = NodeNetwork(seed)

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        async with (
            network.node("alice") as alice,
            network.node("carol") as carol,
            network.node("dave") as dave,
        ):
            document = await alice.create("notes")
            await carol.join(await document.invite(role="manage"))
            invite = await document.invite()
            await network.converged()
            alice.owners()[0].courier.due = lambda _: float("inf")  # type: ignore[method-assign,assignment]
            joining = asyncio.create_task(dave.join(invite))
            while dave.peer_id not in {link.peer for link in alice.peers.links()}:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
            await network.crash("alice")
            began = loop.time()
            copy = await joining
            assert loop.time() - began < 25.0  # and not only once the connection has ended
            assert copy.role is not None

    network.run(scenario)


def test_who_joins_while_the_line_is_down_gets_in_once_it_is_back(seed: int) -> None:
    network = NodeNetwork(seed)

    async def scenario() -> None:
        async with network.node("alice") as alice, network.node("dave") as dave:
            document = await alice.create("notes")
            joining = asyncio.create_task(dave.join(await document.invite()))
            while not dave.peers.links():  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0.001)
            network.partition("alice", "dave")
            await asyncio.sleep(25)
            network.heal()
            assert (await joining).role is not None

    network.run(scenario)


def test_who_joins_again_right_after_leaving_gets_in_soon(seed: int) -> None:
    """It asks before the inviter has heard that it left."""

    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        network.set_link(delay_s=0.05, jitter_s=0.1)
        async with network.node("alice") as alice, network.node("bob") as bob:
            document = await alice.create("notes")
            await bob.join(await (await alice.create("other")).invite())
            for _ in range(4):
                copy = await bob.join(await document.invite())
                await network.converged()
                invite = await document.invite()
                await copy.leave()
                began = loop.time()
                again = await bob.join(invite)
                assert loop.time() - began < 10.0
                assert again.role is not None
                await network.converged()
                await again.leave()
                await document.wait_until(lambda: bob.peer_id not in document.members())

    for number in range(5):
        network = NodeNetwork(seed + number)
        network.run(scenario)


def test_who_reaches_only_a_manager_that_has_not_heard_of_the_invite_can_try_again(
    seed: int,
) -> None:
    network = NodeNetwork(seed)

    async def scenario() -> None:
        async with (
            network.node("alice") as alice,
            network.node("carol") as carol,
            network.node("dave") as dave,
        ):
            document = await alice.create("notes")
            await carol.join(await document.invite(role="manage"))
            await network.converged()
            network.partition("alice")
            invite = await document.invite()
            with pytest.raises(NetworkError):
                await dave.join(invite)
            network.heal()
            assert (await dave.join(invite)).role is not None

    network.run(scenario)
