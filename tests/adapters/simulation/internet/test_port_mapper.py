"""Ports are mapped at routers that speak PCP, or NAT-PMP alone, in virtual time."""

import asyncio
from collections.abc import Callable
from ipaddress import IPv6Address
from itertools import pairwise

import pytest

from adapters.gateway.errors import GatewayRefusedError, GatewaySilentError
from adapters.gateway.lease import GatewayClient, Lease
from adapters.gateway.socket import GatewaySocket
from adapters.simulation.internet.gateway_service import GatewayService
from adapters.simulation.internet.packet import Endpoint, Protocol
from domain.connectivity.address import Address
from domain.connectivity.port_mapping import GatewayRoute, PortMappingState
from tests.adapters.simulation.internet.datagrams import until
from tests.adapters.simulation.internet.mapped_house import PORT, Teach, build, mapper_on, mapping
from tests.contracts.port_mapper import House, PortMapperContract


def knows_nat_pmp_alone(service: GatewayService) -> None:
    service.speaks_pcp = False


def knows_pcp_alone(service: GatewayService) -> None:
    service.speaks_nat_pmp = False


class TestGatewayPortMapperByPcp(PortMapperContract):
    @pytest.fixture(autouse=True)
    def _seeded(self, seed: int) -> None:
        self.seed = seed

    async def house(self) -> House:
        return (await build(self.seed, knows_pcp_alone)).contract


class TestGatewayPortMapperByNatPmp(PortMapperContract):
    @pytest.fixture(autouse=True)
    def _seeded(self, seed: int) -> None:
        self.seed = seed

    async def house(self) -> House:
        return (await build(self.seed, knows_nat_pmp_alone)).contract


class Elsewhere(GatewayClient):
    """A protocol that is not simulated: it gives the port, at once."""

    def __init__(self, route: GatewayRoute, port: int) -> None:
        self._lease = Lease(external=Address("203.0.113.1", port), lifetime_s=600, epoch_s=0)

    @property
    def protocol(self) -> str:
        return "UPnP"

    async def map(self, suggested: Address | None) -> Lease:
        return self._lease

    async def read_epoch(self) -> int:
        raise GatewaySilentError("it has no clock")

    async def give_back(self) -> None:
        return


class Clockless(Elsewhere):
    """One that refuses to tell how long it has been up."""

    async def read_epoch(self) -> int:
        raise GatewayRefusedError("refused (UPnP, 401)", retry_s=900.0)


class Attentive(GatewayService):
    """Notes when it was asked, and in which version."""

    times: list[tuple[float, int]]

    def answer(self, data: bytes, source: Endpoint, *, now: float) -> bytes | None:
        self.times.append((now, data[0]))
        return super().answer(data, source, now=now)


class Liar(GatewayService):
    """Answers with something else until it is three seconds old."""

    twist: Callable[[bytes], bytes]

    def answer(self, data: bytes, source: Endpoint, *, now: float) -> bytes | None:
        true = super().answer(data, source, now=now)
        assert true is not None
        return self.twist(true) if now < 2 else true


def flipped(at: int) -> Callable[[bytes], bytes]:
    return lambda data: data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


BY_PCP = pytest.param(knows_pcp_alone, "PCP", id="pcp")
BY_NAT_PMP = pytest.param(knows_nat_pmp_alone, "NAT-PMP", id="nat-pmp")


@pytest.mark.parametrize(("teach", "protocol"), [BY_PCP, BY_NAT_PMP])
async def test_protocol_that_the_router_knows_is_spoken(
    seed: int, teach: Teach, protocol: str
) -> None:
    house = await build(seed, teach)
    async with mapping(house):
        report = house.mapper.report
        assert (report.protocol, report.gateway) == (protocol, "10.1.0.1")
        assert house.contract.external == Address("203.0.113.1", PORT)


