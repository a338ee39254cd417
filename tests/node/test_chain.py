"""Three nodes, of which two never meet, or all do: what one writes reaches the others, and hardly ever twice."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable

import pytest

from adapters.simulation.link import LinkOptions, TraceEvent, TraceKind
from adapters.simulation.loop import run
from adapters.simulation.network import SimulatedNetwork
from adapters.simulation.world import SimulatedMachine, SimulatedWorld
from domain.events import ConnectionActive
from domain.identifiers import LogKey
from domain.sync.forwarding import JITTER, LATE_S, LATE_S_MAX
from domain.sync.message import CompactOperation, decode_message
from node import Document, Node, NodeConfig
from node.wiring.simulated import simulated_adapters

WAIT_S = 60.0
WORDS = 40
WRITING_SINCE_S = 10.0  # all have joined and synced long before


class Place:
    """A machine whose node is switched on and off, with its one document."""

    def __init__(self, machine: SimulatedMachine) -> None:
        self.machine = machine
        self.node: Node
        self.document: Document
        self._task: asyncio.Task[None] | None = None
        self._off = asyncio.Event()
        self._events: list[object] = []

    async def switch_on(self) -> Node:
        self._off.clear()
        on: asyncio.Future[Node] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._run(on))
        self.node = await on
        for known in self.node.documents():
            self.document = await self.node.document(known.id)
        return self.node

    async def _run(self, on: "asyncio.Future[Node]") -> None:
        async with (
            simulated_adapters(self.machine, NodeConfig()) as environment,
            Node.run(environment) as node,
        ):
            on.set_result(node)
            await self._off.wait()

    async def switch_off(self) -> None:
        self._off.set()
        assert self._task is not None
        await self._task

    @property
    def text(self) -> str:
        return str(self.document.text("text"))

    def write(self, word: str) -> None:
        self.document.text("text").insert(0, f"{word} ")

    async def until_has(self, *words: str) -> None:
        async with asyncio.timeout(WAIT_S):
            await self.document.wait_until(lambda: set(words) <= set(self.text.split()))


async def open_three(network: SimulatedNetwork, seed: int) -> tuple[Place, Place, Place]:
    """B founds a document and invites A and C."""
    world = SimulatedWorld(network.loop, seed, network=network)
    a, b, c = (Place(world.machine(name)) for name in "abc")
    for place in (a, b, c):
        await place.switch_on()
    b.document = await b.node.create("shared")
    for place in (a, c):
        place.document = await place.node.join(await b.document.invite())
    for place in (a, c):
        await place.document.synced()
    return a, b, c


def with_trace(
    play: Callable[[SimulatedNetwork, int], Awaitable[None]], seed: int
) -> list[TraceEvent]:
    trace: list[TraceEvent] = []

    async def scenario(seed: int) -> None:
        network = SimulatedNetwork(asyncio.get_running_loop(), seed, report=trace.append)
        await play(network, seed)

    run(scenario, seed)
    return trace


def operations_sent(trace: list[TraceEvent], since_s: float) -> list[tuple[str, str, LogKey, int]]:
    """Who sent whom which operation from that time on, in order: sender, receiver, log, number."""
    logs: dict[tuple[str, int, bytes], list[LogKey]] = defaultdict(list)
    sent = []
    for event in trace:
        if event.kind is not TraceKind.SENT or not event.channel:
            continue
        message = decode_message(event.message)
        introduced = logs[event.sender, event.connection, event.channel]
        for reference in references(message):
            if isinstance(reference, LogKey) and reference not in introduced:
                introduced.append(reference)
        if isinstance(message, CompactOperation):
            log = message.log if isinstance(message.log, LogKey) else introduced[message.log]
            if event.time_s >= since_s:
                sent.append((event.sender, event.receiver, log, message.seq_num))
    return sent


def references(message: object) -> list[object]:
    """The logs that a message names, in the order in which the receiver learns their numbers."""
    listed = getattr(message, "heights", None) or getattr(message, "counts", None) or ()
    own = getattr(message, "log", None)
    return [entry[0] for entry in listed] + ([] if own is None else [own])


def test_two_that_never_meet_converge_through_a_third_which_restarts(seed: int) -> None:
    async def play(network: SimulatedNetwork, seed: int) -> None:
        network.block("a", "c")
        a, b, c = await open_three(network, seed)
        a.write("from-a")
        c.write("from-c")
        await a.until_has("from-c")
        await c.until_has("from-a")
        await b.switch_off()
        a.write("while-b-was-off-a")
        c.write("while-b-was-off-c")
        await asyncio.sleep(5)
        assert "while-b-was-off-a" not in c.text
        await b.switch_on()
        await a.until_has("while-b-was-off-c")
        await c.until_has("while-b-was-off-a")
        await b.until_has("while-b-was-off-a", "while-b-was-off-c")
        assert a.text == b.text == c.text
        for place in (a, b, c):
            await place.switch_off()

    trace = with_trace(play, seed)
    assert not [event for event in trace if {event.sender, event.receiver} == {"a", "c"}], (
        "a and c have met"
    )


def test_in_a_quiet_network_each_operation_crosses_each_way_once_and_never_comes_back(
    seed: int,
) -> None:
    async def play(network: SimulatedNetwork, seed: int) -> None:
        network.block("a", "c")
        a, b, c = await open_three(network, seed)
        await asyncio.sleep(WRITING_SINCE_S - network.loop.time())
        for number in range(WORDS):
            for place in (a, b, c):
                place.write(f"{place.machine.name}{number}")
            await asyncio.sleep(0.2)
        await a.until_has(*(f"{name}{WORDS - 1}" for name in "bc"))
        await c.until_has(*(f"{name}{WORDS - 1}" for name in "ab"))
        await asyncio.sleep(150)  # digests are compared twice more
        for place in (a, b, c):
            await place.switch_off()

    sent = operations_sent(with_trace(play, seed), WRITING_SINCE_S)
    assert len(sent) > 3 * WORDS
    assert_no_echo(sent)


async def until_all_connected(a: Place, c: Place) -> None:
    """Connect A and C, too, which have met B so far."""
    a.node.peers.want(c.node.peer_id, c.node.addresses)
    async with asyncio.timeout(WAIT_S):
        async for event in c.node.events():
            if isinstance(event, ConnectionActive) and event.peer == a.node.peer_id:
                return


@pytest.mark.parametrize("delay_s", [0.001, 0.02, 0.2])
def test_three_that_are_all_connected_send_each_operation_to_each_once(
    seed: int, delay_s: float
) -> None:
    """However long the ways are; but the first two of each author, which go the old way too until that is told."""

    async def play(network: SimulatedNetwork, seed: int) -> None:
        for one, other in ("ab", "bc", "ac"):
            network.set_link(one, other, LinkOptions(delay_s=delay_s))
        a, b, c = await open_three(network, seed)
        await until_all_connected(a, c)
        await asyncio.sleep(WRITING_SINCE_S - network.loop.time())
        for number in range(WORDS):
            for place in (a, b, c):
                place.write(f"{place.machine.name}{number}")
            await asyncio.sleep(0.5)
        await asyncio.sleep(150)
        assert a.text == b.text == c.text
        for place in (a, b, c):
            await place.switch_off()

    sent = operations_sent(with_trace(play, seed), WRITING_SINCE_S)
    assert any(sender == "a" and receiver == "c" for sender, receiver, *_ in sent)
    assert_no_echo([entry for entry in sent if entry[3] > 1])


def test_where_a_way_dies_silently_the_next_operation_comes_late_and_others_at_once(
    seed: int,
) -> None:
    async def play(network: SimulatedNetwork, seed: int) -> None:
        a, b, c = await open_three(network, seed)
        await until_all_connected(a, c)
        for number in range(5):
            a.write(f"before{number}")
            await c.until_has(f"before{number}")
            await asyncio.sleep(1)
        network.block("a", "c")
        took_s = []
        for number in range(10):
            wrote_at = network.loop.time()
            a.write(f"after{number}")
            await c.until_has(f"after{number}")
            took_s.append(network.loop.time() - wrote_at)
        assert took_s[0] <= LATE_S_MAX * (1 + JITTER) + 0.2
        assert took_s[0] >= LATE_S
        assert max(took_s[1:]) < 0.2
        for place in (a, b, c):
            await place.switch_off()

    with_trace(play, seed)


def test_what_overtakes_a_paste_does_not_make_later_words_late(seed: int) -> None:
    """It waits for what it builds on, and then nobody knows any more who brought it."""

    async def play(network: SimulatedNetwork, seed: int) -> None:
        network.block("a", "c")
        a, b, c = await open_three(network, seed)
        network.set_link("b", "c", LinkOptions(delay_s=0.02, jitter_s=0.3))
        for number in range(10):
            a.write(f"{'x' * 100_000}{number}")
            for word in range(3):
                await asyncio.sleep(0.05)
                wrote_at = network.loop.time()
                a.write(f"w{number}.{word}")
                await c.until_has(f"w{number}.{word}")
                assert network.loop.time() - wrote_at < 1.0
        for place in (a, b, c):
            await place.switch_off()

    with_trace(play, seed)


def assert_no_echo(sent: list[tuple[str, str, LogKey, int]]) -> None:
    """Nothing goes back to where it came from, and nobody gets a second copy."""
    received = Counter((receiver, log, number) for _, receiver, log, number in sent)
    assert max(received.values()) == 1, [copy for copy, times in received.items() if times > 1][:3]
    came_from = {(receiver, log, number): sender for sender, receiver, log, number in sent}
    echoes = [entry for entry in sent if came_from.get((entry[0], entry[2], entry[3])) == entry[1]]
    assert not echoes, echoes[:3]


def test_one_of_three_that_was_off_for_a_while_catches_up_without_help(seed: int) -> None:
    async def play(network: SimulatedNetwork, seed: int) -> None:
        a, b, c = await open_three(network, seed)
        await c.switch_off()
        for number in range(WORDS):
            a.write(f"a{number}")
            b.write(f"b{number}")
            await asyncio.sleep(10)
        await c.switch_on()
        c.write("back")
        await c.until_has(*(f"{name}{number}" for name in "ab" for number in range(WORDS)))
        await a.until_has("back")
        await b.until_has("back")
        assert a.text == b.text == c.text
        for place in (a, b, c):
            await place.switch_off()

    with_trace(play, seed)
