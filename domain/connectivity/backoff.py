"""How long to wait before a peer is dialled again."""

from domain.limits import BACK_OFF_S_MAX, BACK_OFF_S_MIN, FAILED_RETRY_S, RETRIES_MAX

_DOUBLINGS_MAX = 16  # beyond, the ceiling has long been reached, and a power of two would only grow


def back_off_s(failures: int, *, share: float, floor_s: float = 0.0) -> float:
    """Draw the wait before the next try: 500 ms doubling to 30 s, with full jitter.

    Full jitter: anything between nothing and the ceiling, so that peers that lost each other at the same moment do not
    dial in step, and a node that everybody lost is not dialled by all of them at once.

    Args:
        failures: How many tries have failed in a row; 0 and 1 give the first ceiling.
        share: What chance says, from 0 to 1.
        floor_s: The least that the reason of the failure asks for; chance adds up to half of it.
    """
    doublings = min(max(failures - 1, 0), _DOUBLINGS_MAX)
    ceiling = min(BACK_OFF_S_MAX, BACK_OFF_S_MIN * float(1 << doublings))
    return max(ceiling * share, floor_s * (1 + share / 2))


def failed_retry_s(*, share: float) -> float:
    """Draw the wait of a peer that counts as failed: at most 15 minutes, at least nine tenths of that."""
    return FAILED_RETRY_S * (0.9 + 0.1 * share)


def has_failed(failures: int) -> bool:
    """Whether so many failures in a row are enough to count a peer as failed."""
    return failures > RETRIES_MAX