@pytest.mark.parametrize("code", [1, 5])
@pytest.mark.parametrize("is_silent", [False, True])
async def test_router_that_knows_neither_is_asked_by_upnp(
    seed: int, code: int, *, is_silent: bool
) -> None:
    house = await build(seed, knows_nat_pmp_alone)
    house.service.is_silent, house.service.refusal = is_silent, code
    mapper = mapper_on(house.machine, seed, upnp=Elsewhere)
    async with mapping(house, mapper):
        await asyncio.sleep(10)  # PCP is waited for so long, and NAT-PMP not at all
        assert (mapper.report.state, mapper.report.protocol) == (PortMappingState.WORKS, "UPnP")
        assert house.service.counts["address"] == (0 if is_silent else 1)


async def test_router_that_refuses_to_tell_its_clock_still_forwards_the_port(seed: int) -> None:
    house = await build(seed)
    house.service.is_silent = True
    mapper = mapper_on(house.machine, seed, upnp=Clockless)
    async with mapping(house, mapper):
        for _ in range(20):
            await asyncio.sleep(60)
            assert mapper.report.state is PortMappingState.WORKS


async def test_router_that_answers_in_another_version_is_asked_by_nat_pmp(seed: int) -> None:
    house = await build(seed, knows_nat_pmp_alone)
    mapper = mapper_on(house.machine, seed, upnp=Elsewhere)
    async with mapping(house, mapper):
        assert mapper.report.protocol == "NAT-PMP"


async def test_mapping_is_renewed_after_half_of_its_time(seed: int) -> None:
    house = await build(seed)
    house.service.lifetime_s_max = 600
    async with mapping(house):
        assert house.mapper.report.lifetime_s == 600
        await asyncio.sleep(295)
        assert house.service.counts["map"] == 1
        await asyncio.sleep(10)
        assert house.service.counts["map"] == 2
        assert len(house.forwarding.active(house.machine.clock.now())) == 1


async def test_mapping_of_a_moment_is_not_renewed_in_a_tight_loop(seed: int) -> None:
    house = await build(seed)
    house.service.lifetime_s_max = 1
    async with mapping(house):
        await asyncio.sleep(60)
        assert house.service.counts["map"] <= 16


async def test_mapping_is_deleted_on_close(seed: int) -> None:
    house = await build(seed)
    async with mapping(house):
        assert len(house.forwarding.active(house.machine.clock.now())) == 1
    assert house.service.counts["delete"] == 1
    assert house.forwarding.active(house.machine.clock.now()) == ()
    assert house.machine.host.socket_count == 1  # the one of the test


async def test_who_closes_before_the_answer_is_there_leaves_nothing_behind(seed: int) -> None:
    house = await build(seed)
    task = asyncio.create_task(house.mapper.run(house.contract.listening))
    await until(lambda: house.service.counts["map"] > 0, step_s=0.000_01)
    assert house.contract.state() is PortMappingState.ASKING
    task.cancel()
    await asyncio.wait([task])
    assert house.forwarding.active(house.machine.clock.now()) == ()


async def test_port_that_others_have_is_not_taken_from_them(seed: int) -> None:
    house = await build(seed)
    house.forwarding.open(Protocol.UDP, ("10.1.0.9", PORT), PORT, lifetime_s=900, now=0.0)
    async with mapping(house):
        assert house.contract.external.port not in (0, PORT)
        assert await house.contract.reaches(house.contract.external)


async def test_who_was_killed_gets_its_port_back(seed: int) -> None:
    """The router keeps a port from a nonce that it does not know (RFC 6887, 11.3), so ours outlives us."""
    house = await build(seed)
    async with mapping(house):
        external = house.contract.external
        house.service.is_silent = True  # nothing that is said from now on is heard
    house.service.is_silent = False
    assert len(house.forwarding.active(house.machine.clock.now())) == 1
    stranger = mapper_on(house.machine, seed, b"x" * 32)
    async with mapping(house, stranger):
        assert stranger.report.state is PortMappingState.REFUSED
        assert "not authorized" in (stranger.report.error or "")
    again = mapper_on(house.machine, seed)
    async with mapping(house, again):
        assert again.report.external == external


