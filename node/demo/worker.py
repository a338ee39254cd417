"""One author of the demonstration: a node in a process of its own, `python -m node.demo.worker DIRECTORY`.

It does what standard input asks for, one request at a time, and ends with it: when the parent is gone, however that
came about, the input ends, and so does the worker, after its node has brought everything to disk. It listens on
loopback alone.
"""

import asyncio
import base64
import signal
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

from blake3 import blake3

from domain.errors import CulmError
from domain.identifiers import LogId, LogKey, PeerId
from node.config import NodeConfig
from node.demo.line import DemoError, LineReader, Message, encode_line
from node.demo.passage import make_script
from node.demo.script import ROOT, Script, relate
from node.demo.typist import Splice, Typist, Watcher, to_splices
from node.document import Document
from node.node import Node
from node.trace import read_trace

PROGRESS_S: Final = 0.1  # so often at most is told how far we are
MEMORY_FILE: Final = Path("/proc/self/status")


class RequestPipe(asyncio.Protocol):
    """Takes requests from standard input; at its end, or where it is garbage, the main task is cancelled."""

    def __init__(self) -> None:
        self._reader = LineReader()
        self._requests: deque[Message] = deque()
        self._arrived = asyncio.Event()
        self._main = asyncio.current_task()

    def data_received(self, data: bytes) -> None:
        """Take requests."""
        try:
            self._requests += self._reader.feed(data)
        except DemoError:
            self.connection_lost(None)
        self._arrived.set()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        """End the worker."""
        if self._main is not None:
            self._main.cancel()

    async def next(self) -> Message:
        """Wait for the next request."""
        while not self._requests:
            self._arrived.clear()
            await self._arrived.wait()
        return self._requests.popleft()


def send(message: Message) -> None:
    """Write one line to standard output."""
    sys.stdout.buffer.write(encode_line(message))
    sys.stdout.buffer.flush()


