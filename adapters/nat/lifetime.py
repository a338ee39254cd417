"""Measures for how long a NAT keeps a binding that nobody uses (RFC 5780, section 4.6), beside the socket that matters.

Some sockets of our own each ask a server once and then keep silent, each for another time. When its time is over,
another socket asks the server to answer to the port of the silent one (RESPONSE-PORT, section 7.5): what arrives there
shows that the box has kept its binding. They are silent side by side, so that all takes as long as the longest
silence, and no answer refreshes what is still to be measured.

What is found is a lower bound: a lost answer makes it smaller, nothing makes it larger.
"""

import asyncio
from collections.abc import Sequence
from typing import Final

from adapters.nat.scout import Scout, ScoutOpener
from domain.connectivity.address import Address
from domain.ports.environment import Clock, Entropy

SILENCES_S: Final = (8.5, 13.5, 18.5, 28.5, 43.5, 58.5, 88.5, 118.5, 178.5, 238.5, 298.5)
"""The time-outs that boxes are built with, less 1.5 s, in which three requests of four go out."""
FAILURES_MAX: Final = 2
"""After so many bindings in a row that are gone the longer ones are gone as well; one may have been a lost packet."""
SERVERS_TRIED_MAX: Final = 3
"""Servers that are asked for RESPONSE-PORT: it is optional, and without it nothing is measured."""


async def measure_binding(
    opener: ScoutOpener,
    servers: Sequence[Address],
    *,
    clock: Clock,
    entropy: Entropy,
    silences_s: Sequence[float] = SILENCES_S,
) -> float | None:
    """Measure how long a binding is kept; takes up to five minutes, 13 sockets and 70 packets. May be cancelled.

    Args:
        opener: Opens sockets.
        servers: STUN servers that answered lately.
        clock: The time; goes on with the event loop's.
        entropy: For the ids of requests.
        silences_s: What is tried, in growing order, in seconds.

    Returns:
        The longest silence that a binding outlived, in seconds, 0 if none did; None where no server answers to
        another port, or the box shows several addresses.

    Raises:
        NetworkError: No socket could be opened.
    """
    voice, *silent = scouts = [Scout(clock, entropy) for _ in range(len(silences_s) + 1)]
    try:
        for scout in scouts:
            await scout.open(opener)
        for server in servers[:SERVERS_TRIED_MAX]:
            if await _begin(server, voice, silent):
                return await _wait(server, voice, silent, silences_s, clock)
    finally:
        for scout in scouts:
            scout.close()
    return None


async def _begin(server: Address, voice: Scout, silent: Sequence[Scout]) -> bool:
    """Let each be seen once, and find out whether the server answers to another port than it is asked from."""
    scouts = (voice, *silent)
    asked = [(scout, scout.start(server)) for scout in scouts]
    await asyncio.wait([future for _, future in asked])
    hosts = set()
    for scout, future in asked:
        if future.cancelled() or future.exception() is not None:
            return False
        scout.begin(future.result())
        hosts.add(future.result().mapped.host)
    if len(hosts) > 1:
        return False
    # The one that is silent longest is asked for at once: its time begins again.
    control = silent[-1]
    assert control.answer is not None
    is_served = await control.is_reached(server, voice)
    control.begin(control.answer)
    return is_served


async def _wait(
    server: Address,
    voice: Scout,
    silent: Sequence[Scout],
    silences_s: Sequence[float],
    clock: Clock,
) -> float:
    """Try one after the other whether its binding is still there, when its silence is over."""
    kept_s, failures = 0.0, 0
    for scout, silence_s in zip(silent, silences_s, strict=True):
        await asyncio.sleep(max(0.0, scout.silent_since + silence_s - clock.now()))
        if await scout.is_reached(server, voice):
            kept_s, failures = silence_s, 0
        else:
            failures += 1
            if failures == FAILURES_MAX:
                break
        scout.close()
    return kept_s
