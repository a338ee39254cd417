"""A line on stderr that says how far a command is: on a terminal it moves, elsewhere there is none."""

import sys
from collections.abc import Mapping
from typing import Self

from node.cli.output import plain, say

CLEAR = "\r\x1b[K"


class Progress:
    """Used as `with Progress("joining") as progress`.

    Args:
        doing: What is going on.
    """

    def __init__(self, doing: str) -> None:
        self._doing = doing
        self._is_shown = sys.stderr.isatty()

    def __enter__(self) -> Self:
        self._write(f"{self._doing}...")
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def show(self, answer: Mapping[str, object]) -> None:
        """Say what an answer tells about the progress."""
        match answer:
            case {"event": "joined", "name": str(name)}:
                self._write(f"joined {plain(name)!r}; waiting for the content...")
            case {"event": "waiting", "code": str(code)}:
                self._write("")
                say(
                    f"tell the inviter this code: {code}; you are let in when it is the one shown there"
                )
            case {"event": "syncing", "received": int(received)}:
                self._write(f"{received} operations are here...")
            case _:
                pass

    def end(self) -> None:
        """Take the line away."""
        self._write("")
        self._is_shown = False

    def _write(self, text: str) -> None:
        if self._is_shown:
            sys.stderr.write(CLEAR + text)
            sys.stderr.flush()
