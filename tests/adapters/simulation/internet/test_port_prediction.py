"""Behind a box that counts, peers behind port-restricted ones are met directly, if that is wanted."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from adapters.simulation.internet.nat import PORT_RESTRICTED, SYMMETRIC, PortChoice
from adapters.simulation.internet.reproducible import reproducible_transport
from domain.connectivity.address import Address
from domain.limits import PREDICTED_AFTER_MAX, PREDICTED_BEFORE_MAX, PREDICTION_S
from node import NodeConfig
from tests.adapters.simulation.internet.nat_lab import LEFT, RIGHT, NatLab

COUNTING = replace(SYMMETRIC, ports=PortChoice.CONTIGUOUS)
PREDICTED_MAX = PREDICTED_AFTER_MAX + PREDICTED_BEFORE_MAX


@pytest.fixture(autouse=True)
async def _reproducible(seed: int) -> AsyncIterator[None]:
    with reproducible_transport(seed, asyncio.get_running_loop().time):
        yield


class Predicting(NatLab):
    """A lab whose nodes guess."""

    @property
    def config(self) -> NodeConfig:
        return replace(super().config, predicts_ports=True)


async def settled_path(lab: NatLab) -> str | None:
    async with lab.pair() as meeting:
        for author in (0, 1):
            await meeting.edit(author, f"by {author} ")
        await asyncio.sleep(10.0)
        return meeting.path


@pytest.mark.parametrize("counting", [LEFT, RIGHT])
async def test_whoever_counts_is_met_directly(counting: str, seed: int) -> None:
    lab = Predicting(seed)
    for number, name in enumerate((LEFT, RIGHT), 1):
        lab.house(name, number, COUNTING if name == counting else PORT_RESTRICTED)
    assert await settled_path(lab) == "direct"


async def test_unasked_nobody_guesses(seed: int) -> None:
    lab = NatLab(seed)
    lab.house(LEFT, 1, COUNTING)
    lab.house(RIGHT, 2, PORT_RESTRICTED)
    assert await settled_path(lab) == "relayed"


async def test_where_ports_are_drawn_the_relay_serves(seed: int) -> None:
    lab = Predicting(seed)
    lab.house(LEFT, 1, SYMMETRIC)
    lab.house(RIGHT, 2, PORT_RESTRICTED)
    assert await settled_path(lab) == "relayed"


async def guessed(lab: NatLab) -> list[set[Address]]:
    """What a node guesses twice in a row, and again after a while; its invites name none of it."""
    found = []
    async with lab.servers(), lab.node(LEFT) as node:
        await asyncio.sleep(5.0)
        traversal = node.environment.traversal
        assert traversal is not None
        for pause_s in (0.0, 0.0, PREDICTION_S):
            await asyncio.sleep(pause_s)
            found.append({each.address for each in await traversal.predicted()})
        plain = await traversal.candidates(with_relay=True, is_fresh=True)
        assert not found[-1] & {each.address for each in plain}
    return found


async def test_guesses_are_few_and_made_now_and_then(seed: int) -> None:
    lab = Predicting(seed)
    box = lab.house(LEFT, 1, COUNTING)
    first, at_once, later = await guessed(lab)
    assert 0 < len(first) <= PREDICTED_MAX
    assert at_once == set()
    assert 0 < len(later) <= PREDICTED_MAX
    assert box.nat is not None
    assert len(box.nat.mappings) < 20


async def test_no_ports_are_guessed_where_all_peers_see_the_same_one(seed: int) -> None:
    lab = Predicting(seed)
    lab.house(LEFT, 1, PORT_RESTRICTED)
    assert await guessed(lab) == [set(), set(), set()]
