"""A router that speaks UPnP forwards a port, and whatever else it says is a typed error."""

import random
from collections.abc import AsyncIterator, Callable

import pytest

from adapters.gateway.errors import GatewayError, GatewayRefusedError, GatewaySilentError
from adapters.gateway.lease import LIFETIME_S
from adapters.gateway.upnp import BODY_BYTES_MAX, PORTS_TRIED_MAX, UpnpClient
from domain.connectivity.address import Address
from domain.connectivity.port_mapping import GatewayRoute
from tests.adapters.gateway.igd import DEVICE, UpnpRouter
from tests.fuzz.damage import damage

PORT = 4_433
HERE = GatewayRoute("127.0.0.1", "127.0.0.1")
Twist = Callable[[str, str], str]


@pytest.fixture
async def router() -> AsyncIterator[UpnpRouter]:
    async with UpnpRouter().running() as router:
        yield router


def client(router: UpnpRouter) -> UpnpClient:
    return UpnpClient(HERE, PORT, router.location)


async def test_port_is_mapped_renewed_and_given_back(router: UpnpRouter) -> None:
    asking = client(router)
    lease = await asking.map(None)
    assert lease.external == Address(router.address, PORT)
    assert (lease.lifetime_s, lease.epoch_s) == (LIFETIME_S, 77)
    given = router.mapped[PORT]
    assert (given["NewInternalClient"], given["NewInternalPort"]) == ("127.0.0.1", str(PORT))
    assert (given["NewProtocol"], given["NewLeaseDuration"]) == ("UDP", str(LIFETIME_S))
    assert (await asking.map(lease.external)).external == lease.external
    assert list(router.mapped) == [PORT]
    assert await asking.read_epoch() == 77
    await asking.give_back()
    assert router.mapped == {}


async def test_router_that_forgets_its_service_is_found_again(router: UpnpRouter) -> None:
    asking = client(router)
    await asking.map(None)
    first = iter(["<Envelope/>"])
    router.twist = lambda path, body: next(first, body) if path == "/control" else body
    assert await asking.read_epoch() == 77


@pytest.mark.parametrize("uptime", ["-1", str(2**32), "9" * 400])
async def test_clock_that_no_router_has_is_none(router: UpnpRouter, uptime: str) -> None:
    asking = client(router)
    await asking.map(None)
    router.twist = lambda _, body: body.replace("<NewUptime>77<", f"<NewUptime>{uptime}<")
    with pytest.raises(GatewaySilentError):
        await asking.read_epoch()
    assert (await asking.map(None)).epoch_s == 0


async def test_port_that_others_have_is_not_taken_from_them(router: UpnpRouter) -> None:
    router.errors = [718, 718]
    assert (await client(router).map(None)).external.port == PORT + 2
    router.errors = [718] * PORTS_TRIED_MAX
    with pytest.raises(GatewayRefusedError):
        await client(router).map(None)


async def test_router_that_knows_no_time_forwards_until_the_port_is_given_back(
    router: UpnpRouter,
) -> None:
    router.errors = [725]
    asking = client(router)
    assert (await asking.map(None)).lifetime_s == LIFETIME_S  # it is renewed all the same
    assert router.mapped[PORT]["NewLeaseDuration"] == "0"
    await asking.give_back()
    assert router.mapped == {}


@pytest.mark.parametrize("code", [501, 606, 728, 999])
async def test_refusal_is_told_by_its_number(router: UpnpRouter, code: int) -> None:
    router.errors = [code]
    with pytest.raises(GatewayRefusedError, match=str(code)):
        await client(router).map(None)


@pytest.mark.parametrize("address", ["", "0.0.0.0", "127.0.0.1", "::1", "router.example.org"])
async def test_router_without_an_address_outside_forwards_nothing(
    router: UpnpRouter, address: str
) -> None:
    router.address = address
    with pytest.raises(GatewayRefusedError):
        await client(router).map(None)
    assert router.mapped == {}


def _only(path: str, body: str) -> Twist:
    return lambda asked, honest: body if asked == path else honest


@pytest.mark.parametrize(
    "twist",
    [
        pytest.param(_only("/device.xml", ""), id="nothing"),
        pytest.param(_only("/device.xml", "<root>" * 100_000), id="deep"),
        pytest.param(_only("/device.xml", "x" * (BODY_BYTES_MAX + 1)), id="long"),
        pytest.param(
            _only("/device.xml", DEVICE.replace("/control<", "http://192.0.2.1/control<")),
            id="elsewhere",
        ),
        pytest.param(
            _only(
                "/device.xml",
                '<!DOCTYPE r [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><root>&b;</root>',
            ),
            id="entities",
        ),
        pytest.param(_only("/scpd.xml", "<scpd/>"), id="no-actions"),
        pytest.param(_only("/control", "<Envelope/>"), id="no-answer"),
        pytest.param(_only("/control", "\0"), id="no-xml"),
    ],
)
async def test_router_that_says_nonsense_is_as_good_as_silent(
    router: UpnpRouter, twist: Twist
) -> None:
    router.twist = twist
    with pytest.raises(GatewaySilentError):
        await client(router).map(None)


async def test_router_sends_us_nowhere_else(router: UpnpRouter) -> None:
    router.redirect = "http://127.0.0.1:1/"
    with pytest.raises(GatewaySilentError):
        await client(router).map(None)
    elsewhere = router.location.replace("127.0.0.1", "localhost")
    with pytest.raises(GatewaySilentError, match="not its own"):
        await UpnpClient(HERE, PORT, elsewhere).map(None)


async def test_damage_ends_in_a_typed_error_or_in_a_port(router: UpnpRouter, seed: int) -> None:
    chance = random.Random(seed)

    def spoil(_: str, body: str) -> str:
        return damage(chance, [body.encode()]).decode("utf-8", "replace")

    for number in range(60):
        router.twist = (
            spoil
            if number % 2
            else lambda path, body: body if path != "/control" else spoil(path, body)
        )
        try:
            await client(router).map(None)
        except GatewayError:
            continue
