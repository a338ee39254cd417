"""The standard streams of the process, where whoever started it has closed them."""

import os
import sys
from pathlib import Path


def open_streams() -> None:
    """Put `/dev/null` in the place of each standard stream that is closed; call it before anything else is opened.

    A service may be started so. Else there would be nothing to read and write, and the next file that is opened would
    take the descriptor: what an engine says on its way down would go into it.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            stream = Path(os.devnull).open(mode, encoding="utf-8")  # noqa: SIM115 - it stays open
            setattr(sys, name, stream)
