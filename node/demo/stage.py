"""Gives the demonstration: starts the workers, lets them type, and checks that they end equal."""

import asyncio
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Final, Protocol

from blake3 import blake3

from node.demo.line import DemoError, Message
from node.demo.passage import make_script
from node.demo.process import WorkerProcess, all_of, ask_all, start_worker
from node.trace import Trace, read_trace

PACE_S: Final = (
    0.002  # for each author: with two, 250 keystrokes a second, fast and still to be watched
)
NAME: Final = "demonstration"
RESTARTED: Final = -1  # which author is restarted: the last


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoReport:
    """What came out; the keys of `--json`.

    Args:
        converged: Whether all nodes had the same text at the end.
        matches_end_content: Whether that is the text that the trace ends with; None where no text is prescribed.
        characters_ok: Whether every character is there that should be, and no other.
        edits: Transactions typed.
        operations: Signed operations that carried them.
        seconds: From the first keystroke until everybody had everything on disk.
        wire_bytes: UDP payload of all nodes together, each datagram once, acknowledgements included, handshakes not.
        update_bytes: Of the updates that pycrdt emitted, one for each transaction.
        body_bytes: Of what operations carried, before sealing.
        latency_ms_p50: From a keystroke until another node showed it, in the middle; None without any.
        latency_ms_p99: The same, for the slowest hundredth.
        restart_ok: Whether a node that was killed had the same text again.
    """

    converged: bool
    matches_end_content: bool | None
    characters_ok: bool
    edits: int
    operations: int
    seconds: float
    wire_bytes: int
    update_bytes: int
    body_bytes: int
    latency_ms_p50: float | None
    latency_ms_p99: float | None
    restart_ok: bool

    @property
    def is_ok(self) -> bool:
        """Whether everything went as it should."""
        return (
            self.converged
            and self.characters_ok
            and self.restart_ok
            and self.matches_end_content is not False
        )

    def to_json(self) -> Message:
        """Give the keys and values for `--json`."""
        return asdict(self)


