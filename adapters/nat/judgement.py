"""Which verdict about the NAT is in force, and which one is to be kept: no I/O, told by who looks at the network."""

import asyncio
from collections.abc import Collection
from dataclasses import replace

from domain.connectivity.address import Address
from domain.connectivity.nat import UNKNOWN, NatBehavior
from domain.connectivity.verdict import NatVerdict, carry_over, network_of, replaces
from domain.ports.environment import Clock


class Judgement:
    """The verdict in force, that to be kept, and who waits for it to change.

    Args:
        clock: When something was found.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.verdict: NatVerdict | None = None
        self._kept: NatVerdict | None = None
        self._changed = asyncio.Event()

    @property
    def behavior(self) -> NatBehavior:
        """How the NAT behaves, as far as is known."""
        return self.verdict.behavior if self.verdict is not None else UNKNOWN

    async def changed(self) -> NatVerdict:
        """Wait until another verdict is to be kept, and give it."""
        await self._changed.wait()
        self._changed.clear()
        assert self._kept is not None
        return self._kept

    def recall(self, verdict: NatVerdict, local: Collection[str]) -> None:
        """Take a verdict from before the node started: in force if nothing is known yet and the machine is there."""
        if self._kept is None:
            self._kept = verdict
            if self.verdict is None and verdict.network == network_of(local):
                self.verdict = verdict

    def doubt(self, local: Collection[str], outside: Collection[Address] = ()) -> None:
        """Forget what was found elsewhere: the machine has these addresses, and is seen outside as those."""
        if self.verdict is None:
            return
        hosts = {each.host for each in outside}
        is_elsewhere = self.verdict.network != network_of(local)
        if is_elsewhere or (hosts and self.verdict.hosts_outside != hosts):
            self.verdict = None

    def settle(
        self, behavior: NatBehavior, local: Collection[str], outside: Collection[Address]
    ) -> None:
        """Take what was found just now."""
        found = NatVerdict(
            behavior=behavior,
            measured_us=self._clock.timestamp_us(),
            local=tuple(sorted(local)),
            outside=tuple(sorted(set(outside))),
        )
        self._hold(carry_over(self._kept, found))

    def note_hairpin(self, hairpins: bool) -> None:  # noqa: FBT001 - it is what was found
        """Add whether the box lets us reach ourselves."""
        if self.verdict is not None and self.verdict.hairpins != hairpins:
            self._hold(replace(self.verdict, hairpins=hairpins))

    def _hold(self, verdict: NatVerdict) -> None:
        self.verdict = verdict
        if verdict != self._kept and replaces(self._kept, verdict):
            self._kept = verdict
            self._changed.set()
