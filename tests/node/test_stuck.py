"""What is stuck for a minute becomes an event, which says why and what to do; what heals by itself does not."""

import asyncio
from typing import TypeVar

from domain.connectivity.lifecycle import State
from domain.events import EditsStuck, Event, PeerStateChanged, PeerUnreachable
from domain.identifiers import OperationId, PeerId
from domain.limits import STUCK_S
from node import Node
from node.simulation import NodeNetwork
from tests.node.test_explain import Two, attack, tell
from tests.simulation.village import Village

WAIT_S = 4_000.0
E = TypeVar("E", bound=Event)


async def hear(node: Node, events: list[Event]) -> None:
    """Take down everything that happens to a node, until cancelled."""
    async for event in node.events():
        events.append(event)  # noqa: PERF401 - it never ends


async def first(node: Node, kind: type[E]) -> E:
    """Wait for the first event of a kind."""
    async with asyncio.timeout(WAIT_S):
        async for event in node.events():
            if isinstance(event, kind):
                return event
    raise AssertionError


def test_disk_that_takes_nothing_is_told_once_and_again_after_it_was_well(seed: int) -> None:
    async def story(two: Two) -> None:
        events: list[Event] = []

        def stuck() -> list[EditsStuck]:
            return [event for event in events if isinstance(event, EditsStuck)]

        listening = asyncio.create_task(hear(two.alice, events))
        for count in (1, 2):
            two.network.fill_disk("alice")
            two.write("unsaved")
            await asyncio.sleep(STUCK_S / 2)
            assert len(stuck()) == count - 1
            await asyncio.sleep(4 * STUCK_S)
            assert len(stuck()) == count
            two.network.mend_disk("alice")
            await two.document.durable()
        listening.cancel()
        event = stuck()[0]
        assert (event.document, event.reason) == (two.document.id, "unsaved-edits")
        assert "no space" in event.evidence
        assert "writable" in event.action
        assert STUCK_S <= event.stuck_s < STUCK_S + 5

    tell(seed, story)


def test_operations_whose_past_does_not_come_are_told(seed: int) -> None:
    async def story(village: Village) -> None:
        unknown = OperationId(b"u" * OperationId.LENGTH)
        orphan = village.mallory.update(b"\0\0", previous=(unknown,))
        await village.mallory.send(await village.attack(), orphan)
        event = await first(village.alice.node, EditsStuck)
        assert event.reason == "waiting-for-past"
        assert str(unknown) in event.evidence

    attack(seed, story)


async def test_secret_that_nobody_gives_is_told(culm_network: NodeNetwork) -> None:
    async with culm_network.node("ada") as ada, culm_network.node("bob") as bob:
        original = await ada.create("notes")
        copy = await bob.join(await original.invite())
        await copy.synced()
        await culm_network.converged(original, copy)
        withhold(ada, bob.peer_id)
        await original.rotate()
        original.text("body").insert(0, "hidden")
        event = await first(bob, EditsStuck)
        assert (event.document, event.reason) == (copy.id, "missing-secret")
        assert "come online" in event.action


def withhold(node: Node, deprived: PeerId) -> None:
    """Let a node give a peer no secret, as one that is hostile."""
    [owner] = node.owners()
    honest = owner.courier._prekey_of
    owner.courier._prekey_of = (  # type: ignore[method-assign]
        lambda peer: None if peer == deprived else honest(peer)
    )


def test_peer_that_cannot_be_reached_is_told_once_it_counts_as_failed(seed: int) -> None:
    async def story(two: Two) -> None:
        two.network.partition("bob")
        event = await first(two.alice, PeerUnreachable)
        assert event.peer == two.bob.peer_id
        assert event.reason
        assert two.alice.peers.known[event.peer].shown is State.FAILED

    tell(seed, story)


def test_restart_of_a_peer_and_a_short_trouble_of_the_disk_are_no_news(seed: int) -> None:
    async def story(two: Two) -> None:
        events: list[Event] = []

        listening = asyncio.create_task(hear(two.alice, events))
        two.network.fill_disk("alice")
        two.write("late")
        two.network.partition("bob")
        await asyncio.sleep(STUCK_S / 3)
        two.network.mend_disk("alice")
        two.network.heal()
        await two.document.durable("peers:1")
        await asyncio.sleep(4 * STUCK_S)
        listening.cancel()
        assert any(isinstance(event, PeerStateChanged) for event in events)
        assert not [each for each in events if isinstance(each, EditsStuck | PeerUnreachable)]

    tell(seed, story)
