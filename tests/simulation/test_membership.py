"""Whole nodes whose members change: removed under a partition, demoted, leaving, lost and added again."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

import pytest

from domain.errors import InviteError, NotPermittedError, RefusedEditsError, UsageError
from domain.events import DocumentReloaded, EditsRefused, MemberRemoved, RoleChanged
from domain.operations.control import Role
from node import Document, Node
from node.simulation import NodeNetwork

NAMES = ("alice", "bob", "carol")


class Circle:
    """Nodes that share a document: `alice` founded it, the others joined."""

    def __init__(self, network: NodeNetwork) -> None:
        self.network = network
        self.nodes: dict[str, Node] = {}
        self.documents: dict[str, Document] = {}

    async def open(self, stack: AsyncExitStack, names: tuple[str, ...]) -> None:
        for name in names:
            self.nodes[name] = await stack.enter_async_context(self.network.node(name))
        self.documents["alice"] = await self.nodes["alice"].create("notes")
        for name in names[1:]:
            await self.join(name)
        await self.network.converged()

    async def join(self, name: str, role: str = "write") -> None:
        invite = await self.documents["alice"].invite(role=role)
        self.documents[name] = await self.nodes[name].join(invite)
        await self.documents[name].synced()

    def __getitem__(self, name: str) -> Document:
        return self.documents[name]

    def peer(self, name: str) -> str:
        return str(self.nodes[name].peer_id)

    async def until(self, name: str, condition: Callable[[Document], bool]) -> None:
        document = self.documents[name]
        async with asyncio.timeout(60):
            await document.wait_until(lambda: condition(document))


def play(
    seed: int, story: Callable[[Circle], Awaitable[None]], names: tuple[str, ...] = NAMES
) -> None:
    network = NodeNetwork(seed)

    async def scenario() -> None:
        async with AsyncExitStack() as stack:
            circle = Circle(network)
            await circle.open(stack, names)
            await story(circle)

    network.run(scenario)


def text(document: Document) -> str:
    return str(document.text("body"))


def test_what_the_removed_wrote_behind_a_partition_counts_nowhere(seed: int) -> None:
    async def story(circle: Circle) -> None:
        alice, bob, carol = (circle[name] for name in NAMES)
        alice.text("body").insert(0, "one ")
        await circle.network.converged()
        circle.network.partition("bob")
        bob.text("body").insert(4, "void ")
        await bob.durable()
        await alice.remove(circle.peer("bob"))
        await circle.until("carol", lambda each: len(each.members()) == 2)
        carol.text("body").insert(4, "two")
        circle.network.heal()
        await circle.until("bob", lambda each: each.role is None)
        await circle.network.converged(alice, carol)
        assert text(alice) == text(carol) == "one two"
        assert "void" not in text(bob)
        assert [each.void_count for each in (alice, bob, carol)] == [0, 1, 0]
        await circle.network.quiet()

    play(seed, story)


def test_what_a_reader_wrote_before_it_heard_of_that_is_void_when_it_goes(seed: int) -> None:
    """A mirror looks at the count to know why a text is gone: it has to grow no later than the text goes."""

    async def story(circle: Circle) -> None:
        alice, bob = circle["alice"], circle["bob"]
        circle.network.partition("bob")
        bob.text("body").insert(0, "void ")
        await bob.durable()
        assert bob.void_count == 0
        await alice.set_role(circle.peer("bob"), "read")
        circle.network.heal()
        await circle.until("bob", lambda each: each.void_count > 0 or not text(each))
        assert bob.void_count == 1
        await circle.until("bob", lambda each: not text(each))
        await circle.network.converged()
        assert (alice.void_count, bob.void_count) == (0, 1)

    play(seed, story)


def test_honest_text_within_removed_text_stays_on_every_replica(seed: int) -> None:
    async def story(circle: Circle) -> None:
        alice, bob, carol = (circle[name] for name in NAMES)
        await alice.set_role(circle.peer("carol"), "manage")
        await circle.network.converged()
        reloads = alice.events()
        circle.network.partition("carol")
        bob.text("body").insert(0, "void words")
        await circle.until("alice", lambda each: text(each) == "void words")
        alice.text("body").insert(5, "KEPT")
        await carol.remove(circle.peer("bob"))
        circle.network.heal()
        await circle.until("alice", lambda each: len(each.members()) == 2)
        await circle.until("alice", lambda each: text(each) == "KEPT")
        await circle.network.converged(alice, carol)
        assert text(carol) == "KEPT"
        async for event in reloads:
            if isinstance(event, DocumentReloaded):
                assert "membership" in event.reason
                break
        await circle.network.quiet()

    play(seed, story)


def test_removed_device_learns_of_it_and_edits_no_more(seed: int) -> None:
    async def story(circle: Circle) -> None:
        alice, bob, _ = (circle[name] for name in NAMES)
        events = bob.events()
        alice.text("body").insert(0, "before")
        await circle.network.converged()
        await alice.remove(circle.peer("bob"))
        await circle.until("bob", lambda each: each.role is None)
        assert text(bob) == "before"
        alice.text("body").insert(6, " and after")
        await asyncio.sleep(120)
        assert text(bob) == "before"
        bob.text("body").insert(0, "not allowed ")
        with pytest.raises(RefusedEditsError):
            await bob.durable()
        await bob.durable()  # said once
        await circle.until("bob", lambda each: text(each) == "before")
        with pytest.raises(NotPermittedError):
            bob.import_update(b"\0\0")
        for change in (bob.leave(), bob.set_role(circle.peer("alice"), "read")):
            with pytest.raises(NotPermittedError):
                await change
        seen = []
        async for event in events:
            seen.append(event)
            if isinstance(event, EditsRefused):
                break
        kinds = [type(event) for event in seen]
        assert kinds.index(MemberRemoved) < kinds.index(EditsRefused)
        assert text(alice) == "before and after"
        await circle.network.quiet()

    play(seed, story)


def test_reader_reads_and_cannot_write(seed: int) -> None:
    async def story(circle: Circle) -> None:
        alice, bob, carol = (circle[name] for name in NAMES)
        changed = alice.events()
        await alice.set_role(circle.peer("bob"), "read")
        await circle.until("bob", lambda each: each.role == Role.READ)
        assert not bob.may_write
        alice.text("body").insert(0, "words")
        await circle.until("bob", lambda each: text(each) == "words")
        bob.text("body").insert(0, "my ")
        await circle.until("bob", lambda each: text(each) == "words")
        await circle.network.converged()
        assert text(carol) == "words"
        async for event in changed:
            if isinstance(event, RoleChanged):
                assert (str(event.peer), event.role) == (circle.peer("bob"), Role.READ)
                break
        await alice.set_role(circle.peer("bob"), Role.WRITE)
        await circle.until("bob", lambda each: each.may_write)
        bob.text("body").insert(0, "my ")
        await circle.network.converged()
        assert text(alice) == "my words"

    play(seed, story)


def test_two_managers_who_remove_each_other_are_both_out(seed: int) -> None:
    async def story(circle: Circle) -> None:
        alice = circle["alice"]
        for name in ("bob", "carol"):
            await alice.set_role(circle.peer(name), "manage")
        await circle.network.converged()
        circle.network.partition("bob")
        await circle["bob"].remove(circle.peer("carol"))
        async with asyncio.TaskGroup() as group:  # alice hears of both before the secret is renewed
            group.create_task(circle["carol"].remove(circle.peer("bob")))
            await circle.until("carol", lambda each: len(each.members()) == 2)
            circle.network.heal()
        await circle.until("alice", lambda each: len(each.members()) == 1)
        assert alice.role == Role.MANAGE

    play(seed, story)


def test_who_leaves_is_out_and_keeps_what_it_has(seed: int) -> None:
    async def story(circle: Circle) -> None:
        alice, bob, _ = (circle[name] for name in NAMES)
        bob.text("body").insert(0, "mine")  # signed before the leaving, whatever the timing
        await bob.leave()
        assert bob.role is None
        await circle.until("alice", lambda each: len(each.members()) == 2)
        assert text(alice) == text(bob) == "mine"
        with pytest.raises(NotPermittedError, match="role manage first"):
            await alice.leave()

    play(seed, story)


def test_lost_device_is_removed_by_another_of_the_same_person(seed: int) -> None:
    network = NodeNetwork(seed)

    async def scenario() -> None:
        async with AsyncExitStack() as stack:
            circle = Circle(network)
            await circle.open(stack, NAMES)
            phone = circle.nodes["phone"] = await stack.enter_async_context(network.node("phone"))
            bob = circle["bob"]
            circle.documents["phone"] = await phone.join(await bob.invite(is_own_device=True))
            await circle["phone"].synced()
            assert circle["phone"].person(phone.peer_id) == circle.nodes["bob"].peer_id
            with pytest.raises(NotPermittedError):
                await bob.remove(circle.peer("carol"))
            await circle["phone"].remove(circle.peer("bob"))
            await circle.until("alice", lambda each: len(each.members()) == 3)
            assert circle.nodes["bob"].peer_id not in circle["alice"].members()

    network.run(scenario)


def test_revoked_invite_lets_nobody_in(seed: int) -> None:
    network = NodeNetwork(seed)

    async def scenario() -> None:
        async with network.node("alice") as alice, network.node("bob") as bob:
            document, other = await alice.create("notes"), await alice.create("other")
            invite = await document.invite()
            await document.revoke(invite)
            with pytest.raises(InviteError) as caught:
                await bob.join(invite)
            assert caught.value.reason == "revoked"
            with pytest.raises(InviteError, match="another document"):
                await other.revoke(invite)
            with pytest.raises(UsageError, match="no role"):
                await document.set_role(alice.peer_id, "king")

    network.run(scenario)


def test_who_was_removed_can_be_added_again(seed: int) -> None:
    async def story(circle: Circle) -> None:
        alice, bob, _ = (circle[name] for name in NAMES)
        circle.network.partition("bob")
        bob.text("body").insert(0, "stranded")
        await bob.durable()
        await alice.remove(circle.peer("bob"))
        circle.network.heal()
        await circle.until("bob", lambda each: each.role is None)
        await circle.join("bob")
        bob = circle["bob"]
        await circle.until("bob", lambda each: each.may_write)
        bob.text("body").insert(0, "back")
        await circle.network.converged()
        assert "back" in text(alice)
        assert text(alice) == text(circle["carol"]) == text(bob)

    play(seed, story)
