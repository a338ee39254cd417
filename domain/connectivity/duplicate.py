"""Which of two connections to one peer stays: both ends come to the same answer without asking each other."""

from domain.identifiers import PeerId


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
