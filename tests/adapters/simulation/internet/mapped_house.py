"""A house whose router forwards ports, and a mapper on a machine within."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from adapters.gateway.mapper import ClientMaker, GatewayPortMapper
from adapters.simulation.environment import SimulatedClock, SimulatedEntropy
from adapters.simulation.internet.forwarding import Forwarding
from adapters.simulation.internet.gateway_service import NOT_AUTHORIZED, SUCCESS, GatewayService
from adapters.simulation.internet.line import LAN
from adapters.simulation.internet.machine import InternetMachine, InternetWorld
from adapters.simulation.internet.nat import SYMMETRIC
from adapters.simulation.internet.router import Router
from domain.connectivity.address import Address
from tests.adapters.simulation.internet.datagrams import Inbox, new_internet, open_inbox
from tests.contracts.port_mapper import House

PORT = 4_433
HOME, ELSEWHERE = 1, 2
SECRET = bytes(32)
SECRET = bytes(32)
Teach = Callable[[GatewayService], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class MappedHouse:
    """The parts, for who wants to look closer than the contract."""

    machine: InternetMachine
    router: Router
    service: GatewayService
    forwarding: Forwarding
    mapper: GatewayPortMapper
    contract: House


async def build(seed: int, teach: Teach = lambda _: None) -> MappedHouse:
    """Build it; `teach` says what the routers know."""
    internet = new_internet(seed)
    machine = InternetWorld(internet, seed).machine("inside")
    routers = {}
    for number in (HOME, ELSEWHERE):
        router, inside = internet.router(f"box {number}", f"203.0.113.{number}", nat=SYMMETRIC)
        teach(router.serve(f"10.{number}.0.1"))
        routers[number] = (router, inside)
    router, inside = routers[HOME]
    assert router.service is not None
    assert router.forwarding is not None
    machine.host.attach(inside, f"10.{HOME}.0.2", options=LAN)
    outside = await open_inbox(internet.public_host("outside", "198.51.100.7"))
    socket = await open_inbox(machine.host, ("0.0.0.0", PORT))
    mapper = mapper_on(machine, seed)
    service = router.service

    def move() -> None:
        machine.host.detach(machine.host.interfaces[0])
        machine.host.attach(routers[ELSEWHERE][1], f"10.{ELSEWHERE}.0.2", options=LAN)

    contract = House(
        mapper=mapper,
        listening=Address("0.0.0.0", PORT),
        reaches=lambda address: reaches(outside, socket, address),
        asked=lambda: sum(service.counts.values()),
        set_silent=lambda is_silent: setattr(service, "is_silent", is_silent),
        set_refusing=lambda is_refusing: setattr(
            service, "refusal", NOT_AUTHORIZED if is_refusing else SUCCESS
        ),
        restart=lambda: service.restart(now=internet.loop.time()),
        move=move,
    )
    return MappedHouse(
        machine=machine,
        router=router,
        service=service,
        forwarding=router.forwarding,
        mapper=mapper,
        contract=contract,
    )


def mapper_on(
    machine: InternetMachine,
    seed: int,
    secret: bytes = SECRET,
    upnp: ClientMaker | None = None,
) -> GatewayPortMapper:
    """Make a mapper on a machine."""
    return GatewayPortMapper(
        secret=secret,
        find_route=machine.find_gateway_route,
        clock=SimulatedClock(machine.host.internet.loop),
        entropy=SimulatedEntropy(seed, "mapper"),
        upnp=upnp,
        entered=machine.host.entered,
    )


async def reaches(outside: Inbox, inside: Inbox, address: Address) -> bool:
    """Whether a datagram from outside comes in at an address, and the answer to it leaves by the same."""
    outside.send(b"knock", (address.host, address.port))
    came = await inside.receive()
    if came is None:
        return False
    inside.send(b"yes", came[1])
    answer = await outside.receive()
    assert answer is not None
    assert answer[1][:2] == (address.host, address.port)
    return True


@asynccontextmanager
async def mapping(
    house: MappedHouse, mapper: GatewayPortMapper | None = None
) -> AsyncIterator[asyncio.Task[None]]:
    """Let a mapper run in the block, that of the house or another one, from when it knows what comes of it."""
    used = mapper or house.mapper
    task = asyncio.create_task(used.run(house.contract.listening))
    try:
        await used.settled()
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])
