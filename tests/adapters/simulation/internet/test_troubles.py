"""Whatever happens to two that have met, in whatever order: they have each other again soon, and every edit arrives."""

import asyncio
from collections.abc import Callable
from random import Random

import pytest

from adapters.simulation.internet.reproducible import reproducible_transport
from domain.connectivity.close_codes import CloseCode
from tests.adapters.simulation.internet.nat_lab import LEFT, RIGHT, TYPES, Meeting, NatLab
from tests.node.reconnecting import until_joined

TROUBLES = 5
LASTS_S = (0.3, 1.0, 3.0, 8.0, 20.0, 45.0, 100.0)
PAUSES_S = (0.2, 2.0, 10.0, 40.0)
JOINED_S_MAX = 60.0
"""After an outage of 100 s each waits for up to half a minute before it dials again."""
EDIT_S_MAX = 30.0
"""A way that has ended is noticed after 4 s, and another one found in a few more."""


class Troublemaker:
    """Does things to a meeting, as chance has it.

    Args:
        meeting: Two nodes behind boxes, which share a document.
        random: What chance follows.
    """

    def __init__(self, meeting: Meeting, random: Random) -> None:
        self._meeting = meeting
        self._lab = meeting.lab
        self._random = random
        self._address = 10

    async def make(self) -> str:
        """Do one thing, and give its name once it is over."""
        side = self._random.choice((LEFT, RIGHT))
        lasts_s = self._random.choice(LASTS_S)
        trouble: Callable[[str, float], object] = self._random.choice(
            (self._cut, self._cut_servers, self._lose, self._lose_cut_off, self._rebind, self._move)
        )
        done = trouble(side, lasts_s)
        if asyncio.iscoroutine(done):
            await done
        return f"{trouble.__name__} {side} {lasts_s}"

    async def _cut(self, side: str, lasts_s: float) -> None:
        self._lab.internet.partition([side, f"{side} box"])
        await asyncio.sleep(lasts_s)
        self._lab.internet.heal()

    async def _cut_servers(self, _: str, lasts_s: float) -> None:
        self._lab.internet.partition(["rendezvous", "stun", "turn"])
        await asyncio.sleep(lasts_s)
        self._lab.internet.heal()

    def _lose(self, side: str, lasts_s: float) -> None:
        """One side loses the connection, or both at once."""
        left, right = self._meeting.nodes
        for node in (left, right) if lasts_s > 10 else (left if side == LEFT else right,):
            for link in node.peers.links():
                if link.peer in {left.peer_id, right.peer_id}:
                    link.connection.close(CloseCode.TIMED_OUT, "lost")

    async def _lose_cut_off(self, side: str, lasts_s: float) -> None:
        self._lab.internet.partition([side, f"{side} box"])
        self._lose(side, 0.0)
        await asyncio.sleep(lasts_s)
        self._lab.internet.heal()

    def _rebind(self, side: str, _: float) -> None:
        self._lab.routers[side].rebind()

    def _move(self, side: str, _: float) -> None:
        self._address += 1
        self._lab.routers[side].readdress(f"203.0.113.{self._address}")


async def live_through(seed: int) -> None:
    random = Random(f"troubles {seed}")
    loop = asyncio.get_running_loop()
    with reproducible_transport(seed, loop.time):
        lab = NatLab(random.getrandbits(32))
        for number, side in enumerate((LEFT, RIGHT), 1):
            lab.house(side, number, TYPES[random.choice(tuple(TYPES))])
        async with lab.pair() as meeting:
            troublemaker = Troublemaker(meeting, random)
            for number in range(TROUBLES):
                await asyncio.sleep(random.choice(PAUSES_S))
                what = await troublemaker.make()
                print(f"{loop.time():.2f} s: {what}")
                await until_joined(*meeting.nodes, JOINED_S_MAX)
                for author in (0, 1):
                    assert await meeting.edit(author, f"{number} by {author} ") < EDIT_S_MAX, what


@pytest.mark.parametrize("number", range(12))
async def test_two_have_each_other_again_soon_whatever_happened(number: int, seed: int) -> None:
    await live_through(seed + number)
