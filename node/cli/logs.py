"""How the command line shows what the libraries log: one line an event, as text or as JSON, on stderr."""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Final

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class LineFormatter(logging.Formatter):
    """Writes an event with its data.

    Args:
        is_json: As a JSON object; else as text.
    """

    def __init__(self, *, is_json: bool) -> None:
        super().__init__()
        self._is_json = is_json

    def format(self, record: logging.LogRecord) -> str:
        """Write one event in one line (a traceback follows it, or stands in it)."""
        time = datetime.fromtimestamp(record.created, tz=UTC).isoformat(timespec="milliseconds")
        data = {name: value for name, value in vars(record).items() if name not in _STANDARD}
        failure = self.formatException(record.exc_info) if record.exc_info else None
        if self._is_json:
            content = {
                "time": time,
                "level": record.levelname.lower(),
                "logger": record.name,
                "event": record.getMessage(),
                **data,
            } | ({"exception": failure} if failure else {})
            return json.dumps(content, default=str)
        words = [time, record.levelname.lower(), record.getMessage()]
        words += [f"{name}={_quoted(value)}" for name, value in data.items()]
        return " ".join(words) + (f"\n{failure}" if failure else "")


def _quoted(value: object) -> str:
    text = str(value)
    return json.dumps(text) if not text.isprintable() or " " in text or not text else text


def start_logging(level: str, log_format: str) -> None:
    """Show what is logged from a level on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter(is_json=log_format == "json"))
    handler.setLevel(level.upper())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    if level != "debug":
        # What the libraries say about each packet is for those who look for it.
        for name in ("aiosqlite", "alembic", "sqlalchemy", "asyncio", "transitions"):
            logging.getLogger(name).setLevel(logging.WARNING)
        # It warns of each bad packet; what comes of those is told by the transport.
        logging.getLogger("quic").setLevel(logging.ERROR)