class Audience(Protocol):
    """Watches the demonstration."""

    def phase(self, text: str) -> None:
        """Something else begins."""

    def expect(self, author: int, edits: int) -> None:
        """An author is going to type so many edits."""

    def typed(self, author: int, edits: int) -> None:
        """An author has typed so many edits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Demo:
    """What is to be shown.

    Args:
        directory: Where the data directories of the authors are made.
        authors: How many there are.
        trace_path: The recorded session that is typed; None for our own text.
        trace: The same, read.
    """

    directory: Path
    authors: int
    trace_path: Path | None = None
    trace: Trace | None = None

    @property
    def typing(self) -> range:
        """Which authors type: all, except where the session had one."""
        is_sequential = self.trace is not None and self.trace.agents is None
        return range(1 if is_sequential else self.authors)


def prepare(directory: Path, authors: int | None, trace_path: Path | None) -> Demo:
    """Decide who types what.

    Args:
        directory: Where data directories go.
        authors: How many authors; None for two, or as many as the trace has.
        trace_path: The recorded session.

    Raises:
        TraceError: The trace is damaged, or none.
        DemoError: The trace has more agents than there are to be authors.
    """
    if trace_path is None:
        return Demo(directory=directory, authors=authors or 2)
    trace = read_trace(trace_path)
    agents = trace.agents or 1
    count = authors or max(2, agents)
    if count < agents or (trace.agents is not None and count > agents):
        raise DemoError(
            f"the trace has {agents} authors, not {count}: leave out the number of authors"
        )
    return Demo(directory=directory, authors=count, trace_path=trace_path, trace=trace)


async def give(demo: Demo, audience: Audience) -> DemoReport:
    """Give the demonstration.

    Raises:
        DemoError: A worker failed.
    """
    async with AsyncExitStack() as stack:
        audience.phase("starting the nodes")
        workers = [
            await stack.enter_async_context(start_worker(demo.directory / f"author-{number}"))
            for number in range(1, demo.authors + 1)
        ]
        clients = await _bring_together(workers, audience)
        audience.phase("getting ready")
        loaded = await all_of(
            [_ask_to_load(demo, workers[author], author) for author in demo.typing]
        )
        for author, answer in zip(demo.typing, loaded, strict=True):
            audience.expect(author, answer["edits"])
        audience.phase("typing")
        started, heights = await _type(demo, workers, clients, audience)
        audience.phase("waiting until everybody has everything")
        ended = max(answer["ended"] for answer in await ask_all(workers, "wait", heights=heights))
        looks = await ask_all(workers, "look")
        counts = await ask_all(workers, "count")
        latencies = correlate(await ask_all(workers, "samples"), clients)
        audience.phase("killing one node, and starting it again")
        again = await _restart(demo, workers, stack)
        return _report(demo, looks, counts, latencies, again, ended - started)


async def _bring_together(workers: list[WorkerProcess], audience: Audience) -> list[int]:
    """Let the first found the document and the others join; everybody connects to everybody."""
    opened = await ask_all(workers, "open")
    first, *others = workers
    created = await first.ask("create", name=NAME)
    audience.phase("joining by invite")
    clients = [created["client"]]
    if others:
        invite = (await first.ask("invite", uses=len(others)))["invite"]
        clients += [answer["client"] for answer in await ask_all(others, "join", invite=invite)]
    for number, worker in enumerate(workers[2:], start=2):
        peers = [[each["peer"], each["addresses"]] for each in opened[1:number]]
        await worker.ask("meet", peers=peers)
    return clients


def _ask_to_load(demo: Demo, worker: WorkerProcess, author: int) -> "asyncio.Future[Message]":
    trace = None if demo.trace_path is None else str(demo.trace_path.resolve())
    return worker.ask("load", trace=trace, author=author, authors=demo.authors)


async def _type(
    demo: Demo, workers: list[WorkerProcess], clients: list[int], audience: Audience
) -> tuple[float, list[object]]:
    """Let everybody type; give when that began, and the heights of all logs after it."""
    pace_s = PACE_S * demo.authors if demo.trace is None else 0.0
    answers = []
    for author in demo.typing:
        worker = workers[author]
        worker.on_progress = partial(audience.typed, author)
        answers.append(worker.ask("type", author=author, clients=clients, pace_s=pace_s))
    done = await all_of(answers)
    return min(each["started"] for each in done), [
        height for each in done for height in each["heights"]
    ]


async def _restart(demo: Demo, workers: list[WorkerProcess], stack: AsyncExitStack) -> Message:
    """Kill one node, open its directory in a new process, and look at its text."""
    await workers[RESTARTED].kill()
    directory = demo.directory / f"author-{demo.authors}"
    worker = await stack.enter_async_context(start_worker(directory))
    await worker.ask("open")
    return await worker.ask("look")


def correlate(answers: Sequence[Message], clients: Sequence[int]) -> list[float]:
    """Find out how long each followed edit took to each other node, in seconds, sorted.

    Args:
        answers: For each worker, what it typed when and what came when.
        clients: Their client ids.
    """
    latencies: list[float] = []
    for number, typist in enumerate(answers):
        for reader in (*answers[:number], *answers[number + 1 :]):
            arrivals = dict(map(tuple, reader["arrivals"])).get(clients[number], [])
            clocks = [clock for clock, _ in arrivals]
            for clock, typed_at in typist["samples"]:
                index = bisect_left(clocks, clock)
                if index < len(arrivals):
                    latencies.append(arrivals[index][1] - typed_at)
    return sorted(latencies)


def percentile_ms(latencies: Sequence[float], percent: int) -> float | None:
    """Give a percentile of sorted seconds, in milliseconds; None without any."""
    if not latencies:
        return None
    return round(latencies[min(len(latencies) - 1, len(latencies) * percent // 100)] * 1e3, 3)


def characters_digest(characters: Counter[str]) -> str:
    """Give the digest of characters in whatever order, as workers do."""
    text = "".join(character * characters[character] for character in sorted(characters))
    return blake3(text.encode()).hexdigest()


def _report(
    demo: Demo,
    looks: list[Message],
    counts: list[Message],
    latencies: list[float],
    again: Message,
    seconds: float,
) -> DemoReport:
    trace = demo.trace
    characters = Counter(trace.end) if trace else make_script(demo.authors).characters()
    digests = {look["digest"] for look in looks}
    matches = None
    if trace is not None and trace.agents is None:
        matches = digests == {blake3(trace.end.encode()).hexdigest()}
    return DemoReport(
        converged=len(digests) == 1,
        matches_end_content=matches,
        characters_ok={look["characters"] for look in looks} == {characters_digest(characters)},
        edits=sum(count["edits"] for count in counts),
        operations=sum(count["operations"] for count in counts),
        seconds=round(seconds, 3),
        wire_bytes=sum(count["bytes_sent"] for count in counts),
        update_bytes=sum(count["update_bytes"] for count in counts),
        body_bytes=sum(count["body_bytes"] for count in counts),
        latency_ms_p50=percentile_ms(latencies, 50),
        latency_ms_p99=percentile_ms(latencies, 99),
        restart_ok=again["digest"] in digests and len(digests) == 1,
    )
