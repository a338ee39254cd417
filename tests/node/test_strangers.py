"""Connections of strangers are bounded, those who join are left alone, and who is of no use is let go soon."""

import asyncio
from collections import Counter
from dataclasses import dataclass
from typing import cast

from hypothesis import given
from hypothesis import strategies as st

from adapters.simulation.loop import run
from adapters.simulation.world import SimulatedWorld
from domain.connectivity.close_codes import CloseCode
from domain.identity import DeviceKey
from domain.limits import (
    PREFIX_SERVED_STRANGERS_MAX,
    PREFIX_STRANGERS_MAX,
    SERVED_STRANGERS_MAX,
    STRANGER_S_MAX,
    STRANGERS_MAX,
)
from domain.ports.network import Connection
from node import Node, NodeConfig
from node.link import Link
from node.strangers import Strangers
from node.wiring.simulated import simulated_adapters


@dataclass(eq=False)
class Visitor:
    """What there is to know about a link, which is its own connection."""

    remote_address: str
    is_joining: bool = False
    is_served: bool = False
    shares_something: bool = False
    code: int | None = None

    @property
    def connection(self) -> "Visitor":
        return self

    @property
    def is_of_use(self) -> bool:
        return self.is_joining or self.is_served

    def close(self, code: int, reason: str) -> None:
        assert reason
        self.code = code


visits = st.lists(
    st.tuples(
        st.sampled_from(("203.0.113", "198.51.100", "192.0.2", "127.0.0", "alice")),
        st.sampled_from(("idle", "is_joining", "is_served", "shares_something")),
        st.integers(1, 90),
    ),
    max_size=30,
)


@given(visits=visits, serves_anybody=st.booleans())
def test_there_are_only_so_many_and_who_joins_stays(
    visits: list[tuple[str, str, int]], *, serves_anybody: bool
) -> None:
    strangers = Strangers(serves_anybody=serves_anybody)
    total_max = SERVED_STRANGERS_MAX if serves_anybody else STRANGERS_MAX
    prefix_max = PREFIX_SERVED_STRANGERS_MAX if serves_anybody else PREFIX_STRANGERS_MAX
    here: list[Visitor] = []
    for prefix, kind, count in visits:
        for _ in range(count):
            newcomer = Visitor(f"{prefix}.7:4433" if "." in prefix else f"{prefix}:1")
            before = [each for each in here if each.is_joining or each.shares_something]
            here.append(newcomer)
            strangers.admit(cast("Link", newcomer))
            assert all(each.code is None for each in before), "who joins, or has joined, stays"
            ended = [each for each in here if each.code is not None]
            assert all(each.code == CloseCode.RESOURCES for each in ended)
            assert len(ended) <= 1
            here = [each for each in here if each.code is None]
            if kind != "idle":
                setattr(newcomer, kind, True)
    assert len(strangers) <= total_max
    crowds = Counter(
        each.remote_address.rpartition(".")[0] for each in here if not each.shares_something
    )
    assert all(
        count <= prefix_max for prefix, count in crowds.items() if prefix not in ("", "127.0.0")
    )
    for each in here:
        strangers.forget(cast("Link", each))
    assert len(strangers) == 0


def test_the_oldest_that_is_of_no_use_makes_room() -> None:
    strangers = Strangers(serves_anybody=True)
    crowd = [Visitor(f"198.51.{number // 100}.1:1") for number in range(SERVED_STRANGERS_MAX)]
    for each in crowd:
        strangers.admit(cast("Link", each))
        each.is_served = True
    crowd[3].is_served = False
    strangers.admit(cast("Link", Visitor("192.0.2.1:1")))
    assert [number for number, each in enumerate(crowd) if each.code is not None] == [3]


def test_strangers_by_the_hundred_neither_stay_nor_keep_a_member_out(seed: int) -> None:
    async def scene(seed: int) -> None:
        world = SimulatedWorld(asyncio.get_running_loop(), seed)
        hub, crowd = world.machine("hub"), [world.machine(f"eve{n}") for n in range(3)]
        async with (
            simulated_adapters(hub, NodeConfig()) as environment,
            Node.run(environment) as node,
            simulated_adapters(world.machine("bob"), NodeConfig()) as other_environment,
            Node.run(other_environment) as other,
        ):
            document = await node.create("notes")
            copy = await other.join(await document.invite())
            await copy.synced()
            connections: list[Connection] = []
            for number in range(STRANGERS_MAX + 50):
                machine = crowd[number % len(crowd)]
                machine.key = DeviceKey(number.to_bytes(32, "big"))
                interface = machine.open_network(port=100 + number)
                await interface.start()
                connections.append(await interface.dial(hub.key.peer, [hub.address]))
            await asyncio.sleep(1)  # virtual
            assert len(node.peers.known) <= STRANGERS_MAX + 2
            codes = [(await each.wait_closed())[0] for each in connections[:50]]
            assert codes == [CloseCode.RESOURCES] * 50
            await asyncio.sleep(STRANGER_S_MAX)
            codes = [(await each.wait_closed())[0] for each in connections[50:]]
            assert set(codes) == {CloseCode.UNUSED}
            assert set(node.peers.known) == {other.peer_id}
            copy.text("body").insert(0, "still here")
            await copy.durable("peers:1")

    run(scene, seed)
