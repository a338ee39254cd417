"""How long a box keeps a silent binding is measured rightly, and the binding is held with few packets."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import pytest

from adapters.nat.lifetime import SILENCES_S, measure_binding
from adapters.nat.scout import Receiver, ScoutSocket
from adapters.simulation.environment import SimulatedClock, SimulatedEntropy
from adapters.simulation.internet.host import Host
from adapters.simulation.internet.internet import PacketEvent, PacketFate
from adapters.simulation.internet.line import LAN, LineOptions
from adapters.simulation.internet.nat import (
    FULL_CONE,
    PORT_RESTRICTED,
    SYMMETRIC,
    NatOptions,
    PortChoice,
)
from adapters.simulation.internet.reproducible import reproducible_transport
from adapters.simulation.internet.router import Router
from adapters.simulation.internet.stun_server import StunServer
from domain.connectivity.address import Address
from domain.connectivity.nat import KEEPALIVE_S, keepalive_s
from domain.errors import NetworkError
from node import Node, NodeConfig
from tests.adapters.simulation.internet.datagrams import new_internet, until
from tests.adapters.simulation.internet.nat_lab import LEFT, LISTEN, STUN, NatLab

TIMEOUTS_S = (20.0, 30.0, 120.0, 300.0)
EXPECTED_S = {20.0: 18.5, 30.0: 28.5, 120.0: 118.5, 300.0: 298.5}
SERVER = Address("198.51.100.1", 3_478)
MEASURING_S = 420.0
ALONE = NodeConfig(listen=LISTEN, stun=(STUN,))
"""Nobody else keeps the binding alive."""
DRAWN = replace(PORT_RESTRICTED, ports=PortChoice.RANDOM)
"""A binding that was lost shows: the next has another port."""


@pytest.fixture(autouse=True)
async def _reproducible(seed: int) -> AsyncIterator[None]:
    with reproducible_transport(seed, asyncio.get_running_loop().time):
        yield


class Scout(asyncio.DatagramProtocol, ScoutSocket):
    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._receiver(data, Address(*addr[:2]))

    def send(self, data: bytes, to: Address) -> None:
        self._transport.sendto(data, tuple(to))  # type: ignore[attr-defined]

    def close(self) -> None:
        self._transport.close()


class Bench:
    """A host behind a box, which has a server in public."""

    def __init__(self, seed: int, nat: NatOptions, *, loss: float = 0.0) -> None:
        self.packets = 0
        self.opened: list[Scout] = []
        self._seed = seed
        self.internet = new_internet(seed)
        self.internet.report = self._count
        self.stun = self.internet.public_host("stun", SERVER.host, "198.51.100.2")
        line = LineOptions(delay_s=0.02, loss=loss)
        _, inside = self.internet.router("box", "203.0.113.9", nat=nat, options=line)
        self.host: Host = self.internet.host("client")
        self.host.attach(inside, "10.0.0.2", options=LAN)

    def _count(self, event: PacketEvent) -> None:
        self.packets += event.fate is PacketFate.SENT

    async def open(self, receiver: Receiver) -> ScoutSocket:
        with self.host.entered():
            _, scout = await asyncio.get_running_loop().create_datagram_endpoint(
                lambda: Scout(receiver), local_addr=("0.0.0.0", 0)
            )
        self.opened.append(scout)
        return scout

    async def measure(
        self, *, answers_elsewhere: bool = True, servers: Sequence[Address] = (SERVER,)
    ) -> float | None:
        server = StunServer(
            self.stun, SERVER.host, "198.51.100.2", answers_elsewhere=answers_elsewhere
        )
        await server.start()
        return await measure_binding(
            self.open,
            servers,
            clock=SimulatedClock(asyncio.get_running_loop()),
            entropy=SimulatedEntropy(self._seed, "scouts"),
        )

    @property
    def is_tidy(self) -> bool:
        return all(each._transport.is_closing() for each in self.opened)


@pytest.mark.parametrize("is_refreshed_inbound", [False, True])
@pytest.mark.parametrize("nat", [FULL_CONE, PORT_RESTRICTED, SYMMETRIC, DRAWN])
@pytest.mark.parametrize("timeout_s", TIMEOUTS_S)
async def test_the_figure_is_right(
    timeout_s: float, nat: NatOptions, is_refreshed_inbound: bool, seed: int
) -> None:
    options = replace(nat, timeout_s=timeout_s, is_refreshed_inbound=is_refreshed_inbound)
    bench = Bench(seed, options)
    assert await bench.measure() == EXPECTED_S[timeout_s]
    assert bench.is_tidy
    assert len(bench.opened) == len(SILENCES_S) + 1


@pytest.mark.parametrize("timeout_s", TIMEOUTS_S)
async def test_lost_packets_never_make_it_larger(timeout_s: float, seed: int) -> None:
    bench = Bench(seed, replace(DRAWN, timeout_s=timeout_s), loss=0.1)
    found = await bench.measure()
    assert found is None or found <= EXPECTED_S[timeout_s]


async def test_a_box_that_keeps_nothing_is_told(seed: int) -> None:
    assert await Bench(seed, replace(DRAWN, timeout_s=5.0)).measure() == 0.0


async def test_where_no_server_answers_elsewhere_nothing_is_measured(seed: int) -> None:
    bench = Bench(seed, PORT_RESTRICTED)
    started = asyncio.get_running_loop().time()
    nowhere = Address("198.51.100.77", 3_478)
    assert await bench.measure(answers_elsewhere=False, servers=(SERVER, nowhere, SERVER)) is None
    assert asyncio.get_running_loop().time() - started < 15.0
    assert bench.is_tidy


async def test_cancelled_it_leaves_no_socket(seed: int) -> None:
    bench = Bench(seed, PORT_RESTRICTED)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(30.0):
            await bench.measure()
    assert bench.is_tidy


async def test_without_sockets_nothing_is_measured_and_none_is_kept(seed: int) -> None:
    bench = Bench(seed, PORT_RESTRICTED)

    async def open_three(receiver: Receiver) -> ScoutSocket:
        if len(bench.opened) == 3:
            raise NetworkError("no socket left")
        return await bench.open(receiver)

    with pytest.raises(NetworkError):
        await measure_binding(
            open_three,
            (SERVER,),
            clock=SimulatedClock(asyncio.get_running_loop()),
            entropy=SimulatedEntropy(seed, "scouts"),
        )
    assert bench.is_tidy


def binding_s(node: Node) -> float | None:
    verdict = node.statistics().nat
    return verdict.binding_s if verdict is not None else None


def ports_of_the_node(box: Router) -> set[int]:
    assert box.nat is not None
    return {each.external[1] for each in box.nat.mappings if each.internal == ("10.1.0.2", 4_433)}


@pytest.mark.parametrize("timeout_s", TIMEOUTS_S)
async def test_a_node_holds_its_binding_with_few_packets(timeout_s: float, seed: int) -> None:
    lab = NatLab(seed)
    box = lab.house(LEFT, 1, replace(DRAWN, timeout_s=timeout_s))
    async with lab.servers(), lab.node(LEFT, ALONE) as node:
        await asyncio.sleep(MEASURING_S)
        assert binding_s(node) == EXPECTED_S[timeout_s]
        ports, answered = ports_of_the_node(box), lab.stun.answered
        assert len(ports) == 1
        for _ in range(60):
            await asyncio.sleep(60.0)
            assert ports_of_the_node(box) == ports
        wanted = 3_600.0 / keepalive_s(EXPECTED_S[timeout_s])
        assert lab.stun.answered - answered <= wanted + 1
        assert lab.stun.answered - answered >= wanted - 5


async def test_what_was_measured_is_known_at_the_next_start(seed: int) -> None:
    lab = NatLab(seed)
    lab.house(LEFT, 1, replace(DRAWN, timeout_s=120.0))
    async with lab.servers():
        async with lab.node(LEFT, ALONE) as node:
            await asyncio.sleep(MEASURING_S)
            codes = {each.code for each in await node.doctor()}
            assert "binding-kept" in codes
        async with lab.node(LEFT, ALONE) as node:
            assert binding_s(node) == 118.5
            answered = lab.stun.answered
            await asyncio.sleep(MEASURING_S)
            assert binding_s(node) == 118.5
            assert lab.stun.answered - answered < 20  # nothing was measured again


async def test_a_box_that_turns_out_to_forget_sooner_is_not_trusted(seed: int) -> None:
    lab = NatLab(seed)
    box = lab.house(LEFT, 1, replace(DRAWN, timeout_s=120.0))
    async with lab.servers(), lab.node(LEFT, ALONE) as node:
        await asyncio.sleep(MEASURING_S)
        assert binding_s(node) == 118.5
        assert box.nat is not None
        box.nat.options = replace(DRAWN, timeout_s=30.0)
        async with asyncio.timeout(300.0):
            await until(lambda: binding_s(node) is None)
        await asyncio.sleep(2 * KEEPALIVE_S)
        ports = ports_of_the_node(box)
        await asyncio.sleep(600.0)
        assert ports_of_the_node(box) == ports
        await asyncio.sleep(3_600.0)
        assert binding_s(node) == 28.5


async def test_a_server_that_stops_answering_says_nothing_about_the_box(seed: int) -> None:
    lab = NatLab(seed)
    lab.house(LEFT, 1, replace(DRAWN, timeout_s=120.0))
    second = StunServer(lab.internet.public_host("second", "198.51.100.12"), "198.51.100.12")
    await second.start()
    config = NodeConfig(listen=LISTEN, stun=(STUN, second.address[0]))
    async with lab.servers(), lab.node(LEFT, config) as node:
        await asyncio.sleep(MEASURING_S)
        assert binding_s(node) == 118.5
        second.close()
        await asyncio.sleep(300.0)
        assert binding_s(node) == 118.5
        await second.start()
        await asyncio.sleep(300.0)
        assert binding_s(node) == 118.5
    second.close()
