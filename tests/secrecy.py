"""Watches over all that is logged while a test runs: no secret that exists in the process may show there.

Secrets are noted where their classes are made, and looked for only in text that could hold one, so it costs next to
nothing. What third parties log is searched as well.
"""

import base64
import logging
import re
from collections.abc import Callable, Iterator
from typing import Any, Final

from domain.identity import DeviceKey
from domain.prekey import PrekeyPair
from domain.sealing import DocumentSecret

OURS: Final = ("node", "adapters")
KNOWN_MAX: Final = 100_000
SUSPICIOUS: Final = re.compile(
    r"[0-9a-f]{64}|[A-Za-z0-9+/_-]{42}|\\x[0-9a-f]{2}|\d+(?:, \d+){20}", re.ASCII
)
INVITE: Final = re.compile(r"culm1[A-Za-z0-9_-]{40}", re.ASCII)


def forms(secret: bytes) -> Iterator[str]:
    """The forms in which bytes come into a text."""
    yield secret.hex()
    yield repr(secret)[2:-1]
    yield base64.b64encode(secret).decode().rstrip("=")
    yield base64.urlsafe_b64encode(secret).decode().rstrip("=")
    yield str(list(secret))[1:-1]


class SecrecyWatch(logging.Handler):
    """Keeps what is logged, and knows the secrets that were made."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self._said: list[str] = []
        self._known: dict[bytes, None] = {}

    def install(self) -> None:
        """Hear everything that is logged from now on, and note each secret that is made."""
        logging.getLogger().addHandler(self)
        for name in OURS:
            logging.getLogger(name).setLevel(logging.DEBUG)
        self._note_made(DeviceKey, lambda key: key.seed)
        self._note_made(DocumentSecret, lambda secret: secret.key)
        self._note_made(PrekeyPair, lambda pair: pair.private)

    def _note_made(self, kind: type[Any], secret: Callable[[Any], bytes]) -> None:
        made = kind.__init__

        def note(instance: Any, *args: Any, **fields: Any) -> None:  # noqa: ANN401 - of any class
            made(instance, *args, **fields)
            self.note(secret(instance))

        kind.__init__ = note

    def note(self, secret: bytes) -> None:
        """Remember a secret."""
        self._known[secret] = None
        if len(self._known) > KNOWN_MAX:
            del self._known[next(iter(self._known))]

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record that may show a secret: its message, what goes with it, its traceback."""
        text = f"{record.getMessage()} {vars(record)!r}"
        if record.exc_info:
            text += logging.Formatter().formatException(record.exc_info)
        if SUSPICIOUS.search(text):
            self._said.append(text)

    def start(self) -> None:
        """Forget what was said."""
        self._said.clear()

    def found(self) -> str | None:
        """Give what was said that shows a secret; None where nothing does."""
        return next((text for text in self._said if self.shows_secret(text)), None)

    def shows_secret(self, text: str) -> bool:
        """Whether a text shows a secret, or an invite."""
        if INVITE.search(text):
            return True
        if not SUSPICIOUS.search(text):
            return False
        return any(form in text for secret in self._known for form in forms(secret))
