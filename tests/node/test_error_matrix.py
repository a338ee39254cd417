"""Each row of the table of strategies comes about as in earnest, and the node does what the row says."""

import ast
import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import pytest

from adapters.simulation.loop import run
from adapters.simulation.network import SimulatedNetwork
from adapters.simulation.world import SimulatedMachine, SimulatedWorld
from domain import errors
from domain.connectivity.close_codes import CloseCode
from domain.connectivity.lifecycle import State
from domain.connectivity.strategy import STRATEGIES, Action, Strategy
from domain.errors import (
    AuthenticationError,
    ConnectionLostError,
    ConnectionReplacedError,
    ConnectionTimedOutError,
    CorruptMessageError,
    DialError,
    HandshakeError,
    HandshakeTimedOutError,
    NetworkDownError,
    NetworkError,
    NotWantedError,
    PeerBusyError,
    PeerFailedError,
    PeerStoppedError,
    ProtocolViolationError,
    VersionNotSupportedError,
    WrongNetworkError,
)
from domain.events import Event, NetworkErrorMet, PeerStateChanged, SecurityEvent
from domain.identity import SIGNATURE_BYTES
from domain.limits import ACCEPT_QUEUE_MAX, BACK_OFF_S_MAX, FAILED_RETRY_S
from domain.ports.network import NetworkInterface
from domain.sync.frontier import channel_name
from domain.sync.message import Nack, decode_message
from node import Node
from tests.simulation.hostile import own_update
from tests.simulation.test_hostile import with_signature
from tests.simulation.village import open_village, running
from tests.tidy.repository import name_of, python_files

WAIT_S: Final = 60.0
SOON_S: Final = 0.5


class Stage:
    """A node, Alice, that wants a peer which is no node but does as the test says."""

    def __init__(self, world: SimulatedWorld, alice: Node) -> None:
        self.world = world
        self.alice = alice
        self.bob: SimulatedMachine = world.machine("bob")

    def want(self, *machines: SimulatedMachine) -> None:
        for machine in machines or (self.bob,):
            self.alice.peers.want(machine.key.peer, [machine.address])

    async def listen(self, **changes: object) -> NetworkInterface:
        """Let the peer listen."""
        machine = self.bob
        network = machine.open_network()
        for name, value in changes.items():
            setattr(network, name, value)
        await network.start()
        return network

    async def close_with(self, code: int) -> None:
        """Let the peer take the connection, and end it a little later."""
        network = await self.listen()
        self.want()
        connection = await network.accept()
        await asyncio.sleep(SOON_S)
        connection.close(code, "as the test says")


Provocation = Callable[[Stage], Awaitable[None]]


def closing(code: int) -> Provocation:
    return lambda stage: stage.close_with(code)


async def let_nobody_answer(stage: Stage) -> None:
    stage.want()


async def cut_ourselves_off(stage: Stage) -> None:
    stage.want(stage.bob, stage.world.machine("carol"))


async def break_our_own_interface(stage: Stage) -> None:
    await stage.alice.environment.network.close(CloseCode.INTERNAL_ERROR, "broken")
    stage.want()


async def answer_as_somebody_else(stage: Stage) -> None:
    carol = stage.world.machine("carol").open_network()
    await carol.start()
    stage.alice.peers.want(stage.bob.key.peer, [carol.address])


async def answer_from_another_network(stage: Stage) -> None:
    await stage.listen(network_id="another")
    stage.want()


async def answer_in_another_version(stage: Stage) -> None:
    await stage.listen(versions=(99,))
    stage.want()


async def fall_silent_in_the_hello(stage: Stage) -> None:
    await stage.listen()
    stage.want()

    def is_so_far(event: Event) -> bool:
        return isinstance(event, PeerStateChanged) and event.new is State.AUTHENTICATING

    await anext(stage.alice.listen(is_so_far))
    stage.world.network.partition(["alice"])


async def be_crowded(stage: Stage) -> None:
    network = await stage.listen()
    filler = stage.world.machine("filler").open_network()
    await filler.start()
    for _ in range(ACCEPT_QUEUE_MAX):
        await filler.dial(stage.bob.key.peer, network.addresses)
    stage.want()


async def vanish(stage: Stage) -> None:
    network = await stage.listen()
    stage.want()
    await network.accept()
    stage.bob.crash()


PROVOKED: Final[dict[type[NetworkError], Provocation]] = {
    NetworkError: break_our_own_interface,
    DialError: let_nobody_answer,
    NetworkDownError: cut_ourselves_off,
    HandshakeError: be_crowded,
    AuthenticationError: answer_as_somebody_else,
    HandshakeTimedOutError: fall_silent_in_the_hello,
    WrongNetworkError: answer_from_another_network,
    VersionNotSupportedError: answer_in_another_version,
    ConnectionLostError: closing(CloseCode.NORMAL),
    ConnectionTimedOutError: vanish,
    ConnectionReplacedError: closing(CloseCode.REPLACED),
    PeerStoppedError: closing(CloseCode.SHUTTING_DOWN),
    PeerFailedError: closing(CloseCode.INTERNAL_ERROR),
    PeerBusyError: closing(CloseCode.RESOURCES),
    NotWantedError: closing(CloseCode.NOT_WANTED),
    ProtocolViolationError: closing(CloseCode.PROTOCOL_ERROR),
}


