"""Power cuts in the middle of rotating, admitting and handing on secrets: nobody is locked out, no secret is lost."""

import asyncio
import random

import pytest

from domain.errors import CulmError, NetworkError
from node import Document, Node
from node.simulation import NodeNetwork

CRASHES_IN_CI = 12
CRASHES_AT_LENGTH = 200
NAMES = ("ada", "bob", "cyd")


class Household:
    """Three nodes that share a document, one of which loses power again and again."""

    def __init__(self, network: NodeNetwork, chance: random.Random) -> None:
        self.network = network
        self.chance = chance
        self.nodes: dict[str, Node] = {}
        self.documents: dict[str, Document] = {}

    async def settle(self, name: str) -> None:
        """Take the handles of a node that was started again."""
        node = await self.network.restart(name)
        self.nodes[name] = node
        infos = node.documents()
        if infos:
            self.documents[name] = await node.document(infos[0].id)

    async def crash_during(self, name: str, work: str) -> None:
        """Cut the power of a node at a moment of some work, which it or another does."""
        doing = getattr(self, work)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(self._try(doing))
            await asyncio.sleep(self.chance.uniform(0, 0.06))
            await self.network.crash(name)
            task.cancel()
        await self.settle(name)

    @staticmethod
    async def _try(doing: object) -> None:
        try:
            await doing()  # type: ignore[operator]
        except CulmError:
            return

    async def rotate(self) -> None:
        await self.documents[self.chance.choice(NAMES)].rotate()

    async def write(self) -> None:
        document = self.documents[self.chance.choice(NAMES)]
        text = document.text("body")
        text += self.chance.choice("abc")
        await document.durable()

    async def rotate_and_write(self) -> None:
        await self.rotate()
        await self.write()


def live_through(seed: int, crashes: int) -> None:
    network, chance = NodeNetwork(seed, virtual_s_max=24 * 3_600), random.Random(seed)

    async def scenario() -> None:
        house = Household(network, chance)
        async with (
            network.node("ada") as ada,
            network.node("bob") as bob,
            network.node("cyd") as cyd,
        ):
            house.nodes = {"ada": ada, "bob": bob, "cyd": cyd}
            house.documents["ada"] = await ada.create("notes")
            for name in ("bob", "cyd"):
                invite = await house.documents["ada"].invite(role="manage")
                house.documents[name] = await house.nodes[name].join(invite)
            await network.converged()
            for number in range(crashes):
                await house.crash_during(chance.choice(NAMES), "rotate_and_write")
                if number % 4 == 3:
                    await admit_through_crashes(house, f"guest{number}")
            await network.converged(*house.documents.values(), within_s=3_600)
            await network.quiet(within_s=3_600)
            check_nobody_is_locked_out(house)
            for document in house.documents.values():  # all can go on
                text = document.text("body")
                text += "."
            await network.converged(*house.documents.values())
            texts = {str(document.text("body")) for document in house.documents.values()}
            assert len(texts) == 1

    network.run(scenario)


async def admit_through_crashes(house: Household, guest: str) -> None:
    """Let somebody in while the manager who does it loses power; sooner or later it works, with one invite."""
    invite = await house.documents["ada"].invite(uses=1)
    async with house.network.node(guest) as node:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(join_at_last(node, invite))
            await asyncio.sleep(house.chance.uniform(0, 0.12))
            await house.network.crash("ada")
            await house.settle("ada")
        copy = task.result()
        await copy.wait_until(lambda: len(copy._owner.document.keyring.secrets) > 0)
        await copy.wait_until(
            lambda: str(copy.text("body")) == str(house.documents["ada"].text("body"))
        )
        await house.documents["ada"].remove(node.peer_id)


async def join_at_last(node: Node, invite: str) -> Document:
    while True:
        try:
            return await node.join(invite)
        except NetworkError:
            await asyncio.sleep(0.5)


def check_nobody_is_locked_out(house: Household) -> None:
    announced = {
        secret
        for document in house.documents.values()
        for secret in document._owner.document.ledger.announcements.secrets
    }
    for name, document in house.documents.items():
        missing = announced - set(document._owner.document.keyring.secrets)
        assert not missing, f"{name} was never given {len(missing)} secrets"
        assert not document._owner.document.replica.is_blocked, name


@pytest.mark.parametrize("seed", [1, 2])
def test_no_power_cut_locks_anybody_out(seed: int) -> None:
    live_through(seed, CRASHES_IN_CI)


@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_two_hundred_power_cuts_lock_nobody_out() -> None:
    live_through(3, CRASHES_AT_LENGTH)
