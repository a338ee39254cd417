"""What the machine needs for the least that an edit takes: two synced writes and a datagram each way, bare.

Run as a module it is the echo; measured between the rounds, it says how busy the machine was meanwhile.
"""

import os
import socket
import subprocess
import sys
import tempfile
import time
from typing import Final

RECORD: Final = bytes(300)  # about an operation and its row
ANSWER_S_MAX: Final = 10.0


def measure_floor(count: int) -> list[float]:
    """Give sorted times, in seconds, of write, sync, datagram, write and sync over there, and datagram back."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as here,
        tempfile.TemporaryFile(buffering=0) as file,
    ):
        here.settimeout(ANSWER_S_MAX)
        here.bind(("127.0.0.1", 0))
        port = str(here.getsockname()[1])
        command = [sys.executable, "-m", "scripts.bench.floor", port]
        with subprocess.Popen(command, stdin=subprocess.PIPE) as echo:
            try:
                _, there = here.recvfrom(2048)
                return sorted(_measure_one(here, there, file.fileno()) for _ in range(count))
            finally:
                echo.terminate()


def _measure_one(here: socket.socket, there: object, file: int) -> float:
    started = time.perf_counter()
    os.write(file, RECORD)
    os.fsync(file)
    here.sendto(RECORD, there)  # type: ignore[call-overload] # an address as recvfrom gave it
    here.recvfrom(2048)
    return time.perf_counter() - started


def echo(port: int) -> None:
    """Answer each datagram after writing it down."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as here,
        tempfile.TemporaryFile(buffering=0) as file,
    ):
        here.settimeout(ANSWER_S_MAX)
        here.sendto(b"here", ("127.0.0.1", port))
        while True:
            record, there = here.recvfrom(2048)
            os.write(file.fileno(), record)
            os.fsync(file.fileno())
            here.sendto(record, there)


if __name__ == "__main__":
    try:
        echo(int(sys.argv[1]))
    except TimeoutError:
        sys.exit(0)
