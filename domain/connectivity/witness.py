"""As what members and rendezvous servers see us, where no STUN server says it: what of it others are told.

Any of them may lie, and nobody can check it. So it is never told instead of something else, and little of it is told:
who hears it sends some probes there (`domain/connectivity/pairs.py`).
"""

from collections import Counter
from collections.abc import Collection, Iterable

from domain.connectivity.address import Address
from domain.connectivity.candidate import is_probable, is_public
from domain.limits import WITNESSED_MAX


def choose_witnessed(
    seen: Iterable[Address],
    *,
    told: Collection[Address],
    outside: Iterable[Address],
    turn: int,
) -> tuple[Address, ...]:
    """Choose what of it is told, what most of them say first.

    What few say has one of the places in turn, so that many who lie keep nobody apart for ever.

    Args:
        seen: What members say, one address for each.
        told: What is told anyway.
        outside: As what our STUN servers see us: they know better, except for a box between us and a member.
        turn: Counts the choices.
    """
    versions = {":" in each.host for each in outside}
    voices = Counter(
        each
        for each in seen
        if each not in told
        and is_probable(each)
        and not ((":" in each.host) in versions and is_public(each))
    )
    ranked = [address for address, _ in voices.most_common()]
    first, rest = ranked[: WITNESSED_MAX - 1], ranked[WITNESSED_MAX - 1 :]
    return (*first, rest[turn % len(rest)]) if rest else tuple(first)
