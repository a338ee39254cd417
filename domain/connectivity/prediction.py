"""Which ports a NAT box gives next, guessed from those that it gave in a row.

Some boxes that use another port for each peer count upwards. Whoever knows their last ports knows the next ones, and
can offer them (draft-takeda-symmetric-nat-traversal had the idea): a peer behind a port-restricted box probes them, and
so lets in whichever it turns out to be. Pure.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from domain.connectivity.address import PORT_MAX
from domain.limits import PREDICTED_AFTER_MAX, PREDICTED_BEFORE_MAX

STEP_MAX: Final = 8
"""Others in the house take ports, too; with more between two of ours nothing can be guessed."""
PORT_MIN: Final = 1_024


def predict_ports(seen: Sequence[int]) -> tuple[int, ...]:
    """Guess which ports were given just before and will be given just after those that were seen.

    Args:
        seen: Ports of new bindings, in the order in which they were made.

    Returns:
        At most `PREDICTED_AFTER_MAX` and `PREDICTED_BEFORE_MAX` ports, the likeliest first; none where the box does
        not count.
    """
    steps = [after - before for before, after in pairwise(seen)]
    if not steps or not (
        all(0 < each <= STEP_MAX for each in steps) or all(-STEP_MAX <= each < 0 for each in steps)
    ):
        return ()
    step = min(steps, key=abs)
    after = [seen[-1] + step * count for count in range(1, PREDICTED_AFTER_MAX + 1)]
    before = [seen[0] - step * count for count in range(1, PREDICTED_BEFORE_MAX + 1)]
    return tuple(each for each in (*after, *before) if PORT_MIN <= each <= PORT_MAX)
