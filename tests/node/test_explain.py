"""Situations in which an edit is not there, made on purpose on whole nodes: `explain` names each."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from adapters.simulation.loop import run
from domain.errors import IdentifierError, UnknownDocumentError, UnsavedEditsError
from domain.events import DocumentDegraded, OperationRefused
from domain.explanation import Verdict
from domain.identifiers import DocumentId, OperationId, PeerId
from domain.ledger.claim import client_id
from node import Document, Node, NodeConfig
from node.simulation import NodeNetwork
from tests.domain.crdt.encoding import fail_to_apply
from tests.simulation.hostile import own_update
from tests.simulation.test_hostile import POISON, poisoned
from tests.simulation.village import Village, open_village

Story = Callable[["Two"], Awaitable[None]]
AWAY_S = 60.0


class Two:
    """Alice's node and Bob's, which share a document."""

    def __init__(self, network: NodeNetwork, alice: Node, bob: Node) -> None:
        self.network = network
        self.alice = alice
        self.bob = bob
        self.document: Document
        self.copy: Document

    async def share(self, role: str = "write") -> None:
        self.document = await self.alice.create("notes")
        self.copy = await self.bob.join(await self.document.invite(role=role))
        await self.copy.synced()
        self.write("shared")
        await self.document.durable("peers:1")

    def write(self, line: str) -> None:
        self.document.array("lines").append(line)

    def verdict(self, node: Node | None = None, peer: PeerId | None = None) -> Verdict:
        return (node or self.alice).explain(self.document.id, peer).verdict

    def about_bob(self) -> Verdict:
        return self.verdict(peer=self.bob.peer_id)


def tell(seed: int, story: Story, *, role: str = "write") -> None:
    network = NodeNetwork(seed)

    async def scenario() -> None:
        async with network.node("alice") as alice, network.node("bob") as bob:
            two = Two(network, alice, bob)
            await two.share(role)
            await story(two)

    network.run(scenario)


def test_nothing_is_in_the_way(seed: int) -> None:
    async def story(two: Two) -> None:
        assert two.verdict() is Verdict.IN_SYNC
        assert two.about_bob() is Verdict.IN_SYNC
        assert two.verdict(two.bob, two.alice.peer_id) is Verdict.IN_SYNC

    tell(seed, story)


def test_nobody_else_is_a_member(seed: int) -> None:
    async def story(two: Two) -> None:
        alone = await two.alice.create("diary")
        assert two.alice.explain(alone.id).verdict is Verdict.NOBODY_ELSE

    tell(seed, story)


def test_the_disk_takes_nothing(seed: int) -> None:
    async def story(two: Two) -> None:
        two.network.fill_disk("alice")
        two.write("unsaved")
        with pytest.raises(UnsavedEditsError):
            await two.document.durable()
        (finding, *_) = two.alice.explain(two.document.id).findings
        assert finding.verdict is Verdict.UNSAVED_EDITS
        assert "no space" in finding.evidence
        two.network.mend_disk("alice")

    tell(seed, story)


def test_the_peer_is_away_and_lacks_something(seed: int) -> None:
    async def story(two: Two) -> None:
        two.network.partition("bob")
        await asyncio.sleep(AWAY_S)
        two.write("later")
        await two.document.durable()
        await until(lambda: two.about_bob() is Verdict.PEER_UNREACHABLE)
        found = two.alice.explain(two.document.id, two.bob.peer_id).findings
        assert [each.verdict for each in found] == [Verdict.PEER_UNREACHABLE, Verdict.SENDING]

    tell(seed, story)


def test_the_peer_is_being_dialled(seed: int) -> None:
    async def story(two: Two) -> None:
        two.network.partition("bob")
        await asyncio.sleep(AWAY_S)
        await until(lambda: two.about_bob() is Verdict.CONNECTING)

    tell(seed, story)


def test_the_peer_is_slow_to_acknowledge(seed: int) -> None:
    async def story(two: Two) -> None:
        two.network.set_link("alice", "bob", delay_s=1.0)
        two.write("on its way")
        await two.document.durable()
        assert two.about_bob() is Verdict.SENDING
        await two.document.durable("peers:1")
        assert two.about_bob() is Verdict.IN_SYNC

    tell(seed, story)


def test_somebody_is_no_member(seed: int) -> None:
    async def story(two: Two) -> None:
        async with two.network.node("carol") as carol:
            assert two.verdict(peer=carol.peer_id) is Verdict.PEER_NOT_A_MEMBER

    tell(seed, story)


def test_the_peer_was_removed(seed: int) -> None:
    async def story(two: Two) -> None:
        await two.document.remove(two.bob.peer_id)
        assert two.about_bob() is Verdict.PEER_NOT_A_MEMBER
        await until(lambda: two.copy.role is None)
        assert two.verdict(two.bob) is Verdict.NOT_A_MEMBER

    tell(seed, story)


def test_this_device_may_only_read(seed: int) -> None:
    async def story(two: Two) -> None:
        assert two.verdict(two.bob) is Verdict.READ_ONLY

    tell(seed, story, role="read")


def test_the_peer_has_forgotten_the_document(seed: int) -> None:
    async def story(two: Two) -> None:
        await two.bob.forget(two.document.id)
        two.network.break_connections("alice", "bob")
        await until(lambda: two.about_bob() is Verdict.NOT_EXCHANGING)

    tell(seed, story)


def test_the_peer_belongs_to_another_network(seed: int) -> None:
    async def story(two: Two) -> None:
        async with two.network.node("carol") as carol:
            copy = await carol.join(await two.document.invite())
            await copy.synced()
        other = NodeConfig(network_id="another")
        async with two.network.node("carol", other) as carol:
            await until(lambda: two.verdict(peer=carol.peer_id) is Verdict.PEER_REFUSED)

    tell(seed, story)


# --- What a hostile member sends ---


def attack(seed: int, story: Callable[[Village], Awaitable[None]]) -> None:
    async def scenario(seed: int) -> None:
        async with open_village(seed) as village:
            await story(village)

    run(scenario, seed)


def test_operations_wait_for_others(seed: int) -> None:
    async def story(village: Village) -> None:
        unknown = OperationId(b"u" * OperationId.LENGTH)
        orphan = village.mallory.update(b"\0\0", previous=(unknown,))
        await village.mallory.send(await village.attack(), orphan)
        await until(lambda: explained(village) is Verdict.WAITING_FOR_PAST)

    attack(seed, story)


def test_the_engine_fails_on_an_operation(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_to_apply(monkeypatch, POISON)

    async def story(village: Village) -> None:
        mallory = village.mallory
        good = mallory.update(own_update(mallory))
        bad = mallory.update(poisoned(client_id(mallory.log)), after=good)
        await mallory.send(await village.attack(), good, bad)
        await village.alice.until(DocumentDegraded)
        assert explained(village) is Verdict.QUARANTINED

    attack(seed, story)


def test_an_operation_was_refused(seed: int) -> None:
    async def story(village: Village) -> None:
        mallory = village.mallory
        other = mallory.update(own_update(mallory))
        foreign = mallory.update(b"\1\1\5\0\x84\1\1\1t\1m\0", after=other)
        await mallory.send(await village.attack(), other, foreign)
        await village.alice.until(OperationRefused)
        assert explained(village) is Verdict.REFUSED_EDITS

    attack(seed, story)


def explained(village: Village) -> Verdict:
    return village.alice.node.explain(village.document).verdict


# --- What cannot be asked ---


def test_what_is_no_document_and_no_peer_is_said(seed: int) -> None:
    async def story(two: Two) -> None:
        with pytest.raises(UnknownDocumentError):
            two.alice.explain(DocumentId(bytes(32)))
        with pytest.raises(IdentifierError):
            two.alice.explain(two.document.id, "nobody")

    tell(seed, story)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(600):
        while not condition():  # noqa: ASYNC110 - time is virtual
            await asyncio.sleep(0.05)