def test_every_network_error_is_provoked() -> None:
    kinds = {each for each in vars(errors).values() if isinstance(each, type)}
    provoked = PROVOKED.keys() | {CorruptMessageError}  # below: its connection stays
    assert {each for each in kinds if issubclass(each, NetworkError)} == provoked


@pytest.mark.parametrize("kind", PROVOKED, ids=lambda kind: kind.__name__)
def test_the_node_does_what_the_row_says(kind: type[NetworkError], seed: int) -> None:
    strategy = STRATEGIES[kind]

    async def scenario(seed: int) -> None:
        loop = asyncio.get_running_loop()
        world = SimulatedWorld(loop, seed, network=SimulatedNetwork(loop, seed))
        async with running(world.machine("alice")) as alice:
            stage = Stage(world, alice)
            listener = alice.listen(
                lambda event: isinstance(event, NetworkErrorMet | SecurityEvent)
            )
            async with asyncio.timeout(WAIT_S):
                await PROVOKED[kind](stage)
                event = await anext(listener)
            assert isinstance(event, NetworkErrorMet)
            assert event.error == kind.__name__
            assert event.action == strategy.action.value
            assert event.retry_s is not None
            check(stage, strategy, event.retry_s)
            if strategy.is_security:
                assert isinstance(await anext(listener), SecurityEvent)
            assert alice.statistics().security_count == int(strategy.is_security)
            assert alice.statistics().last_errors[-1].kind == kind.__name__

    run(scenario, seed)


def check(stage: Stage, strategy: Strategy, retry_s: float) -> None:
    """The peer waits as the row says."""
    status = stage.alice.peers.known[stage.bob.key.peer]
    if strategy.action is Action.GIVE_UP:
        assert status.lifecycle.state is State.FAILED
        assert 0.9 * FAILED_RETRY_S <= retry_s <= FAILED_RETRY_S
    else:
        assert strategy.action in (Action.RETRY, Action.REDIAL)
        assert status.tries == (strategy.action is Action.RETRY)
        assert status.lifecycle.state is State.RECONNECTING
        assert strategy.floor_s <= retry_s <= max(BACK_OFF_S_MAX, 1.5 * strategy.floor_s)
    assert status.failures == int(strategy.is_counted)
    assert stage.alice.peers.next_dial(stage.bob.key.peer) is not None


def test_a_corrupt_operation_is_answered_with_a_nack_and_reported_and_the_connection_stays(
    seed: int,
) -> None:
    async def scenario(seed: int) -> None:
        async with open_village(seed) as village:
            connection = await village.attack()
            operation = village.mallory.update(own_update(village.mallory))
            await village.mallory.send(
                connection, with_signature(operation, bytes(SIGNATURE_BYTES))
            )
            channel = connection.channel(channel_name(village.document, connection.binding))
            async with asyncio.timeout(WAIT_S):
                while not isinstance(answer := decode_message(await channel.receive()), Nack):
                    pass
            assert answer.reason == "bad-signature"
            [met] = [
                each
                for each in village.alice.of_kind(NetworkErrorMet)
                if each.error == CorruptMessageError.__name__
            ]
            assert (met.action, met.retry_s) == (Action.RESEND.value, None)
            assert len(village.alice.of_kind(SecurityEvent)) == 1
            assert connection.lifecycle.state is State.ENCRYPTED
            await village.check_unharmed()

    run(scenario, seed)


# --- Nothing else decides ---

NETWORK_ERRORS: Final = {kind.__name__ for kind in STRATEGIES if issubclass(kind, NetworkError)}
TOLD_APART: Final = {
    "node/cli/": "what a person is told, and the exit code",
    "node/commands/": "the same",
    "node/explaining.py": "what a person is told",
    "node/reaching.py": "of several ways at once, the error of the one that got furthest is handed on",
    "node/signalling.py": "the same, for the ways to a rendezvous",
}
"""Where kinds of errors may be told apart, and why that decides nothing about a peer."""


def kinds_told_apart(path: Path) -> set[str]:
    """The network errors that a file catches or looks for by their kind.

    All of them at once, and the end of the connection that a task serves, are no kinds.
    """
    looked_for: list[ast.AST] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ExceptHandler) and node.type is not None:
            looked_for.append(node.type)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("isinstance", "issubclass"):
            looked_for.append(node.args[1])
        elif isinstance(node, ast.MatchClass):
            looked_for.append(node.cls)
    names = {n.id for each in looked_for for n in ast.walk(each) if isinstance(n, ast.Name)}
    return (names & NETWORK_ERRORS) - {"NetworkError", "ConnectionLostError"}


def test_the_runtime_asks_the_table_and_decides_nothing_itself() -> None:
    files = [
        path for path in python_files("node") if not name_of(path).startswith(tuple(TOLD_APART))
    ]
    assert {name_of(path): found for path in files if (found := kinds_told_apart(path))} == {}


def test_who_tells_kinds_apart_is_found(tmp_path: Path) -> None:
    path = tmp_path / "x.py"
    path.write_text("try:\n    dial()\nexcept (OSError, DialError):\n    pass\n")
    assert kinds_told_apart(path) == {"DialError"}
    path.write_text("if isinstance(error, HandshakeError | OSError):\n    pass\n")
    assert kinds_told_apart(path) == {"HandshakeError"}