class Worker:
    """Does what is asked.

    Args:
        directory: The node's data directory.
        stack: Closes the node at the end.
    """

    def __init__(self, directory: Path, stack: AsyncExitStack) -> None:
        self._directory = directory
        self._stack = stack
        self._node: Node | None = None
        self._document: Document | None = None
        self._watcher: Watcher | None = None
        self._samples: list[tuple[int, float]] = []
        self._splices: list[tuple[Splice, ...]] = []
        self._script: Script | None = None
        self._told_at = 0.0
        self.actions: dict[str, Callable[[Message], Awaitable[Message]]] = {
            "open": self._open,
            "create": self._create,
            "invite": self._invite,
            "join": self._join,
            "meet": self._meet,
            "load": self._load,
            "type": self._type,
            "tap": self._tap,
            "wait": self._wait,
            "look": self._look,
            "count": self._count,
            "count_process": self._count_process,
            "samples": self._give_samples,
            "export": self._export,
        }

    @property
    def node(self) -> Node:
        """The node, once it is open."""
        if self._node is None:
            raise DemoError("the node is not open")
        return self._node

    @property
    def document(self) -> Document:
        """The document, once there is one."""
        if self._document is None:
            raise DemoError("there is no document")
        return self._document

    def _watch(self, document: Document) -> Message:
        self._document = document
        self._watcher = Watcher(document)
        return {"document": str(document.id), "client": self._watcher.client}

    def _tell(self, number: int) -> None:
        now = asyncio.get_running_loop().time()
        if now > self._told_at + PROGRESS_S:
            self._told_at = now
            send({"progress": number})

    async def _open(self, _request: Message) -> Message:
        loop = asyncio.get_running_loop()
        started = loop.time()
        config = NodeConfig(listen="127.0.0.1:0")
        node = await self._stack.enter_async_context(Node.open(self._directory, config))
        self._node = node
        answer: Message = {"peer": str(node.peer_id), "addresses": list(node.addresses)}
        known = node.documents()
        if known:
            document = await node.document(known[0].id)
            length = len(str(document.text(ROOT)))
            answer |= {"open_s": loop.time() - started, "length": length} | self._watch(document)
        return answer

    async def _create(self, request: Message) -> Message:
        return self._watch(await self.node.create(str(request["name"])))

    async def _invite(self, request: Message) -> Message:
        return {"invite": await self.document.invite(uses=int(request["uses"]))}

    async def _join(self, request: Message) -> Message:
        loop = asyncio.get_running_loop()
        started = loop.time()
        document = await self.node.join(str(request["invite"]))
        await document.synced()
        operations = sum(document.heights.values())
        seconds = loop.time() - started
        return {"seconds": seconds, "operations": operations} | self._watch(document)

    async def _meet(self, request: Message) -> Message:
        """Connect to other authors too, not only to the one that invited us."""
        for peer, addresses in request["peers"]:
            self.node.peers.want(PeerId.from_hex(peer), addresses)
        return {}

    async def _load(self, request: Message) -> Message:
        """Get ready to type a recorded session, or our own text."""
        if request.get("trace") is None:
            self._script = make_script(int(request["authors"]))
            return {"edits": len(self._script.moves[int(request["author"])])}
        trace = read_trace(Path(request["trace"]))
        if trace.agents is None:
            self._splices = to_splices(trace)[: request.get("edits")]
            return {"edits": len(self._splices)}
        self._script = relate(trace, self._tell)
        return {"edits": len(self._script.moves[int(request["author"])])}

    async def _type(self, request: Message) -> Message:
        assert self._watcher is not None
        loop = asyncio.get_running_loop()
        typist = Typist(self.document, self._watcher, self._tell)
        pace_s = float(request.get("pace_s", 0.0))
        started = loop.time()
        if self._script is not None:
            await typist.type_script(
                self._script, int(request["author"]), request["clients"], pace_s=pace_s
            )
        else:
            first = int(request.get("first", 0))
            splices = self._splices[first : request.get("last")]
            await typist.type_splices(splices, pace_s=pace_s)
        return await self._finish(typist, started)

    async def _finish(self, typist: Typist, started: float) -> Message:
        await self.document.durable()
        self._samples += typist.samples
        own = [
            [str(log.author), str(log.log_id), count]
            for log, count in self.document.heights.items()
            if log.author == self.node.peer_id
        ]
        ended = asyncio.get_running_loop().time()
        return {"heights": own, "started": started, "ended": ended}

    async def _tap(self, request: Message) -> Message:
        """Type one character again and again: each an operation of its own, or so far apart that it is one."""
        assert self._watcher is not None
        started = asyncio.get_running_loop().time()
        typist = Typist(self.document, self._watcher, self._tell)
        end = len(self.document.text(ROOT))
        taps = [(Splice(end + each, end + each, "x"),) for each in range(int(request["count"]))]
        if "pace_s" in request:
            await typist.type_splices(taps, pace_s=float(request["pace_s"]))
        else:
            for tap in taps:
                await typist.type_splices([tap])
                await self.document.durable()
        return await self._finish(typist, started)

    async def _wait(self, request: Message) -> Message:
        """Wait until what others have written is on our disk and in our text."""
        target = {
            LogKey(PeerId.from_hex(author), LogId.from_hex(log)): int(count)
            for author, log, count in request["heights"]
        }

        def is_reached() -> bool:
            heights = self.document.heights
            return all(heights.get(log, 0) >= count for log, count in target.items())

        await self.document.wait_until(is_reached)
        return {"ended": asyncio.get_running_loop().time()}

    async def _look(self, _request: Message) -> Message:
        """Say what the text is, in short, and what its characters are, in whatever order."""
        text = str(self.document.text(ROOT))
        return {
            "length": len(text),
            "digest": blake3(text.encode()).hexdigest(),
            "characters": blake3("".join(sorted(text)).encode()).hexdigest(),
        }

    async def _count(self, _request: Message) -> Message:
        statistics = self.document.statistics()
        carried = [link.connection.statistics() for link in self.node.peers.links()]
        return {
            "edits": statistics.edits,
            "operations": statistics.operations,
            "update_bytes": statistics.update_bytes,
            "body_bytes": statistics.body_bytes,
            "bytes_sent": sum(each.bytes_sent for each in carried),
            "bytes_received": sum(each.bytes_received for each in carried),
            "processor_s": time.process_time(),
        }

    async def _count_process(self, _request: Message) -> Message:
        return {"memory_bytes": resident_bytes(), "processor_s": time.process_time()}

    async def _export(self, _request: Message) -> Message:
        """Give the whole document as one update."""
        return {"update": base64.b64encode(self.document.ydoc.get_update()).decode()}

    async def _give_samples(self, _request: Message) -> Message:
        """Give what was typed when, and what came when, and forget it."""
        assert self._watcher is not None
        samples, self._samples = self._samples, []
        arrivals, self._watcher.arrivals = self._watcher.arrivals, {}
        return {"samples": samples, "arrivals": list(arrivals.items())}


def resident_bytes() -> int:
    """Give how much memory this process has; 0 where the system does not tell."""
    try:
        status = MEMORY_FILE.read_text(encoding="ascii")
    except OSError:
        return 0
    return int(status.partition("VmRSS:")[2].split(maxsplit=1)[0]) * 1024


async def serve(directory: Path) -> None:
    """Do what standard input asks for, to its end."""
    loop = asyncio.get_running_loop()
    _, pipe = await loop.connect_read_pipe(RequestPipe, sys.stdin.buffer)
    async with AsyncExitStack() as stack:
        worker = Worker(directory, stack)
        while (request := await pipe.next()).get("do") != "stop":
            try:
                done: dict[str, Any] = await worker.actions[str(request.get("do"))](request)
                send({"done": done})
            except (CulmError, KeyError, TypeError, ValueError) as error:
                send({"failed": f"{type(error).__name__}: {error}"})
    send({"done": {}})


def main() -> int:
    """Run the worker; an interrupt at the terminal is for the parent to deal with."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        asyncio.run(serve(Path(sys.argv[1])))
    except (asyncio.CancelledError, BrokenPipeError):
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
