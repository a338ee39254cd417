"""Finds out which ports the NAT gives next, where it counts: makes new bindings in a row, and looks at their ports."""

from typing import Final

from adapters.nat.scout import Scout, ScoutOpener
from adapters.nat.stun import StunAnswer, StunError
from domain.connectivity.address import Address
from domain.connectivity.prediction import predict_ports
from domain.ports.environment import Clock, Entropy

BINDINGS: Final = 3
"""Sockets that are opened for it, one after the other; two steps that are alike are no accident."""


async def predict(
    opener: ScoutOpener, server: Address, *, clock: Clock, entropy: Entropy
) -> tuple[Address, ...]:
    """Give the addresses outside that the next bindings may have; none where that cannot be guessed.

    Takes three sockets and round trips, and 12 packets at most. May be cancelled.

    Raises:
        NetworkError: No socket could be opened.
    """
    seen: list[Address] = []
    for _ in range(BINDINGS):
        answer = await _ask_once(opener, server, clock, entropy)
        if answer is None:
            return ()
        seen.append(answer.mapped)
    if len({each.host for each in seen}) > 1:
        return ()
    return tuple(Address(seen[0].host, port) for port in predict_ports([x.port for x in seen]))


async def _ask_once(
    opener: ScoutOpener, server: Address, clock: Clock, entropy: Entropy
) -> StunAnswer | None:
    scout = Scout(clock, entropy)
    try:
        await scout.open(opener)
        return await scout.start(server)
    except StunError:
        return None
    finally:
        scout.close()
