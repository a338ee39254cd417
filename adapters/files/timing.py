"""How patient a mirror is."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorTiming:
    """How often the mirror looks and how long it waits, in seconds.

    Args:
        interval_s: Between two looks at the file.
        settle_s: How long a file must be unchanged to count as edited.
        delete_after_s: How long it must be missing or empty to count as deleted.
        recheck_s: How often the content is read although size and time are the same (coarse file systems), and
            how often a failed write is tried again.
    """

    interval_s: float = 0.05
    settle_s: float = 0.1
    delete_after_s: float = 2.0
    recheck_s: float = 2.0
