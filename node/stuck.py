"""Watches over one document: what keeps its edits from getting on, and lasts, becomes an event.

It does not find out what to do about it; `domain.explanation` knows. Nothing runs while all is well: the document tells
of each change, and a timer is set only while something holds that has not been told.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from domain.errors import StorageError
from domain.events import EditsStuck, Event
from domain.explanation import Verdict, explain_device
from domain.identifiers import PeerId
from domain.operations.control import Role
from domain.patience import Patience
from domain.ports.environment import Clock
from node.explaining import document_circumstances
from node.owner import DocumentOwner

WATCHED: Final = (Verdict.UNSAVED_EDITS, Verdict.WAITING_FOR_PAST, Verdict.MISSING_SECRET)
"""What ends by itself within seconds, or needs somebody. That a peer cannot be reached its life cycle tells."""
EARLY_S: Final = 0.001  # a timer may ring that much before its time


class StuckWatch:
    """Publishes an event when something about a document has been stuck for long.

    Args:
        owner: Of the document.
        own: This device.
        clock: The time.
        publish: Takes events.
    """

    def __init__(
        self, owner: DocumentOwner, own: PeerId, clock: Clock, publish: Callable[[Event], None]
    ) -> None:
        self._owner = owner
        self._own = own
        self._clock = clock
        self._publish = publish
        self._patience: Patience[Verdict] = Patience()
        self._timer: asyncio.TimerHandle | None = None
        self._is_busy = False
        owner.on_change = self.look

    def look(self) -> None:
        """Look whether something is stuck; called after each change of the document, so cheap while all is well."""
        if not (self._is_stuck() or self._is_busy):
            return
        self._is_busy = True
        self._set_timer(None)
        if self._owner.is_closed:
            return
        circumstances = document_circumstances(self._owner, self._own, refused=())
        findings = {each.verdict: each for each in explain_device(circumstances)}
        holding = [verdict for verdict in WATCHED if verdict in findings]
        if (self._owner.document.role or 0) < Role.READ and Verdict.MISSING_SECRET in holding:
            holding.remove(Verdict.MISSING_SECRET)  # who may only pull is never given any
        now = self._clock.now()
        for verdict in self._patience.look(holding, now=now + EARLY_S):
            found = findings[verdict]
            self._publish(
                EditsStuck(
                    document=self._owner.document.document,
                    reason=verdict.value,
                    evidence=found.evidence,
                    action=found.action,
                    stuck_s=self._patience.held_s(verdict, now=now),
                )
            )
        self._is_busy = bool(holding)
        due = self._patience.next_due
        self._set_timer(None if due is None else max(0.0, due - now))

    def _is_stuck(self) -> bool:
        document, failure = self._owner.document, self._owner.persistence.failure
        return isinstance(failure, StorageError) or bool(
            len(document.gate) or document.replica.is_blocked
        )

    def _set_timer(self, after_s: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if after_s is not None:
            self._timer = asyncio.get_running_loop().call_later(after_s, self.look)
