"""What was found out about a NAT outlives the node, holds in its network alone, and is measured again."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from adapters.simulation.internet.line import LAN
from adapters.simulation.internet.nat import FULL_CONE, PORT_RESTRICTED, SYMMETRIC
from adapters.simulation.internet.reproducible import reproducible_transport
from domain.connectivity.nat import Filtering, Mapping
from domain.connectivity.verdict import NatVerdict
from node import Node
from node.commands.handler import NodeCommands
from node.network_memory import RECORD_NAME
from tests.adapters.simulation.internet.datagrams import until
from tests.adapters.simulation.internet.nat_lab import LEFT, NatLab
from tests.contracts.command_handler import answers_of

LOOK_S = 5.0


@pytest.fixture(autouse=True)
async def _reproducible(seed: int) -> AsyncIterator[None]:
    with reproducible_transport(seed, asyncio.get_running_loop().time):
        yield


def known(node: Node) -> NatVerdict:
    verdict = node.statistics().nat
    assert verdict is not None
    return verdict


def in_force(node: Node) -> str:
    assert node.environment.traversal is not None
    return node.environment.traversal.nat.name


@contextmanager
def silent(lab: NatLab) -> Iterator[None]:
    """No STUN server answers."""
    lab.internet.host("stun").interfaces[0].set_up(is_up=False)
    yield
    lab.internet.host("stun").interfaces[0].set_up(is_up=True)


async def test_a_node_that_starts_again_goes_by_what_it_knew(seed: int) -> None:
    lab = NatLab(seed)
    lab.house(LEFT, 1, SYMMETRIC)
    async with lab.servers():
        async with lab.node(LEFT) as node:
            assert node.statistics().nat is None
            await asyncio.sleep(LOOK_S)
            found = known(node)
            assert not found.is_recalled
            assert found.local == ("10.1.0.2",)
            assert found.hosts_outside == {"203.0.113.1"}
            assert (await node.environment.store.own_records()).keys() == {RECORD_NAME}
        with silent(lab):
            async with lab.node(LEFT) as node:
                assert known(node).is_recalled
                assert known(node).measured_us == found.measured_us
                assert in_force(node) == "symmetric"
                async with asyncio.timeout(2 * LOOK_S):
                    await until(lambda: in_force(node) == "UDP blocked")
        async with lab.node(LEFT) as node:  # silence was not what was kept
            assert in_force(node) == "symmetric"
            await asyncio.sleep(LOOK_S)
            assert not known(node).is_recalled
            assert known(node).measured_us > found.measured_us


async def test_what_a_box_remembers_of_the_last_look_does_not_mislead(seed: int) -> None:
    lab = NatLab(seed)
    lab.house(LEFT, 1, PORT_RESTRICTED)
    async with lab.servers():
        for _ in range(3):
            async with lab.node(LEFT) as node:
                await asyncio.sleep(LOOK_S)
                assert known(node).behavior.filtering is Filtering.ADDRESS_AND_PORT_DEPENDENT


async def test_in_another_network_it_does_not_hold(seed: int) -> None:
    lab = NatLab(seed)
    lab.house(LEFT, 1, SYMMETRIC)
    host = lab.internet.host(LEFT)
    _, elsewhere = lab.internet.router("other box", "203.0.113.7", nat=FULL_CONE)
    host.attach(elsewhere, "10.7.0.2", options=LAN)
    host.interfaces[1].set_up(is_up=False)
    async with lab.servers():
        async with lab.node(LEFT) as node:
            await asyncio.sleep(LOOK_S)
            assert in_force(node) == "symmetric"
            host.interfaces[0].set_up(is_up=False)
            host.interfaces[1].set_up(is_up=True)
            async with asyncio.timeout(LOOK_S):
                await until(lambda: in_force(node) == "unknown")
                await until(lambda: in_force(node) == "full cone")
        host.interfaces[0].set_up(is_up=True)
        host.interfaces[1].set_up(is_up=False)
        async with lab.node(LEFT) as node:
            assert in_force(node) == "unknown"
            assert known(node).is_recalled  # shown, as what was known last
            assert known(node).local == ("10.7.0.2",)
            await asyncio.sleep(LOOK_S)
            assert in_force(node) == "symmetric"


async def test_behind_another_address_outside_it_does_not_hold(seed: int) -> None:
    lab = NatLab(seed)
    box = lab.house(LEFT, 1, PORT_RESTRICTED)
    async with lab.servers():
        async with lab.node(LEFT) as node:
            await asyncio.sleep(LOOK_S)
            await node.doctor()
            assert known(node).hairpins is False
        box.readdress("203.0.113.9")
        async with lab.node(LEFT) as node:
            assert in_force(node) == "port-restricted"
            await asyncio.sleep(LOOK_S)
            assert known(node).hosts_outside == {"203.0.113.9"}
            assert known(node).hairpins is None


async def test_a_record_that_cannot_be_read_is_as_good_as_none(seed: int) -> None:
    lab = NatLab(seed)
    lab.house(LEFT, 1, PORT_RESTRICTED)
    async with lab.servers():
        async with lab.node(LEFT) as node:
            await asyncio.sleep(LOOK_S)
            await node.environment.store.save_own_record(RECORD_NAME, b"damaged" * 9)
        async with lab.node(LEFT) as node:
            assert node.statistics().nat is None
            await asyncio.sleep(LOOK_S)
            assert known(node).behavior.mapping is Mapping.ENDPOINT_INDEPENDENT


async def test_a_disk_that_takes_nothing_is_tried_again(seed: int) -> None:
    lab = NatLab(seed)
    lab.house(LEFT, 1, PORT_RESTRICTED)
    disk = lab.world.machine(LEFT).disk
    async with lab.servers(), lab.node(LEFT) as node:
        disk.fill()
        await asyncio.sleep(LOOK_S)
        assert not known(node).is_recalled
        disk.mend()
        assert await node.environment.store.own_records() == {}
        await asyncio.sleep(LOOK_S)
        assert await node.environment.store.own_records() != {}


async def test_commands_show_what_was_found_when_and_where(seed: int, tmp_path: Path) -> None:
    lab = NatLab(seed)
    lab.house(LEFT, 1, PORT_RESTRICTED)
    async with lab.servers(), lab.node(LEFT) as node:
        commands = NodeCommands(node, tmp_path)
        before = (await answers_of(commands, ("status", {})))[-1]
        assert before["network"] is None
        await asyncio.sleep(LOOK_S)
        for name in ("doctor", "status"):
            network = (await answers_of(commands, (name, {})))[-1]["network"]
            assert isinstance(network, dict)
            assert network["filtering"] == "address_and_port_dependent"
            assert network["outside"] == ["203.0.113.1:4433"]
            assert network["is_recalled"] is False
            assert network["text"].startswith("port-restricted, seen outside as 203.0.113.1:4433")
