"""Which of two connections to one peer stays: both ends come to the same answer without asking each other."""

from domain.connectivity.lifecycle import Lifecycle, State
from domain.identifiers import PeerId
from domain.limits import CROSSING_S_MAX


def is_replaced(
    *, old_instance: bytes, new_instance: bytes, old_dialler: PeerId, new_dialler: PeerId
) -> bool:
    """Whether the newer connection takes the place of the older one.

    Args:
        old_instance: What the peer drew at its start, by the older connection.
        new_instance: The same by the newer one; another value is another process, so the old one is dead.
        old_dialler: Who dialled the older one.
        new_dialler: Who dialled the newer one. Of two that were dialled from both sides the one of the smaller id
            stays; of two from one side the newer, since its dialler has given up the older.
    """
    if old_instance != new_instance or old_dialler == new_dialler:
        return True
    return new_dialler < old_dialler


def has_lost(old: Lifecycle, new: Lifecycle) -> bool:
    """Whether a peer that dials has lost the connection that we have with it: nobody dials who has one.

    Dials from both sides at once cross. But who takes a dial cancels the own one, if that would have to give way; so
    one whose first packet comes long after the other served crosses nothing.

    Args:
        old: Of the connection that we have.
        new: Of the one that the peer dialled.
    """
    served_at, heard_at = old.entered_at(State.ACTIVE), new.entered_at(State.CONNECTED)
    if served_at is None or heard_at is None:
        return False
    return heard_at - served_at > CROSSING_S_MAX
