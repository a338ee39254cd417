"""A wire between two network namespaces, in user space: delays, loses, and can be cut.

The kernel's own means for that (netem) are not there on every machine. Each end is a TAP device; frames that enter
one leave the other later, or not at all. Run as `python wire.py NAMESPACE DEVICE NAMESPACE DEVICE`; it prints `ready`
and then takes lines of JSON on stdin: `{"delay_ms": 12.5, "jitter_ms": 0, "loss": 0.05, "is_up": true}`. With
`{"capture": FILE}` it writes every frame that it carries from then on into a file in the pcap format.
"""

import ctypes
import fcntl
import heapq
import json
import os
import random
import select
import struct
import sys
import time
from pathlib import Path
from typing import Final

CLONE_NEWNET: Final = 0x4000_0000
TUNSETIFF: Final = 0x4004_54CA
IFF_TAP_NO_INFO: Final = 0x0002 | 0x1000
FRAME_BYTES_MAX: Final = 65_535
FRAMES_MAX: Final = 20_000
PCAP_HEADER: Final = struct.pack(
    "<IHHiIII", 0xA1B2_C3D4, 2, 4, 0, 0, FRAME_BYTES_MAX, 1
)  # 1: Ethernet

_libc: Final = ctypes.CDLL("libc.so.6", use_errno=True)


def enter(namespace: str) -> None:
    """Go into a network namespace."""
    with Path("/run/netns", namespace).open() as file:
        if _libc.setns(file.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"cannot enter {namespace}")


def open_tap(name: str) -> int:
    """Make a TAP device here, and give what reads and writes its frames."""
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH", name.encode(), IFF_TAP_NO_INFO))
    return device


class Behavior:
    """What the wire does with frames, as it was last told."""

    def __init__(self) -> None:
        self.delay_ms, self.jitter_ms, self.loss, self.is_up = 0.0, 0.0, 0.0, True
        self._chance = random.Random(1)
        self._capture: int | None = None

    def hear(self, line: str) -> None:
        """Change, as a line of stdin says."""
        for name, value in json.loads(line).items():
            if name == "capture":
                self._capture = os.open(value, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
                os.write(self._capture, PCAP_HEADER)
            else:
                setattr(self, name, value)

    def delay_s(self, frame: bytes) -> float | None:
        """Say how long a frame takes; None for one that is lost."""
        if self._capture is not None:
            seconds, micros = divmod(time.time_ns() // 1_000, 1_000_000)
            header = struct.pack("<IIII", seconds, micros, len(frame), len(frame))
            os.write(self._capture, header + frame)
        if not self.is_up or self._chance.random() < self.loss:
            return None
        return (self.delay_ms + self._chance.random() * self.jitter_ms) / 1_000


def carry(one: int, other: int) -> None:
    """Carry frames both ways until stdin ends."""
    behavior = Behavior()
    waiting: list[tuple[float, int, int, bytes]] = []
    last = {one: 0.0, other: 0.0}
    count = 0
    while True:
        timeout = max(0.0, waiting[0][0] - time.monotonic()) if waiting else None
        readable, _, _ = select.select([one, other, sys.stdin], [], [], timeout)
        now = time.monotonic()
        while waiting and waiting[0][0] <= now:
            _, _, target, frame = heapq.heappop(waiting)
            write(target, frame)
        if sys.stdin in readable:
            line = sys.stdin.readline()
            if not line:
                return
            behavior.hear(line)
        for source, target in ((one, other), (other, one)):
            if source not in readable:
                continue
            for frame in frames(source):
                delay_s = behavior.delay_s(frame)
                if delay_s is None:
                    continue
                last[target] = due = max(now + delay_s, last[target])
                count += 1
                if len(waiting) < FRAMES_MAX:
                    heapq.heappush(waiting, (due, count, target, frame))


def frames(source: int) -> list[bytes]:
    """Read what is there."""
    found = []
    for _ in range(64):
        try:
            found.append(os.read(source, FRAME_BYTES_MAX))
        except OSError:
            break
    return found


def write(target: int, frame: bytes) -> None:
    """Write a frame; one that the device does not take is lost."""
    try:
        os.write(target, frame)
    except OSError:
        return


def main() -> None:
    """Make the devices and carry."""
    _, one_namespace, one_name, other_namespace, other_name = sys.argv
    enter(one_namespace)
    one = open_tap(one_name)
    enter(other_namespace)
    other = open_tap(other_name)
    print("ready", flush=True)
    carry(one, other)


if __name__ == "__main__":
    main()
