"""A dial tries the addresses of a peer close upon each other, and makes one connection, whichever answers first."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from adapters.quic.network import QuicNetwork
from adapters.quic.source import SocketAddress
from adapters.simulation.loop import run
from domain.errors import DialError
from domain.limits import ADDRESSES_DIALLED_MAX, DIAL_S_MAX, DIAL_STAGGER_S
from domain.ports.network import Connection
from tests.adapters.quic.wire import Wire
from tests.contracts.connected_peers import device, round_trips

SILENT = [f"10.0.1.{number}:4433" for number in range(3 * ADDRESSES_DIALLED_MAX)]
HERE, THERE = ("10.0.0.1", 1_000), ("10.0.0.1", 1_001)
"""The first two sockets of a wire."""
Scenario = Callable[[Wire, QuicNetwork, QuicNetwork], Awaitable[None]]


class SecondWay(Wire):
    """A wire on which the second socket is reached at another address, too, which sees others there as well."""

    def carry(self, datagram: bytes, source: SocketAddress, to: SocketAddress) -> None:
        if to == other(THERE):
            super().carry(datagram, other(HERE), THERE)
        elif to == other(HERE):
            super().carry(datagram, other(THERE), HERE)
        else:
            super().carry(datagram, source, to)


def other(address: SocketAddress) -> SocketAddress:
    return ("10.0.2.1", address[1])


def text(address: SocketAddress) -> str:
    return f"{address[0]}:{address[1]}"


def play(wire: Wire, scenario: Scenario) -> None:
    async def scene(_: int) -> None:
        alice, bob = wire.network(device(1)), wire.network(device(2))
        await alice.start()
        await bob.start()
        async with asyncio.timeout(60):
            await scenario(wire, alice, bob)
        await alice.close(0, "")
        await bob.close(0, "")

    run(scene, wire.seed)


@pytest.mark.parametrize("silent", [1, 5, ADDRESSES_DIALLED_MAX - 1])
def test_an_address_that_is_silent_costs_the_next_one_a_moment(silent: int) -> None:
    async def scenario(_: Wire, alice: QuicNetwork, bob: QuicNetwork) -> None:
        began = asyncio.get_running_loop().time()
        await alice.dial(device(2).peer, [*SILENT[:silent], *bob.addresses])
        took = asyncio.get_running_loop().time() - began
        assert took < silent * DIAL_STAGGER_S + 0.2

    play(Wire(), scenario)


def test_no_address_is_left_out_and_only_so_many_are_tried_at_once() -> None:
    async def scenario(wire: Wire, alice: QuicNetwork, bob: QuicNetwork) -> None:
        tried: dict[SocketAddress, list[float]] = {}
        loop, carry = asyncio.get_running_loop(), wire.carry

        def look(datagram: bytes, source: SocketAddress, to: SocketAddress) -> None:
            if to != HERE:
                tried.setdefault(to, []).append(loop.time())
            carry(datagram, source, to)

        wire.carry = look  # type: ignore[method-assign]
        began = loop.time()
        await alice.dial(device(2).peer, [*SILENT, *bob.addresses])
        assert loop.time() - began < 3 * DIAL_S_MAX + ADDRESSES_DIALLED_MAX * DIAL_STAGGER_S
        for at in {first for first, *_ in tried.values()}:
            under_way = [each for each in tried.values() if each[0] <= at < each[0] + DIAL_S_MAX]
            assert len(under_way) <= ADDRESSES_DIALLED_MAX

    play(Wire(), scenario)


@pytest.mark.parametrize("seed", range(12))
def test_a_peer_that_answers_at_two_addresses_gets_one_connection(seed: int) -> None:
    async def scenario(_: Wire, alice: QuicNetwork, bob: QuicNetwork) -> None:
        accepted: list[Connection] = []

        async def accept() -> None:
            while True:
                accepted.append(await bob.accept())

        accepting = asyncio.create_task(accept())
        dialled = await alice.dial(device(2).peer, [text(THERE), text(other(THERE))])
        await asyncio.sleep(20)  # virtual, until nothing is half done
        accepting.cancel()
        assert [each.binding for each in accepted] == [dialled.binding]
        await round_trips(dialled, accepted[0])
        assert len(list(alice.endpoint.connections())) == bob.half_open_count + 1 == 1

    play(SecondWay(seed=seed, delay_s=0.1, jitter_s=0.3, loss=0.1 * (seed % 3)), scenario)


def test_a_name_that_is_looked_up_for_long_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(_: Wire, alice: QuicNetwork, bob: QuicNetwork) -> None:
        loop = asyncio.get_running_loop()
        looked_up: list[object] = []

        async def hang(*arguments: object, **_: object) -> None:
            looked_up.append(arguments)
            await loop.create_future()

        monkeypatch.setattr(loop, "getaddrinfo", hang)
        began = loop.time()
        await alice.dial(device(2).peer, ["peer.test:4433", *bob.addresses])
        assert loop.time() - began == pytest.approx(0.8)  # two round trips, as without the name
        assert looked_up
        with pytest.raises(DialError, match="the name is not found"):
            await alice.dial(device(3).peer, ["peer.test:4433"])

    play(Wire(delay_s=0.2), scenario)


def test_a_dial_that_is_cancelled_leaves_nothing_behind() -> None:
    async def scenario(_: Wire, alice: QuicNetwork, bob: QuicNetwork) -> None:
        addresses = [*SILENT[:4], *bob.addresses]
        for after_s in (0.1, 0.6, 1.02, 1.06):
            dialling = asyncio.create_task(alice.dial(device(2).peer, addresses))
            await asyncio.sleep(after_s)  # virtual, as below
            assert not dialling.done()
            dialling.cancel()
            await asyncio.wait([dialling])
            assert all(each.lost is not None for each in alice.endpoint.connections())
        await asyncio.sleep(20)
        assert not list(alice.endpoint.connections())

    play(Wire(), scenario)
