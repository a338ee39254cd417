"""Which verdict about the NAT is in force, and which one is to be kept: no I/O, told by who looks at the network."""

import asyncio
from collections.abc import Collection
from dataclasses import replace
from typing import Final

from domain.connectivity.address import Address
from domain.connectivity.nat import UNKNOWN, NatBehavior
from domain.connectivity.verdict import (
    BINDING_US_VALID,
    NatVerdict,
    carry_over,
    network_of,
    replaces,
    wants_binding,
)
from domain.ports.environment import Clock

DISTRUST_US: Final = 3_600 * 1_000_000
"""A box that was restarted loses its bindings, too: so soon its figure may be measured again, in microseconds."""


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

    @property
    def binding_s(self) -> float | None:
        """For how long the box keeps a binding that nobody uses, in seconds; None if that is not known."""
        return self.verdict.binding_s if self.verdict is not None else None

    def unmeasured(self) -> NatVerdict | None:
        """Give the verdict in force, if the lifetime of bindings is to be measured there."""
        verdict = self.verdict
        if verdict is None or not wants_binding(verdict, now_us=self._clock.timestamp_us()):
            return None
        return verdict

    def note_binding(self, where: NatVerdict, binding_s: float | None) -> None:
        """Add for how long bindings are kept, unless the machine is not any more where that was measured."""
        verdict = self.verdict
        if verdict is None or (verdict.network, verdict.hosts_outside) != (
            where.network,
            where.hosts_outside,
        ):
            return
        now_us = self._clock.timestamp_us()
        self._hold(replace(verdict, binding_s=binding_s, binding_us=now_us))

    def distrust_binding(self, binding_s: float | None) -> None:
        """A binding was lost although that was gone by: go by what holds everywhere, and measure again in an hour."""
        if self.verdict is None or binding_s is None or self.verdict.binding_s != binding_s:
            return
        binding_us = self._clock.timestamp_us() - BINDING_US_VALID + DISTRUST_US
        self._hold(replace(self.verdict, binding_s=None, binding_us=max(1, binding_us)))

    def _hold(self, verdict: NatVerdict) -> None:
        self.verdict = verdict
        if verdict != self._kept and replaces(self._kept, verdict):
            self._kept = verdict
            self._changed.set()
