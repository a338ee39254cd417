"""The real command, in processes of its own as a person runs it, or within ours where only its answer matters.

Waits end with what is waited for, or fail.
"""

import json
import logging
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from typer.testing import CliRunner, Result

import node.cli.application  # noqa: F401 - it brings the commands
from node.cli.answering import application

WAIT_S: Final = 20.0
TURN_S: Final = 0.01
LOOPBACK: Final = "127.0.0.1:0"


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CULM_")}
    return {**kept, "CULM_LISTEN": LOOPBACK, "PYTHONWARNINGS": "error", **more}


def culm(
    data: Path | None, *words: str, stdin: str = "", **more: str
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        command(data, words),
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=WAIT_S,
        env=environment(**more),
    )


def call(data: Path | None, *words: str, **more: str) -> Result:
    """Run a command to its end within this process, which is quick; its exit code is `exit_code`."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        # A variable that is None is taken away.
        hidden: dict[str, str | None] = dict.fromkeys(os.environ.keys() - environment().keys())
        return CliRunner().invoke(
            application, command(data, words)[3:], env=hidden | environment(**more)
        )
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


def said(data: Path, *words: str, **more: str) -> dict[str, Any]:
    """Run a command that has to succeed within this process, and give its JSON."""
    done = call(data, *words, "--json", **more)
    assert done.exit_code == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def command(data: Path | None, words: tuple[str, ...]) -> list[str]:
    where = ["--data", str(data)] if data is not None else []
    return [sys.executable, "-m", "node", *words, *where]


class Running:
    """A command that goes on.

    Args:
        process: The process.
    """

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._lines: queue.Queue[str] = queue.Queue()
        assert process.stdout is not None
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line.rstrip("\n"))
        self._lines.put("")

    def line(self) -> str:
        """The next line of stdout."""
        line = self._lines.get(timeout=WAIT_S)
        assert line, f"it ended: {self.errors()}"
        return line

    def lines_so_far(self) -> list[str]:
        return list(self._lines.queue)

    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.line())
        return found

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, and give the exit code."""
        self.process.send_signal(number)
        return self.process.wait(WAIT_S)

    def errors(self) -> str:
        self.process.wait(WAIT_S)
        assert self.process.stderr is not None
        return self.process.stderr.read()


@contextmanager
def running(data: Path, *words: str, **more: str) -> Iterator[Running]:
    """Start a command, and end it hard if the block has not ended it."""
    with subprocess.Popen(
        command(data, words),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(**more),
    ) as process:
        started = Running(process)
        try:
            yield started
        finally:
            process.kill()
            process.wait(WAIT_S)
            started._reader.join(WAIT_S)


def until(condition: Callable[[], object], what: str = "") -> None:
    """Look again and again until it holds."""
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, what or "it took too long"
        time.sleep(TURN_S)


def until_equal(*paths: Path, having: str) -> None:
    """Wait until files have the same content, with all of these words in it."""

    def equal() -> bool:
        texts = {path.read_text() if path.exists() else "" for path in paths}
        return len(texts) == 1 and all(word in next(iter(texts)) for word in having.split())

    until(equal, f"{[path.read_text() for path in paths if path.exists()]} without {having!r}")


def free_address() -> str:
    """An address on loopback that was free just now."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"