@pytest.mark.parametrize("code", range(2, 16))
@pytest.mark.parametrize("teach", [knows_pcp_alone, knows_nat_pmp_alone])
async def test_whatever_the_router_refuses_with_is_told(seed: int, teach: Teach, code: int) -> None:
    house = await build(seed, teach)
    house.service.refusal = code
    async with mapping(house) as running:
        await asyncio.sleep(40)
        expected = (PortMappingState.REFUSED, PortMappingState.SILENT)  # SILENT: knows no ports
        assert house.contract.state() in expected
        assert house.mapper.report.error
        assert not running.done()


async def test_clock_of_the_router_is_read_every_minute(seed: int) -> None:
    house = await build(seed)
    async with mapping(house):
        await asyncio.sleep(601)
        assert house.service.counts["announce"] == 10
        assert house.service.counts["map"] == 1


async def test_requests_are_repeated_as_the_rfcs_say(seed: int) -> None:
    """Both protocols, to a router that says nothing: 3 and 6 s, then from 250 ms on twice as long each time."""
    house = await build(seed)
    service = Attentive(house.forwarding, now=0.0)
    service.times, service.is_silent = [], True
    house.router.service = service
    async with mapping(house):
        await asyncio.sleep(150)
    by_pcp = [at for at, version in service.times if version == 2]
    by_nat_pmp = [at for at, version in service.times if version == 0]
    assert len(by_pcp) == 2
    assert 2.7 <= by_pcp[1] - by_pcp[0] <= 3.3
    assert 5.4 <= by_nat_pmp[0] - by_pcp[1] <= 6.6
    waits = [after - before for before, after in pairwise(by_nat_pmp)]
    assert waits == pytest.approx([0.25 * 2**number for number in range(8)])


@pytest.mark.parametrize(
    "twist",
    [
        pytest.param(flipped(0), id="version"),
        pytest.param(flipped(1), id="opcode"),
        pytest.param(flipped(24), id="nonce"),
        pytest.param(flipped(36), id="protocol"),
        pytest.param(flipped(41), id="port"),
        pytest.param(lambda data: data[:-4], id="short"),
        pytest.param(lambda data: data + b"\0", id="odd"),
        pytest.param(lambda data: data + bytes(1_100), id="long"),
        pytest.param(lambda _: b"", id="empty"),
    ],
)
async def test_answer_that_is_not_to_our_question_is_none(
    seed: int, twist: Callable[[bytes], bytes]
) -> None:
    house = await build(seed)
    liar = Liar(house.forwarding, now=0.0)
    liar.twist = twist
    house.router.service = liar
    asking = asyncio.create_task(house.mapper.run(house.contract.listening))
    await asyncio.sleep(2.0)
    assert house.contract.state() is PortMappingState.ASKING
    await asyncio.sleep(2.0)
    assert house.contract.state() is PortMappingState.WORKS
    assert house.mapper.report.protocol == "PCP"
    asking.cancel()
    await asyncio.wait([asking])


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "224.0.0.1", "::1", "2001:db8::7"])
async def test_address_where_nobody_can_be_is_no_mapping(seed: int, address: str) -> None:
    house = await build(seed)
    liar = Liar(house.forwarding, now=0.0)
    liar.twist = lambda data: data[:44] + ip_in_ipv6(address)
    house.router.service = liar
    async with mapping(house):
        assert house.contract.state() is PortMappingState.REFUSED
        assert house.mapper.report.external is None


def ip_in_ipv6(address: str) -> bytes:
    return IPv6Address(address if ":" in address else f"::ffff:{address}").packed


async def test_what_comes_from_elsewhere_is_not_believed() -> None:
    route = GatewayRoute("10.1.0.1", "10.1.0.2")
    socket = GatewaySocket(route)
    socket.connection_made(Nowhere())
    asking = asyncio.create_task(socket.ask(b"?", (1.0,), bytes))
    await asyncio.sleep(0)
    for source in (("10.1.0.9", 5_351), ("10.1.0.1", 5_350), ("203.0.113.1", 5_351)):
        socket.datagram_received(b"no", source)
    socket.datagram_received(b"yes", ("10.1.0.1", 5_351))
    assert await asking == b"yes"


class Nowhere(asyncio.DatagramTransport):
    """Whatever is sent is lost."""

    def sendto(self, data: object, addr: object = None) -> None:
        return
