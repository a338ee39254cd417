"""A reader that stops holds up nobody's memory: its sender waits, and brings it everything once it goes on.

The full measure is 100 MB and a minute: `CULM_TEST_SLOW_BYTES=100000000 CULM_TEST_SLOW_S=60 make test-all
ARGS=tests/node/test_slow_reader.py`.
"""

import asyncio
import os
import signal
import time
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

import pytest

from adapters.simulation.loop import run
from domain import limits
from domain.connectivity.close_codes import CloseCode
from domain.sync.frontier import bulk_channel_name, channel_name
from domain.sync.message import CompactOperation, Have, decode_message, encode_message
from tests.node.slow import PIECE_BYTES, Pipe, fetch, offer
from tests.simulation.village import open_village

SIZE_BYTES: Final = int(os.environ.get("CULM_TEST_SLOW_BYTES", str(24 * limits.MIB)))
STOP_S: Final = float(os.environ.get("CULM_TEST_SLOW_S", "3"))
GROWTH_BYTES_MAX: Final = 16 * limits.MIB
STARTED_BYTES: Final = 2 * limits.MIB
WAIT_S: Final = 240.0

CONTEXT: Final = get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.node.slow"])


class Sender:
    """What the sending process says about itself."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe
        self.memory: list[int] = []
        self.sent_bytes = 0

    def listen_until(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + WAIT_S
        while not condition():
            assert time.monotonic() < deadline
            assert self._pipe.poll(WAIT_S), "the sender says nothing any more"
            memory, self.sent_bytes = self._pipe.recv()
            self.memory.append(memory)


def start(target: Callable[..., None], *arguments: str | int) -> tuple[Any, Pipe]:
    ours, theirs = CONTEXT.Pipe()
    process = CONTEXT.Process(target=target, args=(*arguments, theirs))
    process.start()
    theirs.close()
    return process, ours


@pytest.mark.timeout(600)
def test_a_reader_that_stops_costs_its_sender_no_memory_and_then_gets_everything(
    tmp_path: Path, seed: int
) -> None:
    sending, pipe = start(offer, str(tmp_path / "sender"), SIZE_BYTES, seed)
    reading = None
    try:
        assert pipe.poll(WAIT_S)
        invite, expected = pipe.recv()
        sender = Sender(pipe)
        sender.listen_until(lambda: len(sender.memory) > 5)
        before = max(sender.memory)
        count = SIZE_BYTES // PIECE_BYTES
        reading, answer = start(fetch, str(tmp_path / "reader"), invite, count)
        sender.listen_until(lambda: sender.sent_bytes > STARTED_BYTES)
        os.kill(reading.pid, signal.SIGSTOP)
        sender.memory.clear()
        stopped, sent_at_stop = time.monotonic(), sender.sent_bytes
        sender.listen_until(lambda: time.monotonic() > stopped + STOP_S)
        growth = max(sender.memory) - before
        os.kill(reading.pid, signal.SIGCONT)
        sender.listen_until(answer.poll)
        seconds = time.monotonic() - stopped - STOP_S
        assert answer.recv() == expected
        print(
            f"{SIZE_BYTES} bytes offered, {sent_at_stop} sent when the reader stopped for {STOP_S} s:"
            f" {growth} bytes more memory then, {max(sender.memory) - before} at most;"
            f" the rest took {seconds:.1f} s"
        )
        assert growth < GROWTH_BYTES_MAX
        reading.join(WAIT_S)
        pipe.send("stop")
        while not sending.join(0.1) and sending.exitcode is None:
            while pipe.poll():
                try:
                    pipe.recv()
                except EOFError:
                    break
        assert (reading.exitcode, sending.exitcode) == (0, 0)
    finally:
        for process in filter(None, (sending, reading)):
            process.kill()
            process.join(WAIT_S)


def test_what_waits_for_a_reader_that_stops_for_a_minute_is_bounded(seed: int) -> None:
    """The same in virtual time, where the queues can be looked at."""
    offered = 4 * limits.MIB

    async def scenario(seed: int) -> None:
        async with open_village(seed) as village:
            pieces = village.alice.document.array("pieces")
            for _ in range(offered // PIECE_BYTES):
                pieces.append(bytes(PIECE_BYTES))
                await village.alice.document.durable()
            connection = await village.attack()
            live, bulk = (
                connection.channel(name(village.document, connection.binding))
                for name in (channel_name, bulk_channel_name)
            )
            await live.send(encode_message(Have(is_last=True, heights=())))
            for _ in range(60):
                await asyncio.sleep(1)
                for link in village.alice.node.peers.links():
                    for exchange in link.exchanges.values():
                        waiting = sum(
                            channel._queue_bytes  # type: ignore[attr-defined]
                            for channel in exchange._channels.values()
                        )
                        for messages in exchange._session._messages.values():
                            waiting += sum(map(len, messages))
                        assert waiting <= limits.UNSENT_BYTES_MAX + limits.MESSAGE_BYTES_MAX
            await village.check_unharmed()
            received = 0
            async with asyncio.timeout(60):
                while received < offered:
                    message = decode_message(await bulk.receive())
                    if isinstance(message, CompactOperation) and isinstance(message.body, bytes):
                        received += len(message.body)
            connection.close(CloseCode.NORMAL, "done")

    run(scenario, seed)
