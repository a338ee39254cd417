"""Where others may reach us, as offers say it: to whom we look for, to who looks for us, and to strangers."""

from collections.abc import Callable, Sequence
from typing import Final

from domain.connectivity.candidate import Candidate, CandidateKind, for_strangers
from domain.identifiers import PeerId
from domain.limits import CANDIDATES_MAX
from domain.ports.environment import Clock
from domain.ports.traversal import Traversal

LOOK_AGAIN_S: Final = 5.0
"""So long what the servers said last is good enough for peers that are not connected: many may come at once."""


class Whereabouts:
    """Those of one node.

    Args:
        traversal: Knows where it may be reached.
        clock: The time.
        witnesses: Gives the connected members, which say as what they see us.
    """

    def __init__(
        self, traversal: Traversal, clock: Clock, witnesses: Callable[[], Sequence[PeerId]]
    ) -> None:
        self._traversal = traversal
        self._clock = clock
        self._witnesses = witnesses
        self._look_at = 0.0

    async def for_search(self, *, with_relay: bool, is_again: bool) -> tuple[Candidate, ...]:
        """Where whom we look for may reach us; asked anew after it could not."""
        found = await self._find(with_relay=with_relay, is_fresh=is_again)
        return await self._with_predicted(found)

    async def for_answer(self, peer: PeerId, *, with_relay: bool) -> tuple[Candidate, ...]:
        """Where a peer that looks for us may reach us; asked anew where that may have changed unnoticed.

        A port at a relay that is gone is not missed before its next refresh, in minutes: who is connected would have
        noticed, who looks for us cannot.
        """
        traversal, now = self._traversal, self._clock.now()
        is_dark = traversal.is_dark(peer)
        found = await self._find(with_relay=with_relay, is_fresh=is_dark)
        has_port = any(each.kind is CandidateKind.RELAYED for each in found)
        if has_port and not is_dark and traversal.is_relayed(peer) is None and now >= self._look_at:
            self._look_at = now + LOOK_AGAIN_S
            found = await self._find(with_relay=with_relay, is_fresh=True)
        return await self._with_predicted(found)

    async def for_stranger(self) -> tuple[Candidate, ...]:
        """Where somebody may reach us who is to learn no more than that, and to cost us little."""
        found = await self._traversal.candidates(with_relay=False, is_fresh=False)
        return for_strangers(found)

    async def _find(self, *, with_relay: bool, is_fresh: bool) -> tuple[Candidate, ...]:
        return await self._traversal.candidates(
            with_relay=with_relay, is_fresh=is_fresh, witnesses=self._witnesses()
        )

    async def _with_predicted(self, found: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
        return (*found, *await self._traversal.predicted())[:CANDIDATES_MAX]
